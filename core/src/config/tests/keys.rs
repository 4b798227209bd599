//! The table of keys says what the readers do.

use super::*;
use crate::config::keys::{ALL, Mapping, Without};

/// A valid text with the mapping of that place in it, and `line` in the mapping.
fn text_with(place: &str, line: &str) -> String {
    let pool = "address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.0/24]\n";
    match place {
        "" => format!("{line}\n{pool}"),
        "address-pools[]" => format!("{pool}  {line}\n"),
        "address-pools[].bgp-advertisements[]" => format!(
            "address-pools:\n- name: a\n  protocol: bgp\n  addresses: [10.0.0.0/24, fd00::/64]\n  \
             bgp-advertisements:\n  - communities: [64512:1]\n    {line}\n"
        ),
        "address-pools[].preferred-nodes[]" => {
            format!("{pool}  preferred-nodes:\n  - weight: 1\n    preference: {{}}\n    {line}\n")
        }
        "node-selectors[]" => {
            format!("{pool}  node-selectors:\n  - match-labels: {{a: b}}\n    {line}\n")
        }
        "node-selectors[].match-expressions[]" => format!(
            "{pool}  node-selectors:\n  - match-expressions:\n    - key: a\n      operator: Exists\n      {line}\n"
        ),
        "peers[]" => {
            format!(
                "peers:\n- my-asn: 64512\n  peer-asn: 64513\n  peer-address: 10.0.0.1\n  {line}\n"
            )
        }
        "bfd-profiles[]" => format!("bfd-profiles:\n- name: a\n  {line}\n"),
        place => panic!("no text for {place}"),
    }
}

fn said_of(text: &str) -> String {
    let said: Vec<_> = refused(text).iter().map(ToString::to_string).collect();
    said.join("\n")
}

#[test]
fn the_readers_take_the_keys_of_the_table_and_no_others() {
    for Mapping { place, keys, .. } in ALL {
        let names: Vec<_> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
        let (last, first) = names.split_last().unwrap();
        let list = format!("use one of {} and {last}", first.join(", "));
        let said = said_of(&text_with(place, "nothing-like-it: 1"));
        assert!(said.contains(&list), "{place}: {said}\n{list}");
    }
}

#[test]
fn what_counts_without_a_key_is_what_the_table_says() {
    let mut defaults = 0;
    for Mapping { place, keys, .. } in ALL {
        let without = text_with(place, "");
        for key in *keys {
            let name = key.name;
            match key.without {
                Without::Default(value) => {
                    let with = text_with(place, &format!("{name}: {value}"));
                    assert_eq!(valid(&with), valid(&without), "{place} {name}");
                    defaults += 1;
                }
                Without::Refused => {
                    let (before, rest) = without.split_once(&format!("{name}: ")).unwrap();
                    let (_, after) = rest.split_once('\n').unwrap();
                    let said = said_of(&format!("{before}{name}:\n{after}"));
                    let missing = format!("`{name}` has no value");
                    assert!(said.contains(&missing), "{place}: {said}");
                }
                // It is not in the text, which is valid, or the text is valid with nothing there.
                Without::Nothing => {
                    valid(&without);
                }
            }
        }
    }
    assert!(defaults > 10, "{defaults}");
}
