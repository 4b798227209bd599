//! `deadNodes`: a strong right, and what limits it.

use super::super::{Chart, Rendered};

const REMOVE: &str = "deadNodes: {endpoints: remove}";

fn on(kube_version: &str, values: &str) -> anyhow::Result<String> {
    let args = [
        "template",
        "ferrolb",
        ".",
        "--namespace",
        "lb",
        "--values",
        "-",
    ];
    Chart::here().helm(
        &[&args[..], &["--kube-version", kube_version]].concat(),
        values,
    )
}

#[test]
fn by_default_no_right_no_argument_and_no_object_of_it_is_rendered() {
    let nothing = Chart::here().template("").unwrap();
    for word in ["pods/status", "dead-nodes", "ferrolb-votes", "NodeDead"] {
        assert!(!nothing.contains(word), "{word}");
    }
    let off = "deadNodes: {endpoints: leave, after: 1s, withoutPolicy: true}";
    assert_eq!(Chart::here().template(off).unwrap(), nothing);
    // Values that are reused from an older chart have no such key.
    let older = "deadNodes: null";
    assert_eq!(Chart::here().template(older).unwrap(), nothing);
}

#[test]
fn the_right_comes_with_the_policies_that_the_api_server_has_or_not_at_all() {
    let without = "deadNodes: {endpoints: remove, withoutPolicy: true}";
    for (kube_version, values, pods, votes) in [
        ("1.34.4", REMOVE, true, true),
        ("1.32.0", REMOVE, true, true),
        ("1.32.0-rc.1", REMOVE, true, true),
        ("1.31.9", REMOVE, true, false),
        ("1.30.0", REMOVE, true, false),
        ("1.34.4", without, false, false),
        ("1.29.9", without, false, false),
    ] {
        let rendered = Rendered::parse(&on(kube_version, values).unwrap());
        for (policy, is_there) in [("pods", pods), ("votes", votes)] {
            let name = format!("ValidatingAdmissionPolicy/{policy}.lb.ferrolb");
            let failure = rendered.get(&name, &["spec", "failurePolicy"]);
            let expected = is_there.then(|| "Fail".into());
            assert_eq!(failure, expected, "{kube_version} {values}: {policy}");
            let binding = format!("ValidatingAdmissionPolicyBinding/{policy}.lb.ferrolb");
            let actions = rendered.get(&binding, &["spec", "validationActions"]);
            assert_eq!(
                actions.is_some(),
                is_there,
                "{kube_version} {values}: {policy}"
            );
            assert!(actions.is_none_or(|actions| actions[0] == "Deny"));
        }
        let role = rendered.get("ClusterRole/lb:ferrolb-dead-nodes", &["rules"]);
        assert_eq!(role.unwrap()[0]["resources"][0], "pods/status");
    }
    let refused = on("1.29.9", REMOVE).unwrap_err().to_string();
    assert!(
        refused.contains("deadNodes.withoutPolicy: true"),
        "{refused}"
    );
}

#[test]
fn the_policies_name_the_accounts_that_the_daemons_really_have() {
    let values = "{deadNodes: {endpoints: remove}, controller: {serviceAccount: {name: one}}, \
                  speaker: {serviceAccount: {name: two}}}";
    let rendered = Rendered::parse(&on("1.34.4", values).unwrap());
    for (policy, account) in [("pods", "one"), ("votes", "two")] {
        let name = format!("ValidatingAdmissionPolicy/{policy}.lb.ferrolb");
        let condition = rendered.get(&name, &["spec", "matchConditions"]).unwrap();
        let expression = condition[0]["expression"].as_str().unwrap();
        assert_eq!(
            expression,
            format!("request.userInfo.username == 'system:serviceaccount:lb:{account}'")
        );
    }
}

#[test]
fn without_rbac_the_policies_are_there_all_the_same() {
    let values = "{deadNodes: {endpoints: remove}, rbac: {create: false}}";
    let rendered = Rendered::parse(&on("1.34.4", values).unwrap());
    assert!(!rendered.kinds().contains_key("ClusterRole"));
    assert_eq!(rendered.kinds()["ValidatingAdmissionPolicy"], 2);
}

#[test]
fn a_value_that_means_nothing_is_refused_by_name() {
    for (values, complaint) in [
        (
            "deadNodes: {endpoints: delete}",
            "at '/deadNodes/endpoints'",
        ),
        ("deadNodes: {after: 500}", "at '/deadNodes/after'"),
        ("deadNodes: {after: 1m}", "at '/deadNodes/after'"),
        ("deadNodes: {after: -1s}", "at '/deadNodes/after'"),
        (
            "deadNodes: {withoutPolicy: 'yes'}",
            "at '/deadNodes/withoutPolicy'",
        ),
        ("deadNodes: {endpoint: remove}", "at '/deadNodes'"),
    ] {
        let refused = Chart::here().template(values).unwrap_err().to_string();
        assert!(refused.contains(complaint), "{values}: {refused}");
    }
}
