//! What the speakers said in a certain time.

use anyhow::Result;
use ferrolb_tests::cluster::Cluster;
use ferrolb_tests::daemon::Daemon;

/// Where the logs ended.
pub(crate) struct Logs(Vec<(String, usize)>);

impl Logs {
    pub(crate) fn mark(cluster: &Cluster) -> Result<Self> {
        let nodes = cluster.lab.nodes().into_iter();
        let ends = nodes.map(|node| {
            let name = Daemon::speaker(&node.name).process_name();
            let end = cluster.lab.log(&name)?.len();
            Ok((name, end))
        });
        ends.collect::<Result<_>>().map(Self)
    }

    /// What came after the mark.
    pub(crate) fn since(&self, cluster: &Cluster) -> Result<String> {
        let mut text = String::new();
        for (name, end) in &self.0 {
            for line in cluster.lab.log(name)?[*end..].lines() {
                text += &format!("{name}: {line}\n");
            }
        }
        Ok(text)
    }
}
