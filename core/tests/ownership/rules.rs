//! Whether `cargo run --example without_rule` still finds every rule that it takes out.

mod mutation;

use std::fs;
use std::path::Path;

#[test]
fn every_rule_is_found_in_the_code_exactly_once() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mutations = mutation::read(include_str!("rules.txt"));
    assert!(!mutations.is_empty());
    let missing = mutations.iter().filter_map(|mutation| {
        let file = core.join("src/ownership").join(&mutation.file);
        let text = fs::read_to_string(&file).expect("a rule names a file");
        assert!(!mutation.test.is_empty(), "{}: no test", mutation.rule);
        mutation.apply(&text).err()
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new());
}

/// Parts have walls: they are handed what they need, never the whole. So each can be read, and changed, alone.
#[test]
fn no_part_of_the_protocol_sees_the_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ownership");
    let mut files = vec![folder.with_extension("rs")];
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the crate") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let sees_all = |text: &str| {
        let code = text.lines().filter(|line| !line.trim().starts_with("//"));
        code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric()))
            .any(|word| word == "Ownership")
    };
    let mut whole: Vec<_> = files
        .iter()
        .filter(|path| sees_all(&fs::read_to_string(path).expect("a source file")))
        .map(|path| path.strip_prefix(&folder).unwrap_or(path))
        .map(|path| path.file_name().expect("a file").to_string_lossy())
        .collect();
    whole.sort();
    // Two of them are tests.
    let expected = [
        "input.rs",
        "order.rs",
        "ownership.rs",
        "status.rs",
        "tests.rs",
    ];
    assert_eq!(whole, expected);
}
