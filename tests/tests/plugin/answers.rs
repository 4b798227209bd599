//! What the plugin answers programs, each verb on a cluster that serves addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use ferrolb_tests::lab::Lab;
use serde_json::Value;

const DOCS: &str = include_str!("../../../docs/plugin.md");

/// `-o json` of each verb, and whether `docs/plugin.md` has its keys.
pub(crate) fn have_the_documented_keys(lab: &Lab, address: Ipv4Addr) -> Result<()> {
    let (_, for_programs) = DOCS.split_once("## For programs").context("no keys")?;
    let home = tempfile::tempdir()?;
    let archive = home.path().join("dump.tar.gz").display().to_string();
    let (address, nodes) = (address.to_string(), lab.nodes());
    let [first, second] = [&nodes[0].name, &nodes[1].name];
    let a_node = format!("node/{first}");
    for (args, statuses) in [
        (&["status", "--wait"][..], &[0][..]),
        (&["pools"], &[0]),
        (&["services", "-A"], &[0]),
        (&["explain", "svc/test-lb"], &[0]),
        (&["check"], &[0]),
        // The one with the only local endpoint has no successor.
        (&["plan", "drain", first], &[0, 1]),
        (&["plan", "node-down", first], &[0, 1]),
        (&["explain", &address], &[0]),
        (&["explain", &a_node], &[0]),
        (&["explain", "no_endpoint"], &[0]),
        (&["move", &address, second], &[0]),
        (&["move", &address, "--clear"], &[0]),
        (&["rebalance", "--dry-run"], &[0]),
        (&["who", &address, "--node", first], &[0]),
        (&["cleanup"], &[1]),
        (&["dump", &archive], &[0]),
        (&["version"], &[0]),
    ] {
        let answer = answer(lab, args, statuses)?;
        let row = format!("| `{}` |", args[0]);
        let row = for_programs.lines().find(|line| line.starts_with(&row));
        let row = row.with_context(|| format!("{args:?} has no keys in docs/plugin.md"))?;
        let documented: BTreeSet<&str> = row.split(|c: char| !c.is_alphanumeric()).collect();
        let mut keys = BTreeSet::new();
        collect_keys(&answer, &mut keys);
        let missing: Vec<_> = keys.difference(&documented).collect();
        ensure!(missing.is_empty(), "{args:?}: {missing:?} is not in: {row}");
    }
    Ok(())
}

fn answer(lab: &Lab, args: &[&str], statuses: &[i32]) -> Result<Value> {
    let output = lab.plugin(&[args, &["-o", "json"]].concat())?;
    let status = output.status.code().context("it was killed")?;
    ensure!(statuses.contains(&status), "{args:?}: {output:?}");
    let answer: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}: {output:?}"))?;
    ensure!(answer.is_object(), "{args:?}: {answer}");
    Ok(answer)
}

fn collect_keys<'a>(value: &'a Value, keys: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                keys.insert(key);
                collect_keys(value, keys);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_keys(item, keys);
            }
        }
        _ => {}
    }
}
