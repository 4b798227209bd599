//! What a request's path and query name.

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

pub(super) fn parameter(query: &str, key: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(one, _)| *one == key)?.1;
    Some(value.replace("%3D", "=").replace("%3d", "="))
}
