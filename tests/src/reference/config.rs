//! The keys of the `ConfigMap`, from the table that its reader takes them from.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use ferrolb_core::config::keys::{ALL, Effect, Key, Without};

use super::{cell, meaning, page};

pub(super) fn config() -> Result<String> {
    let mut text = page(
        "The ConfigMap",
        "Every key of the configuration in a ConfigMap, which stands in its key `config`. Any other key is refused, with what was \
         probably meant, and `kubectl ferrolb validate` says the same before you apply it. [Configure](../configure.md) explains \
         what to use when. Keys that are *checked only* are for BGP: they are read and checked, and nothing depends on them yet.\n\n\
         `true` may be written `yes` or `on`, and `false` `no` or `off`. A number stands without quotation marks. A key without a value \
         counts as absent.",
    );
    for mapping in ALL {
        let place = match mapping.place {
            "" => "The whole text".to_owned(),
            place => format!("`{place}`"),
        };
        let about = meaning(&place, mapping.about)?;
        let _ = writeln!(
            text,
            "## {place}\n\n{about}\n\n| key | value | without it | meaning |\n| --- | --- | --- | --- |"
        );
        for key in mapping.keys {
            text += &row(key)?;
        }
        text.push('\n');
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn row(key: &Key) -> Result<String> {
    let about = meaning(key.name, key.meaning)?;
    ensure!(!key.value.is_empty(), "what is a value of {}?", key.name);
    let without = match key.without {
        Without::Refused => "refused".to_owned(),
        Without::Nothing => String::new(),
        Without::Default(value) => format!("`{value}`"),
    };
    let effect = match key.effect {
        Effect::Works => "",
        Effect::Checked => " *Checked only.*",
    };
    let (name, value) = (key.name, cell(key.value));
    Ok(format!(
        "| `{name}` | {value} | {without} | {about}{effect} |\n"
    ))
}
