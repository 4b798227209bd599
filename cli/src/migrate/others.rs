//! What the objects of other load balancers have in common.

use std::collections::BTreeSet;

use anyhow::Context;
use serde::Deserialize;
use serde_yaml::Value;

use super::metallb::Other;

/// The names of the fields that say something: what says nothing is not lost.
pub(super) fn said(fields: &Other) -> impl Iterator<Item = &String> {
    let said = fields.iter().filter(|(_, value)| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Sequence(list) => !list.is_empty(),
        Value::Mapping(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
    said.map(|(field, _)| field)
}

/// `what` is an object, such as `group default`; `fields` are those of it that we do not know.
pub(super) fn tell_unknown(what: &str, fields: &[&Other], lost: &mut Vec<String>) {
    let names: BTreeSet<&String> = fields.iter().flat_map(|fields| said(fields)).collect();
    for name in names {
        lost.push(format!("{what}: {name} has no equivalent"));
    }
}

/// Name and spec of an object.
pub(super) fn decode<Spec: for<'de> Deserialize<'de>>(
    value: &Value,
) -> anyhow::Result<(String, Spec)> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let name = text(
        value
            .get("metadata")
            .and_then(|metadata| metadata.get("name")),
    );
    let kind = text(value.get("kind"));
    let empty = Value::Mapping(serde_yaml::Mapping::new());
    let spec = value.get("spec").filter(|spec| !spec.is_null());
    let spec = serde_yaml::from_value(spec.unwrap_or(&empty).clone());
    Ok((
        name.clone(),
        spec.with_context(|| format!("{kind} {name} cannot be decoded"))?,
    ))
}

/// The one name that a regular expression stands for, if it has no signs with a meaning but `^` and `$`
/// around it.
pub(super) fn exact(expression: &str) -> Option<String> {
    let name = expression.strip_prefix('^').unwrap_or(expression);
    let name = name.strip_suffix('$').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_@:".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_is_a_name_only_if_it_has_no_signs_with_a_meaning() {
        for (expression, name) in [
            ("eth0", Some("eth0")),
            ("^eth0$", Some("eth0")),
            ("^bond-lan$", Some("bond-lan")),
            ("^eth[0-9]+$", None),
            ("eth.0", None),
            ("^$", None),
        ] {
            assert_eq!(exact(expression).as_deref(), name, "{expression}");
        }
    }
}
