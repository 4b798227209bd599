//! What the API server lets the daemons do.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use ferrolb_tests::Lab;
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::PATIENCE;
use serde_yaml::Value;

use super::install::NAMESPACE;
use super::rendered::{Chart, Rendered};

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

/// Of an account, by resource and the names to which it is limited, the verbs.
type Rights = BTreeMap<(String, BTreeSet<String>), BTreeSet<String>>;

const ACCOUNTS: [&str; 2] = ["ferrolb-controller", "ferrolb-speaker"];

/// Every value that gives rights to a daemon or a capability to a container.
const EVERYTHING: &str = "speaker: {serviceL2Status: true, keepConnections: {enabled: true}}
deadNodes: {endpoints: remove}";

#[test]
fn the_page_lists_the_rights_that_the_chart_gives_and_no_others() {
    let page = page();
    let (by_default, everything) = (Rendered::of(""), Rendered::of(EVERYTHING));
    for account in ACCOUNTS {
        let [written, in_addition] = written(&page, account).try_into().unwrap();
        let usual = given(&by_default, account);
        assert!(usual.len() > 5, "{account}: {usual:#?}");
        assert_eq!(written, usual, "{account}: on the page; by default");
        let mut more = given(&everything, account);
        for (what, verbs) in &usual {
            assert_eq!(
                more.remove(what).as_ref(),
                Some(verbs),
                "{account}: {what:?}"
            );
        }
        assert_eq!(
            in_addition, more,
            "{account}: on the page; with everything on"
        );
    }
}

fn page() -> String {
    fs::read_to_string(Chart::here().dir().join("../../docs/security.md")).unwrap()
}

/// What the page says that `kubectl auth can-i --list` prints of an account, each time it is asked.
fn written(page: &str, account: &str) -> Vec<Rights> {
    let asked = format!("--as=system:serviceaccount:{NAMESPACE}:{account} -n {NAMESPACE}");
    let answers = page.split("\n$ ").skip(1);
    let answers = answers.filter_map(|answer| answer.split_once('\n'));
    let of_account = answers.filter(|(command, _)| {
        command.starts_with("kubectl auth can-i --list ") && command.ends_with(&asked)
    });
    let rows = of_account.map(|(_, answer)| answer.lines().take_while(|line| *line != "…"));
    rows.map(|rows| rows.map(row).collect()).collect()
}

/// A line such as `leases.coordination.k8s.io  []  [ferrolb-controller]  [list watch update]`.
fn row(line: &str) -> ((String, BTreeSet<String>), BTreeSet<String>) {
    let parts: Vec<_> = line.split('[').collect();
    let [resource, urls, names, verbs] = parts[..] else {
        panic!("no row: {line}");
    };
    let words = |text: &str| -> BTreeSet<String> {
        let text = text.trim_end().strip_suffix(']').expect(line);
        text.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words(urls).len(), 0, "{line}");
    ((resource.trim().to_owned(), words(names)), words(verbs))
}

/// What roles give to an account in the release's namespace.
fn given(rendered: &Rendered, account: &str) -> Rights {
    let mut rights = Rights::new();
    for (binding, scope) in [("ClusterRoleBinding", ""), ("RoleBinding", NAMESPACE)] {
        let bindings = rendered.of_kind(binding);
        for binding in bindings.filter(|binding| is_for(binding, account)) {
            let role = &binding["roleRef"];
            let name = text(&role["name"]);
            let kind = text(&role["kind"]);
            assert_eq!(
                binding["metadata"]["namespace"].as_str().unwrap_or(""),
                scope
            );
            let rules = rendered.get(&format!("{kind}/{name}"), &["rules"]).unwrap();
            for rule in rules.as_sequence().unwrap() {
                add(&mut rights, rule);
            }
        }
    }
    rights
}

fn is_for(binding: &Value, account: &str) -> bool {
    let subjects = binding["subjects"].as_sequence().unwrap();
    subjects.iter().any(|subject| {
        text(&subject["name"]) == account && text(&subject["namespace"]) == NAMESPACE
    })
}

fn add(rights: &mut Rights, rule: &Value) {
    let all = |key: &str| -> BTreeSet<String> {
        let items = rule.get(key).and_then(Value::as_sequence);
        items
            .into_iter()
            .flatten()
            .map(|it| text(it).to_owned())
            .collect()
    };
    assert!(rule.get("nonResourceURLs").is_none(), "{rule:?}");
    for group in all("apiGroups") {
        for resource in all("resources") {
            let (plain, below) = resource.split_once('/').unwrap_or((&resource, ""));
            let mut name = [plain, &group].join(if group.is_empty() { "" } else { "." });
            if !below.is_empty() {
                name += &format!("/{below}");
            }
            let verbs = rights.entry((name, all("resourceNames"))).or_default();
            verbs.extend(all("verbs"));
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The rows `capabilities` and `network` of the page's tables.
#[test]
fn the_page_names_the_capabilities_and_networks_that_the_chart_gives() {
    let page = page();
    let rows = |begin: &str| -> Vec<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(begin));
        let cells = lines.flat_map(|line| line.trim_end_matches(" |").split(" | "));
        cells.map(str::to_owned).collect()
    };
    let (capabilities, networks) = (rows("| capabilities | "), rows("| network | "));
    let everything = Rendered::of(EVERYTHING);
    let containers = [
        ("Deployment/ferrolb-controller", "controller"),
        ("DaemonSet/ferrolb-speaker", "speaker"),
        ("DaemonSet/ferrolb-speaker", "keeper"),
    ];
    assert_eq!((capabilities.len(), networks.len()), (3, 3));
    for (index, (workload, container)) in containers.into_iter().enumerate() {
        let pod = ["spec", "template", "spec"];
        let at = |rest: &[&str]| everything.get(workload, &[&pod[..], rest].concat());
        let named = format!("name={container}");
        let context = at(&["containers", &named, "securityContext"]).unwrap();
        let given = context["capabilities"].get("add");
        let given: Vec<_> = given
            .and_then(Value::as_sequence)
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let given = if given.is_empty() {
            "none".to_owned()
        } else {
            given.join(", ")
        };
        let said = capabilities[index].split(", ").next().unwrap();
        assert_eq!(said, given, "{container}");
        assert_eq!(context["capabilities"]["drop"][0], "ALL", "{container}");
        let on_host = at(&["hostNetwork"]) == Some(true.into());
        let network = if on_host {
            "host network"
        } else {
            "pod network"
        };
        assert!(
            networks[index].starts_with(network),
            "{container}: {}",
            networks[index]
        );
    }
}

/// Neither daemon has a right that nobody reviewed: `kubectl auth can-i --list` as its account, in the
/// namespace of the release and in another one, without what every account may.
pub(super) fn are_as_reviewed(lab: &Lab) {
    insta::assert_snapshot!(settled(lab, "services/status"));
}

/// The same where pods of dead nodes leave rotation.
pub(super) fn with_dead_nodes_are_as_reviewed(lab: &Lab) {
    insta::assert_snapshot!(settled(lab, "pods/status"));
}

/// The rights, this one among them, as two looks in a row find them: the API server counts each role and binding a
/// moment after it was written.
fn settled(lab: &Lab, right: &str) -> String {
    let last = RefCell::new(String::new());
    let is_settled = || {
        let now = of_both(lab);
        let same = last.replace(now.clone()) == now;
        Ok(same && now.contains(right))
    };
    wait_until(PATIENCE, is_settled, || Ok(())).unwrap();
    last.into_inner()
}

fn of_both(lab: &Lab) -> String {
    let mut rights = String::new();
    for account in ACCOUNTS {
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
