//! What the API server lets the daemons do.

use ferrolb_tests::Lab;

use super::install::NAMESPACE;
use super::rendered::Chart;

/// What is off by default has no right until it is asked for, and then no more than it needs.
#[test]
fn rights_to_write_service_statuses_come_with_the_value_alone() {
    let chart = Chart::here();
    let role = |values: &str| {
        let rendered = chart.template(values).unwrap();
        let documents = rendered.split("\n---\n");
        let mut roles = documents.filter(|one| {
            one.contains("\nkind: Role\n") && one.contains("\n  name: ferrolb-speaker\n")
        });
        roles.next().unwrap().to_owned()
    };
    let (without, with) = (role(""), role("speaker: {serviceL2Status: true}"));
    assert!(!without.contains("metallb.io"), "{without}");
    let more: Vec<_> = with
        .lines()
        .filter(|line| !without.contains(line) && !line.trim_start().starts_with('#'))
        .collect();
    assert_eq!(
        more,
        [
            "  - apiGroups: [metallb.io]",
            "    resources: [servicel2statuses]",
            "    verbs: [list, create, delete]",
            "  - apiGroups: [metallb.io]",
            "    resources: [servicel2statuses/status]",
            "    verbs: [patch]",
        ]
    );
}

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
