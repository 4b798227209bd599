//! `kubectl ferrolb crds`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;
use serde_yaml::Value;

use crate::output::Format;

/// Print the custom resource definitions of MetalLB's objects.
///
/// IPAddressPool, L2Advertisement, BGPAdvertisement, BGPPeer, BFDProfile and Community, which configure, and
/// ConfigurationState, ServiceL2Status and ServiceBGPStatus, which report. They are the same that the chart
/// installs, and work with every object that MetalLB 0.13 or later accepts. It needs no access to a cluster.
///
/// Exit status: 0.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Crds {
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # Install them, or bring those that MetalLB left behind up to date
  kubectl ferrolb crds | kubectl apply --server-side --force-conflicts -f -

  # What would change
  kubectl ferrolb crds | kubectl diff --server-side --force-conflicts -f -";

/// As the chart has them: those that configure first.
const ALL: [&str; 9] = [
    include_str!("../../charts/ferrolb/crds/ipaddresspools.yaml"),
    include_str!("../../charts/ferrolb/crds/l2advertisements.yaml"),
    include_str!("../../charts/ferrolb/crds/bgpadvertisements.yaml"),
    include_str!("../../charts/ferrolb/crds/bgppeers.yaml"),
    include_str!("../../charts/ferrolb/crds/bfdprofiles.yaml"),
    include_str!("../../charts/ferrolb/crds/communities.yaml"),
    include_str!("../../charts/ferrolb/crds/configurationstates.yaml"),
    include_str!("../../charts/ferrolb/crds/servicel2statuses.yaml"),
    include_str!("../../charts/ferrolb/crds/servicebgpstatuses.yaml"),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Value>,
}

impl Crds {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let list = List {
            api_version: "v1",
            kind: "List",
            items: items()?,
        };
        self.format.print(out, &list, |out| {
            // As they are, with their comments.
            for (index, one) in ALL.into_iter().enumerate() {
                if index > 0 {
                    writeln!(out, "---")?;
                }
                out.write_all(one.as_bytes())?;
            }
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The same for a comparison.
pub(crate) fn definitions() -> Vec<serde_json::Value> {
    let all = ALL.into_iter();
    all.filter_map(|one| serde_yaml::from_str(one).ok())
        .collect()
}

fn items() -> anyhow::Result<Vec<Value>> {
    let all = ALL.into_iter();
    all.map(|one| serde_yaml::from_str(one).context("a definition is not YAML"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_printed_are_the_files_of_the_chart_and_none_is_left_out() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/ferrolb/crds");
        let files: BTreeSet<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        assert_eq!(files, ALL.map(str::to_owned).into());
        let kinds: BTreeSet<_> = items()
            .unwrap()
            .iter()
            .map(|one| one["spec"]["names"]["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds.len(), ALL.len(), "{kinds:?}");
        assert_eq!(definitions().len(), ALL.len());
    }
}
