//! Configurations in manifests: problems point at the line of the file.

use super::{EVERYTHING, valid};
use crate::config::{Checked, NotConfigured, Outcome, check_file};

fn manifest(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: ns\n  name: config\ndata:\n  config: {value}"
    )
}

fn only(text: &str) -> Checked {
    let mut checked = check_file(text).unwrap();
    assert_eq!(checked.len(), 1);
    checked.remove(0)
}

/// What the problems point at, with their lines.
fn places(text: &str) -> Vec<(usize, String)> {
    let checked = only(text);
    let Outcome::Refused(problems) = checked.outcome else {
        panic!("must be refused")
    };
    let source = checked.value.as_deref().unwrap_or(text);
    problems
        .iter()
        .map(|problem| &problem.place)
        .map(|place| {
            (
                place.line().unwrap(),
                source[place.span().unwrap().clone()].to_owned(),
            )
        })
        .collect()
}

#[test]
fn problems_in_a_block_point_at_the_lines_of_the_file() {
    let forms = [
        (
            "|\n    # pools\n\n    address-pools:\n    - name: a\n      protocol: läyer2\n      addresses: [x]\n",
            12,
        ),
        (
            "|-\n\n    address-pools:\n    - name: a\n      protocol: läyer2\n      addresses: [x]",
            11,
        ),
        (
            "|+\n      address-pools:\n      - name: a\n        protocol: läyer2\n        addresses: [x]\n\n\n",
            10,
        ),
        (
            "|2\n    address-pools:\n    - name: a\n      protocol: läyer2\n      addresses: [x]\n",
            10,
        ),
        (
            "| # text\n    address-pools:\n    - name: a\n      protocol: läyer2\n      addresses: [x]\n",
            10,
        ),
    ];
    for (value, line) in forms {
        let want = [(line, "läyer2".to_owned()), (line + 1, "x".to_owned())];
        assert_eq!(places(&manifest(value)), want, "{value}");
        let windows = manifest(value).replace('\n', "\r\n");
        assert_eq!(places(&windows), want, "{value} with CRLF");
    }
}

#[test]
fn messages_name_the_lines_of_the_file_too() {
    let text = manifest(
        "|\n    address-pools:\n    - {name: a, protocol: bgp, addresses: [10.0.0.1]}\n    - {name: a, protocol: bgp, addresses: [10.0.0.2]}\n",
    );
    let Outcome::Refused(problems) = only(&text).outcome else {
        panic!("must be refused")
    };
    let problem = problems.iter().next().unwrap();
    assert_eq!(
        (problem.place.line(), problem.message.as_str()),
        (Some(10), "another pool is called `a`, on line 9")
    );
    let (first, _) = problem.related.clone().unwrap();
    assert_eq!(&text[first.span().unwrap().clone()], "a");
}

#[test]
fn a_value_in_quotes_is_shown_by_itself() {
    let text =
        manifest("\"address-pools:\\n- name: a\\n  protocol: x\\n  addresses: [10.0.0.1]\\n\"");
    assert_eq!(places(&text), [(3, "x".to_owned())]);
    assert!(only(&text).value.is_some());
}

#[test]
fn configurations_are_found_in_documents_and_lists() {
    let one = manifest("|\n    address-pools: []\n");
    let text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: ns}}\n---\n{one}---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: unrelated}}\ndata: {{key: value}}\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {{name: second}}\n  data:\n    config: |\n      pools: 1\n"
    );
    let checked = check_file(&text).unwrap();
    let names: Vec<_> = checked
        .iter()
        .map(|one| one.object.as_ref().unwrap().to_string())
        .collect();
    assert_eq!(names, ["ns/config", "second"]);
    assert_eq!(
        checked[0].outcome,
        Outcome::NotConfigured(NotConfigured::Empty)
    );
    let Outcome::Refused(problems) = &checked[1].outcome else {
        panic!("must be refused")
    };
    let place = &problems.iter().next().unwrap().place;
    assert_eq!(place.line(), Some(27));
}

#[test]
fn a_bare_configuration_is_a_file_too() {
    let checked = only(EVERYTHING);
    assert_eq!(
        (checked.object, checked.outcome),
        (None, Outcome::Valid(valid(EVERYTHING)))
    );
}

#[test]
fn manifests_without_a_configuration_are_no_answer() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n";
    assert!(check_file(text).is_err(), "{text}");
}

#[test]
fn a_forgotten_block_sign_is_recognised() {
    let text = manifest("\n    address-pools: []\n");
    assert_eq!(places(&text), [(8, "address-pools".to_owned())]);
}

#[test]
fn minikubes_manifest_waits_for_its_addresses() {
    let checked = only(include_str!(
        "../fixtures/minikube-unconfigured-manifest.yaml"
    ));
    assert_eq!(
        checked.outcome,
        Outcome::NotConfigured(NotConfigured::Unfilled)
    );
}
