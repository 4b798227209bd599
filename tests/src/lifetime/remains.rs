//! What is left of an installation.

use anyhow::{Context, Result};

use super::Lifetime;
use crate::daemon::NAMESPACE;
use crate::wait::wait_until;
use crate::walk::PATIENCE;

/// What helm knows nothing of, and a new installation goes on with.
pub(super) const MADE_BY_DAEMONS: [&str; 3] = [
    "configmap/ferrolb-conflicts",
    "lease.coordination.k8s.io/ferrolb-controller",
    "secret/ferrolb-peers",
];

/// Of all kinds that the chart or the daemons make, by name.
const EVERYTHING: [&str; 4] = [
    "get",
    "all,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,networkpolicies,\
     poddisruptionbudgets",
    "-o",
    "name",
];

impl Lifetime<'_> {
    pub(super) fn show_what_is_left(&self) -> Result<()> {
        self.scene
            .kubectl(&[&["-n", NAMESPACE], &EVERYTHING[..]].concat())?;
        let global = ["get", "clusterroles,clusterrolebindings", "-o", "name"];
        self.scene.stage.command(
            "kubectl",
            &[&global[..], &["|", "grep", "ferrolb"]].concat(),
        );
        self.scene.stage.output(&self.global()?.join("\n"));
        Ok(())
    }

    /// Waits until the namespace has nothing of ours but these.
    pub fn nothing_is_left_but(&self, made: &[&str]) -> Result<()> {
        let left = || {
            let all = [&["-n", NAMESPACE], &EVERYTHING[..]].concat();
            let namespaced = self.scene.quietly(&all)?;
            // Kubernetes' own, and the user's.
            let kept = [
                "configmap/kube-root-ca.crt",
                "serviceaccount/default",
                "configmap/config",
            ];
            let ours = namespaced
                .lines()
                .filter(|name| !kept.contains(name) && !made.contains(name));
            anyhow::Ok(
                ours.map(str::to_owned)
                    .chain(self.global()?)
                    .collect::<Vec<_>>(),
            )
        };
        wait_until(PATIENCE, || Ok(left()?.is_empty()), || Ok(()))
            .with_context(|| format!("left: {:?}", left()))
    }

    /// What is ours outside of any namespace.
    fn global(&self) -> Result<Vec<String>> {
        let all = ["get", "clusterroles,clusterrolebindings", "-o", "name"];
        let all = self.scene.quietly(&all)?;
        let ours = all.lines().filter(|name| name.contains("ferrolb"));
        Ok(ours.map(str::to_owned).collect())
    }
}
