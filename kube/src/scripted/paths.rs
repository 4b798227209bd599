//! What a request's path and query name.

use serde_json::Value;

/// Namespace and name.
pub(super) fn names(path: &str) -> [&str; 2] {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let namespace = path.split_once("/namespaces/").and_then(|(_, rest)| {
        let (namespace, rest) = rest.split_once('/')?;
        rest.contains('/').then_some(namespace)
    });
    [namespace.unwrap_or_default(), name]
}

/// `/api/v1/services`, `/api/v1/namespaces/shop/services`.
pub(super) fn is_collection(path: &str) -> bool {
    let rest = path.strip_prefix("/api/v1/").or_else(|| {
        let rest = path.strip_prefix("/apis/")?;
        rest.splitn(3, '/').nth(2)
    });
    let parts: Option<Vec<_>> = rest.map(|rest| rest.split('/').collect());
    matches!(parts.as_deref(), Some([_] | ["namespaces", _, _]))
}

/// Whether the object at `one` is in the collection at `path`, and selected by its name.
pub(super) fn is_in(one: &str, path: &str, query: &str) -> bool {
    let Some((whole, name)) = one.rsplit_once('/') else {
        return false;
    };
    let is_of_all = || {
        let (before, kind) = path.rsplit_once('/').unwrap_or_default();
        let namespaces = format!("{before}/namespaces/");
        let rest = whole.strip_prefix(&namespaces);
        rest.is_some_and(|rest| rest.split_once('/').is_some_and(|(_, one)| one == kind))
    };
    let selected = parameter(query, "fieldSelector");
    let selected = selected
        .as_deref()
        .and_then(|it| it.strip_prefix("metadata.name="));
    (whole == path || is_of_all()) && selected.is_none_or(|selected| selected == name)
}

/// Whether its labels are selected: by `key in (one,other)`, or by pairs `key=value`.
pub(super) fn has_labels(object: &Value, query: &str) -> bool {
    let Some(selector) = parameter(query, "labelSelector") else {
        return true;
    };
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    match selector.split_once(" in (") {
        Some((key, values)) => {
            let mut values = values.trim_end_matches(')').split(',');
            label(key).is_some_and(|label| values.any(|value| value == label))
        }
        None => selector.split(',').all(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            label(key) == Some(value)
        }),
    }
}

pub(super) fn parameter(query: &str, key: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(one, _)| *one == key)?.1.replace('+', " ");
    let codes = [
        ("%3D", "="),
        ("%2F", "/"),
        ("%28", "("),
        ("%29", ")"),
        ("%2C", ","),
    ];
    Some(codes.iter().fold(value, |value, (code, character)| {
        value
            .replace(code, character)
            .replace(&code.to_lowercase(), character)
    }))
}
