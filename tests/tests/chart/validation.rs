//! What the chart has the API server say of MetalLB's objects. What it says is tried in `tests/crds.rs`.

use super::super::{Chart, Rendered};

const POLICIES: &str = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy";

fn on(kube_version: &str, knows_policies: bool, values: &str) -> Rendered {
    let mut args = vec!["template", "ferrolb", ".", "--namespace", "lb"];
    args.extend(["--values", "-", "--kube-version", kube_version]);
    if knows_policies {
        args.extend(["--api-versions", POLICIES]);
    }
    Rendered::parse(&Chart::here().helm(&args, values).unwrap())
}

/// What is done with an object of another namespace, and with a wrong pool.
fn actions(rendered: &Rendered) -> Option<[String; 2]> {
    let of = |policy: &str| {
        let binding = format!("ValidatingAdmissionPolicyBinding/{policy}.lb.ferrolb");
        let actions = rendered.get(&binding, &["spec", "validationActions"])?;
        Some(actions[0].as_str().unwrap().to_owned())
    };
    let (namespace, addresses) = (of("namespace")?, of("addresses")?);
    assert_eq!(of("overlap"), Some(addresses.clone()));
    Some([namespace, addresses])
}

#[test]
fn policies_are_there_where_the_api_server_has_them_and_warn_unless_told_otherwise() {
    for (kube_version, knows_policies, values, expected) in [
        ("1.34.4", true, "", Some(["Warn", "Warn"])),
        ("1.34.4", true, "validate: warn", Some(["Warn", "Warn"])),
        ("1.34.4", true, "validate: deny", Some(["Deny", "Deny"])),
        ("1.34.4", true, "validate: none", None),
        ("1.31.0", true, "", Some(["Warn", "Warn"])),
        // Its CEL has no functions for addresses.
        ("1.30.9", true, "", None),
        ("1.34.4", false, "", None),
        ("1.22.0", false, "validate: deny", None),
    ] {
        let rendered = on(kube_version, knows_policies, values);
        let expected = expected.map(|actions| actions.map(str::to_owned));
        assert_eq!(actions(&rendered), expected, "{kube_version} {values}");
    }
}

#[test]
fn objects_that_another_installation_reads_are_never_refused() {
    for beside in ["loadBalancerClass: acme/lb", "allowCoexistence: true"] {
        let rendered = on("1.34.4", true, &format!("validate: deny\n{beside}"));
        assert_eq!(actions(&rendered).unwrap(), ["Warn", "Deny"], "{beside}");
    }
}

#[test]
fn an_expression_that_fails_refuses_nothing() {
    let rendered = on("1.34.4", true, "validate: deny");
    for policy in ["namespace", "addresses", "overlap"] {
        let policy = format!("ValidatingAdmissionPolicy/{policy}.lb.ferrolb");
        let failure = rendered.get(&policy, &["spec", "failurePolicy"]);
        assert_eq!(failure.unwrap(), "Ignore", "{policy}");
    }
}
