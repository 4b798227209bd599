#![no_main]

#[path = "../../core/tests/fuzz/frame.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
