//! Pods of dead nodes leave rotation (`deadNodes.endpoints: remove`): what a client on the LAN sees of it, what
//! marks nobody, and what the API server refuses.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

mod dead_nodes {
    use anyhow::Result;
    use ferrolb_tests::Lab;
    use ferrolb_tests::daemon::NAMESPACE;

    mod hollow;
    mod policy;
    mod real;

    /// Writes entries into the ConfigMap of votes, as the administrator.
    fn write_votes(lab: &Lab, data: &serde_json::Value) -> Result<()> {
        let patch = serde_json::json!({ "data": data }).to_string();
        let map = ["-n", NAMESPACE, "patch", "configmap", "ferrolb-votes"];
        lab.kubectl(&[&map[..], &["--type=merge", "-p", &patch]].concat())?;
        Ok(())
    }
}
