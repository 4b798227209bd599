//! What would happen, as the dashboard asks it: the answers of the verbs, with what they cost in words.

use anyhow::Context as _;
use ferrolb_core::config::text_of;
use serde::Serialize;
use serde_json::{Value, to_value};

use super::{costs, edit, look};
use crate::cluster::Cluster;

#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// What the verb tells programs.
    pub(crate) plan: Value,
    /// What it costs, each in a sentence.
    pub(crate) costs: Vec<String>,
}

impl Told {
    fn of(plan: &impl Serialize, costs: Vec<String>) -> anyhow::Result<Self> {
        let plan = to_value(plan)?;
        Ok(Self { plan, costs })
    }
}

/// `plan node-down`
pub(crate) async fn node_down(cluster: &Cluster, nodes: &[String]) -> anyhow::Result<Told> {
    let answer = super::node_down::look(cluster, nodes).await?;
    let costs = answer.costs();
    let costs = costs.map(|(address, what)| format!("{address}: {what}"));
    let costs = costs.collect();
    Told::of(&answer, costs)
}

/// `plan drain`
pub(crate) async fn drain(cluster: &Cluster, node: &str) -> anyhow::Result<Told> {
    let answer = look(cluster, node).await?;
    let costs = costs(&answer);
    Told::of(&answer, costs)
}

/// `plan config`
pub(crate) async fn config(cluster: &Cluster, bytes: Vec<u8>) -> anyhow::Result<Told> {
    let text = text_of(bytes).context("cannot read the configuration")?;
    Told::of(&edit::look(cluster, &text).await?, Vec::new())
}
