//! What holds for any text.

use proptest::prelude::*;

use super::{EVERYTHING, parse, rendered, valid};
use crate::address::{AddressRange, to_number};
use crate::config::{Outcome, Place, check_file};

/// Whatever comes out, places lie in the text and the texts can be made.
fn assert_sound(text: &str) -> Result<(), TestCaseError> {
    if let Outcome::Refused(problems) | Outcome::Partly(_, problems) = parse(text) {
        let lines = text.split('\n').count();
        for problem in problems.iter() {
            let Place::Text {
                span, line, column, ..
            } = &problem.place
            else {
                return Err(TestCaseError::fail(format!("{problem:?} is in no text")));
            };
            prop_assert!(text.get(span.clone()).is_some(), "{problem:?} in {text:?}");
            prop_assert!((1..=lines).contains(line), "{problem:?} in {text:?}");
            let line = text.split('\n').nth(line - 1).unwrap();
            prop_assert!(
                *column <= line.chars().count() + 1,
                "{problem:?} in {text:?}"
            );
            prop_assert!(!problem.message.is_empty() && !problem.help.is_empty());
        }
        prop_assert!(problems.count() > 0);
        prop_assert!(problems.event_message().len() <= 1024);
        prop_assert!(rendered(&problems, "config", text).contains("error: "));
    }
    let manifest = in_manifest(text);
    for checked in check_file(&manifest).into_iter().flatten() {
        if let Outcome::Refused(problems) | Outcome::Partly(_, problems) = checked.outcome {
            let source = checked.value.unwrap_or_else(|| manifest.clone());
            for problem in problems.iter() {
                let span = problem
                    .place
                    .span()
                    .cloned()
                    .unwrap_or(usize::MAX..usize::MAX);
                prop_assert!(source.get(span).is_some(), "{problem:?} in {manifest:?}");
            }
            prop_assert!(rendered(&problems, "config", &source).contains("error: "));
        }
    }
    Ok(())
}

fn in_manifest(text: &str) -> String {
    let block: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  config: |\n{block}")
}

/// Pieces that YAML and our readers have opinions about.
fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        " ",
        "  ",
        "\n",
        "\n  ",
        "\n- ",
        "\t",
        "- ",
        ": ",
        ":",
        "-",
        ",",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "#",
        "&a ",
        "*a",
        "<<: *a",
        "|",
        ">",
        "!!str ",
        "---\n",
        "...",
        "~",
        "null",
        "yes",
        "é",
        "\u{feff}",
        "\u{0}",
        "\r",
        "🦀",
        "%YAML 1.1\n",
        "name",
        "address-pools",
        "10.0.0.1",
        "10.0.0.0/8",
        "10.0.0.9-10.0.0.1",
        "fd00::/64",
        "::",
        "127.0.0.1-128.0.0.9",
        "0x10",
        "1e9",
        "-1",
        "{{x}}",
        "password: x",
    ];
    proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned)
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(proptest::sample::Index, String),
    Delete(proptest::sample::Index, usize),
    Swap(proptest::sample::Index, proptest::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    use proptest::sample::Index;
    prop_oneof![
        (any::<Index>(), piece()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<Index>(), 1_usize..12).prop_map(|(at, count)| Edit::Delete(at, count)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Swap(a, b)),
    ]
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for edit in edits {
        if chars.is_empty() {
            break;
        }
        match edit {
            Edit::Insert(at, piece) => {
                let at = at.index(chars.len());
                chars.splice(at..at, piece.chars());
            }
            Edit::Delete(at, count) => {
                let at = at.index(chars.len());
                chars.drain(at..(at + count).min(chars.len()));
            }
            Edit::Swap(a, b) => {
                let (a, b) = (a.index(chars.len()), b.index(chars.len()));
                chars.swap(a, b);
            }
        }
    }
    chars.into_iter().collect()
}

/// How a range may be written.
fn written(range: &AddressRange, form: u8) -> String {
    let (first, last) = (range.first(), range.last());
    let size = range.size();
    let aligned = size.is_power_of_two() && to_number(first).is_multiple_of(size);
    match form {
        0 if aligned => {
            let bits = if first.is_ipv4() { 32 } else { 128 };
            format!("{first}/{}", bits - size.trailing_zeros())
        }
        1 if size == 1 => format!("'{first}'"),
        2 => format!("'{first} - {last}'"),
        _ => format!("{first}-{last}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        assert_sound(&text)?;
    }

    #[test]
    fn any_pieces_of_yaml_are_read_without_a_panic(
        pieces in proptest::collection::vec(piece(), 0..40),
    ) {
        assert_sound(&pieces.concat())?;
    }

    #[test]
    fn a_valid_text_with_some_edits_is_read_without_a_panic(
        edits in proptest::collection::vec(edit(), 1..6),
    ) {
        assert_sound(&edited(EVERYTHING, &edits))?;
    }

    #[test]
    fn a_pool_has_as_many_addresses_as_were_written(
        parts in proptest::collection::vec((1_u32..5, 0_u32..9, any::<bool>(), 0_u8..4), 1..12),
    ) {
        let (mut at, mut want) = (0_u32, 0_u128);
        let mut entries = String::new();
        for (gap, more, v6, form) in parts {
            let (first, last) = (at + gap, at + gap + more);
            at = last;
            let end = |n: u32| -> std::net::IpAddr {
                if v6 {
                    std::net::Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(n)).into()
                } else {
                    std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
                }
            };
            let range = AddressRange::new(end(first), end(last)).unwrap();
            want += range.size();
            entries += &format!("  - {}\n", written(&range, form));
        }
        let text = format!("address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n{entries}");
        prop_assert_eq!(valid(&text).pools[0].capacity(), want);
    }
}
