//! What is valid and perhaps not meant: said, and no reason to fail.

use std::io::{self, Write};

use ferrolb_core::config::{Checked, ObjectName};
use ferrolb_core::names::{DEFAULT_CONFIG_NAME, DEFAULT_NAMESPACE};

use crate::terminal::WARNING;

pub(super) fn print(out: &mut impl Write, name: &str, checked: &Checked) -> io::Result<()> {
    let place = match checked.value {
        Some(_) => format!("{name}, value of key `config`"),
        None => name.to_owned(),
    };
    for warning in checked.warnings.iter().flat_map(|warnings| warnings.iter()) {
        writeln!(out, "\n{WARNING}warning:{WARNING:#} {place}, {warning}")?;
    }
    for note in checked.object.iter().flat_map(of_object) {
        writeln!(out, "\n{WARNING}note:{WARNING:#} {note}")?;
    }
    Ok(())
}

/// What FerroLB has to be told to read this `ConfigMap` at all.
pub(super) fn of_object(object: &ObjectName) -> Vec<String> {
    let mut notes = Vec::new();
    if object.name != DEFAULT_CONFIG_NAME {
        notes.push(format!(
            "FerroLB reads the ConfigMap called {DEFAULT_CONFIG_NAME}: rename this one, or tell \
             both daemons its name (the chart's existingConfigMap, or --config)"
        ));
    }
    match object.namespace.as_deref() {
        Some(DEFAULT_NAMESPACE) => {}
        Some(other) => notes.push(format!(
            "FerroLB reads the ConfigMap in its own namespace, usually {DEFAULT_NAMESPACE}: this one \
             is read only if FerroLB runs in {other}"
        )),
        None => notes.push(format!(
            "it has no namespace: apply it with -n and the namespace of FerroLB, such as \
             {DEFAULT_NAMESPACE}"
        )),
    }
    notes
}
