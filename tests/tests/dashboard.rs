//! The dashboard's queries and the alerts' expressions, run by promtool over what the daemons of a lab show.
//!
//! Needs root. One at a time (`--test-threads=1`): each starts a control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::cluster::{Cluster, SOON};
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::Daemon;
use ferrolb_tests::debian;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::ip_batch;
use ferrolb_tests::observe::{arp_ask, http_get};
use ferrolb_tests::wait::wait_until;
use serde_json::{Value, json};

const DASHBOARD: &str = include_str!("../../charts/ferrolb/dashboards/ferrolb.json");
const RULES: &str = include_str!("../../charts/ferrolb/templates/prometheusrule.yaml");
const NAMESPACE: &str = "metallb-system";
/// No node may announce the last address.
const POOLS: &str = "address-pools: [
    {name: lan, protocol: layer2, addresses: [192.168.64.200-192.168.64.202]},
    {name: nowhere, protocol: layer2, addresses: [192.168.64.203/32],
     node-selectors: [{match-labels: {rack: none}}]}]";
/// One that serves, one without endpoints, one that another host has, and one that no node may announce. None
/// is left for another Service.
const ADDRESSES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(192, 168, 64, 200),
    Ipv4Addr::new(192, 168, 64, 201),
    Ipv4Addr::new(192, 168, 64, 202),
    Ipv4Addr::new(192, 168, 64, 203),
];
/// A node that is cut off does not answer by then.
const ANSWERS: Duration = Duration::from_secs(10);
/// As many scrapes as `rate` needs, and one more.
const SCRAPES: usize = 3;
/// What does not happen on this lab: a speaker that leaves requests without a reply, and an alert, which is a series
/// of Prometheus itself.
const MADE_UP: [(&str, &str); 3] = [
    (
        r#"metallb_layer2_requests_received{namespace="metallb-system",pod="slow",instance="slow:7472",ip="192.168.64.199"}"#,
        "0+60x2",
    ),
    (
        r#"metallb_layer2_responses_sent{namespace="metallb-system",pod="slow",instance="slow:7472",ip="192.168.64.199"}"#,
        "0+30x2",
    ),
    (
        r#"ALERTS{namespace="metallb-system",alertname="FerroLBNoLeader",alertstate="firing",severity="critical"}"#,
        "1x2",
    ),
];

#[test]
fn every_query_of_the_dashboard_finds_what_happens_on_a_lab() -> Result<()> {
    // With the options, and nothing behind them: so that their metrics are there, and say that they do not work.
    let controller = Daemon::controller("cp").arg("--dead-nodes=remove");
    let speaker =
        |_: &Lab, node: &str| Ok(Daemon::speaker(node).arg("--keeper=/nowhere/keeper.sock"));
    let pool = "192.168.64.200-192.168.64.203";
    let cluster = Cluster::start_under(&controller, "dashboard", 4, pool, speaker)?;
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "config", "namespace": NAMESPACE }, "data": { "config": POOLS },
    });
    cluster.lab.apply(&config.to_string())?;
    let mut recorded = Recorded::default();
    recorded.scrape(&cluster)?;
    let_something_happen(&cluster)?;
    for _ in 1..SCRAPES {
        recorded.scrape(&cluster)?;
    }
    let names = recorded.names();
    for text in [DASHBOARD, RULES] {
        for name in metric_names(text) {
            ensure!(
                names.contains(name),
                "no daemon shows {name}; there are {names:#?}"
            );
        }
    }
    let queries = queries()?;
    ensure!(queries.len() > 35, "only {} queries", queries.len());
    recorded.judge(&queries)
}

/// A move, a conflict, a death, silence, a Service that waits.
fn let_something_happen(cluster: &Cluster) -> Result<()> {
    let client = cluster.lab.client()?;
    let [serves, _, taken, _] = ADDRESSES;
    ip_batch(
        &client.namespace,
        &[format!("addr add {taken}/24 dev eth0")],
    )?;
    let _pod = cluster.create_pod("web", "n1")?;
    for (name, address) in ["web", "none", "taken", "silent"]
        .into_iter()
        .zip(ADDRESSES)
    {
        cluster.create_service_named(name, "Cluster", &[address.into()])?;
    }
    cluster.lab.kubectl(&[
        "patch",
        "service",
        "none",
        "--type=merge",
        "-p",
        r#"{"spec":{"selector":{"app":"nobody"}}}"#,
    ])?;
    let last = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "waits" },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    });
    cluster.lab.apply(&last.to_string())?;
    cluster.page(serves)?;
    let owner = cluster.owner(serves)?;
    cluster.lab.cut(&owner, false)?;
    let has_moved = || {
        Ok(cluster
            .answering(serves)?
            .first()
            .is_some_and(|node| *node != owner))
    };
    wait_until(SOON, has_moved, || Ok(())).context("the address does not move")?;
    cluster.on_lan(|| arp_ask("eth0", serves, Duration::from_millis(300)))??;
    let unheard = cluster
        .lab
        .nodes()
        .into_iter()
        .find(|node| node.name != owner);
    let unheard = unheard.context("another node")?;
    unheard.block_peers()?;
    let is_known = || {
        let controllers = page(cluster, "cp")?;
        let (nodes, mut speakers) = (cluster.lab.nodes(), String::new());
        for node in nodes.iter().filter(|node| node.name != owner) {
            speakers += &page(cluster, &node.name)?;
        }
        Ok(controllers.contains("ferrolb_addresses_in_conflict{")
            && speakers.contains("ferrolb_members{standing=\"gone\"}")
            && speakers.contains("reason=\"peer_blocked\""))
    };
    wait_until(3 * SOON, is_known, || Ok(())).context("the gauges do not follow")
}

fn page(cluster: &Cluster, host: &str) -> Result<String> {
    let at = SocketAddr::from((cluster.lab.host(host)?.ipv4, 7472));
    Ok(cluster.on_lan(|| http_get(at, "/metrics", ANSWERS))??.body)
}

/// What was shown at each look, by series.
#[derive(Default)]
struct Recorded {
    looks: usize,
    /// Also of those that have no series yet.
    names: BTreeSet<String>,
    series: BTreeMap<String, Vec<Option<String>>>,
}

impl Recorded {
    /// Looks at each daemon that answers.
    fn scrape(&mut self, cluster: &Cluster) -> Result<()> {
        let nodes = cluster.lab.nodes();
        let hosts = std::iter::once("cp").chain(nodes.iter().map(|node| node.name.as_str()));
        for host in hosts {
            // One that is cut off shows nothing.
            let Ok(page) = page(cluster, host) else {
                continue;
            };
            for line in page.lines() {
                if let Some(about) = line.strip_prefix("# TYPE ") {
                    let name = about.split(' ').next().unwrap_or_default();
                    self.names.insert(name.to_owned());
                }
                if line.starts_with('#') {
                    continue;
                }
                let (series, value) = line.rsplit_once(' ').context("a value")?;
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let own =
                    format!("namespace=\"{NAMESPACE}\",pod=\"{host}\",instance=\"{host}:7472\"");
                let labels = match labels.trim_end_matches('}') {
                    "" => own,
                    labels => format!("{own},{labels}"),
                };
                let values = self
                    .series
                    .entry(format!("{name}{{{labels}}}"))
                    .or_default();
                values.resize(self.looks, None);
                values.push(Some(value.to_owned()));
            }
        }
        self.looks += 1;
        Ok(())
    }

    fn names(&self) -> BTreeSet<&str> {
        let of_series = self.series.keys();
        let of_series = of_series.filter_map(|series| Some(series.split_once('{')?.0));
        of_series
            .chain(self.names.iter().map(String::as_str))
            .collect()
    }

    /// Each query has to find something, as promtool sees it.
    fn judge(&self, queries: &[(String, String)]) -> Result<()> {
        let mut test = String::from(
            "rule_files: []\nevaluation_interval: 15s\ntests:\n- interval: 15s\n  input_series:\n",
        );
        let recorded = self.series.iter().map(|(series, values)| {
            let values = values.iter().map(|value| value.as_deref().unwrap_or("_"));
            (series.as_str(), values.collect::<Vec<_>>().join(" "))
        });
        let made_up = MADE_UP.map(|(series, values)| (series, values.to_owned()));
        for (series, values) in recorded.chain(made_up) {
            let (series, values) = (json!(series), json!(values));
            writeln!(test, "  - {{series: {series}, values: {values}}}")?;
        }
        test.push_str("  promql_expr_test:\n");
        let at = 15 * (self.looks - 1);
        for (_, query) in queries {
            // A zero that says no more than that a daemon is there is no find.
            let found = if query.contains(" or 0 * ") {
                format!("({query}) > 0")
            } else {
                query.clone()
            };
            let expr = json!(format!("count({found}) > bool 0"));
            writeln!(
                test,
                "  - {{expr: {expr}, eval_time: {at}s, exp_samples: [{{labels: '{{}}', value: 1}}]}}"
            )?;
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("queries.yaml"), &test)?;
        let mut promtool = Command::new(debian::program("promtool"));
        promtool
            .current_dir(folder.path())
            .args(["test", "rules", "queries.yaml"]);
        stdout_of(&mut promtool, "").map(drop).with_context(|| {
            let titles: Vec<_> = queries
                .iter()
                .map(|(title, query)| format!("{title}: {query}"))
                .collect();
            titles.join("\n")
        })
    }
}

/// All queries, with the variables as Grafana sets them.
fn queries() -> Result<Vec<(String, String)>> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let mut queries = Vec::new();
    let of = |one: &Value, expr: &Value| -> Option<(String, String)> {
        let title = one["title"].as_str().or(one["name"].as_str())?.to_owned();
        Some((title, expr.as_str()?.to_owned()))
    };
    for panel in dashboard["panels"].as_array().context("panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.extend(of(panel, &target["expr"]));
        }
    }
    for annotation in dashboard["annotations"]["list"]
        .as_array()
        .into_iter()
        .flatten()
    {
        queries.extend(of(annotation, &annotation["expr"]));
    }
    let set = |query: &str| {
        query
            .replace("$namespace", NAMESPACE)
            .replace("$__rate_interval", "1m")
            .replace("$ip", ".*")
            .replace("$node", ".*")
            .replace("$pool", ".*")
    };
    let all = queries
        .into_iter()
        .map(|(title, query)| (title, set(&query)));
    Ok(all.collect())
}

/// The words in a text that name a metric of ours.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| {
            ["ferrolb_", "metallb_"]
                .iter()
                .any(|begin| word.starts_with(begin))
        })
        .collect()
}
