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
