//! MetalLB's objects as manifests.

use std::io::{self, Write};

use serde::Serialize;
use serde_yaml::Value;

use super::metallb::{Metadata, Object, Objects};

/// Annotations of tools about the object that was read.
const OF_TOOLS: [&str; 3] = [
    "kubectl.kubernetes.io/",
    "meta.helm.sh/",
    "argocd.argoproj.io/",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, Spec> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a Metadata,
    spec: &'a Spec,
}

/// To be applied in `namespace`, without what tools wrote.
pub(super) fn clean(objects: &mut Objects, namespace: &str) {
    let pools = objects.pools.iter_mut().map(|one| &mut one.metadata);
    let l2 = objects.l2.iter_mut().map(|one| &mut one.metadata);
    let bgp = objects.bgp.iter_mut().map(|one| &mut one.metadata);
    let peers = objects.peers.iter_mut().map(|one| &mut one.metadata);
    let profiles = objects.profiles.iter_mut().map(|one| &mut one.metadata);
    let communities = objects.communities.iter_mut().map(|one| &mut one.metadata);
    let all = pools.chain(l2).chain(bgp).chain(peers);
    for metadata in all.chain(profiles).chain(communities) {
        namespace.clone_into(&mut metadata.namespace);
        let of_tools = |name: &str| OF_TOOLS.iter().any(|prefix| name.starts_with(prefix));
        metadata.annotations.retain(|name, _| !of_tools(name));
    }
}

/// All of them: what others refer to comes first.
pub(super) fn list(objects: &Objects) -> anyhow::Result<List> {
    const BETA1: &str = "metallb.io/v1beta1";
    let mut items = values(&objects.pools, BETA1, "IPAddressPool")?;
    items.extend(values(&objects.l2, BETA1, "L2Advertisement")?);
    items.extend(values(&objects.communities, BETA1, "Community")?);
    items.extend(values(&objects.profiles, BETA1, "BFDProfile")?);
    items.extend(values(&objects.peers, "metallb.io/v1beta2", "BGPPeer")?);
    items.extend(values(&objects.bgp, BETA1, "BGPAdvertisement")?);
    Ok(List {
        api_version: "v1",
        kind: "List",
        items,
    })
}

fn values<Spec: Serialize>(
    objects: &[Object<Spec>],
    api_version: &'static str,
    kind: &'static str,
) -> anyhow::Result<Vec<Value>> {
    let value = |Object { metadata, spec }: &Object<Spec>| {
        Ok(serde_yaml::to_value(Manifest {
            api_version,
            kind,
            metadata,
            spec,
        })?)
    };
    objects.iter().map(value).collect()
}

/// The same for people: a document each.
pub(super) fn print(out: &mut impl Write, list: &List, lost: &[String]) -> anyhow::Result<()> {
    comment(out, lost)?;
    for (index, item) in list.items.iter().enumerate() {
        if index > 0 {
            writeln!(out, "---")?;
        }
        out.write_all(for_every_reader(&serde_yaml::to_string(item)?).as_bytes())?;
    }
    Ok(())
}

/// The same YAML, with texts in quotes that kubectl and MetalLB would take for something else: `yes` is true to
/// them, and `012` is ten.
pub(super) fn for_every_reader(yaml: &str) -> String {
    let mut out = String::new();
    for line in yaml.lines() {
        let (indent, rest) = line.split_at(line.len() - line.trim_start_matches([' ', '-']).len());
        let line = match rest.split_once(": ") {
            Some((key, value)) => format!("{}: {}", quoted(key), quoted(value)),
            None => match rest.strip_suffix(':') {
                Some(key) => format!("{}:", quoted(key)),
                None => quoted(rest),
            },
        };
        out.push_str(indent);
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn quoted(scalar: &str) -> String {
    let word = scalar.to_ascii_lowercase();
    let is_truth = ["y", "n", "yes", "no", "on", "off"].contains(&word.as_str());
    let digits = scalar.trim_start_matches(['+', '-']);
    let is_digits = digits.chars().all(|c| c.is_ascii_digit() || c == '_');
    let is_number =
        is_digits && digits.len() > 1 && (digits.starts_with('0') || digits.contains('_'));
    if is_truth || is_number {
        format!("'{scalar}'")
    } else {
        scalar.to_owned()
    }
}

/// What is not the same, where whoever reviews the manifest sees it.
pub(super) fn comment(out: &mut impl Write, lost: &[String]) -> io::Result<()> {
    if lost.is_empty() {
        return Ok(());
    }
    writeln!(out, "# Not the same as before:")?;
    for one in lost {
        // It may quote what somebody wrote.
        let one: String = one
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        writeln!(out, "# - {one}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_others_take_for_truths_or_numbers_stand_in_quotes() {
        let yaml = "labels:\n  fast: yes\n  on: x\n  rack: 012\nlist:\n- NO\n- 7\nmulti: true\n\
                    range: 10.0.0.1-10.0.0.2\nhold: 1m30s\nnumber: 1_0\n";
        let quoted = "labels:\n  fast: 'yes'\n  'on': x\n  rack: '012'\nlist:\n- 'NO'\n- 7\nmulti: true\n\
                      range: 10.0.0.1-10.0.0.2\nhold: 1m30s\nnumber: '1_0'\n";
        assert_eq!(for_every_reader(yaml), quoted);
    }
}
