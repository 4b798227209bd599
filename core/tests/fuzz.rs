//! What the fuzz targets were fed and what they found on the way, once more: every way through the
//! parser and the announcer that has been seen. `make fuzz` looks for more.

#![expect(
    clippy::print_stdout,
    reason = "the last name before a panic tells which file it was"
)]
#![expect(clippy::disallowed_methods, reason = "the corpus is a folder of files")]

use std::fs;
use std::path::Path;

#[path = "fuzz/announcer.rs"]
mod announcer;
#[path = "fuzz/frame.rs"]
mod frame;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&corpus).expect("a corpus");
    let mut count = 0;
    for file in files {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("its bytes");
        print!("{} ", path.display());
        run(&bytes);
        count += 1;
    }
    assert!(count > 10, "only {count} files in {}", corpus.display());
}

#[test]
fn whatever_a_frame_has_led_to_holds_still() {
    replay("frame", frame::run);
}

#[test]
fn whatever_an_order_of_events_has_led_to_holds_still() {
    replay("announcer", announcer::run);
}
