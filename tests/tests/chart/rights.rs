//! What the API server lets the daemons do.

use ferrolb_tests::Lab;

use super::install::NAMESPACE;

/// Neither daemon has a right that nobody reviewed: `kubectl auth can-i --list` as its account, in the
/// namespace of the release and in another one, without what every account may.
pub(super) fn are_as_reviewed(lab: &Lab) {
    insta::assert_snapshot!(of_both(lab));
}

/// The same where pods of dead nodes leave rotation.
pub(super) fn with_dead_nodes_are_as_reviewed(lab: &Lab) {
    insta::assert_snapshot!(of_both(lab));
}

fn of_both(lab: &Lab) -> String {
    let mut rights = String::new();
    for account in ["ferrolb-controller", "ferrolb-speaker"] {
        for namespace in [NAMESPACE, "default"] {
            let everybodys = of(lab, "default", namespace);
            let its: Vec<_> = of(lab, account, namespace)
                .into_iter()
                .filter(|right| !everybodys.contains(right))
                .collect();
            rights.push_str(&format!(
                "{account} in {namespace}:\n{}\n\n",
                its.join("\n")
            ));
        }
    }
    rights
}

/// Resources, URLs, names, verbs: a line each.
fn of(lab: &Lab, account: &str, namespace: &str) -> Vec<String> {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{account}");
    let list = ["auth", "can-i", "--list", "--no-headers", &account];
    let rights = lab
        .kubectl(&[&list[..], &["-n", namespace]].concat())
        .unwrap();
    let mut rights: Vec<_> = rights
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    rights.sort();
    rights
}
