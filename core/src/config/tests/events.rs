//! The short form, for Events.

use super::{refused, with_addresses};

#[test]
fn the_event_has_message_and_help_of_each_problem() {
    let problems = refused(&with_addresses(&["10.0.0.9-10.0.0.1", "fnord"]));
    assert_eq!(
        problems.event_message(),
        "line 5, column 5: range `10.0.0.9-10.0.0.1` ends before it starts: write \
         `10.0.0.1-10.0.0.9`; line 6, column 5: `fnord` is not an IP address: write a range such as \
         `192.168.1.240-192.168.1.250`, a prefix such as `192.168.1.240/28`, or one address"
    );
}

#[test]
fn an_event_holds_1024_bytes_and_counts_the_rest() {
    for count in [5_usize, 20, 99, 100, 101, 5_000] {
        let entries: Vec<String> = (0..count)
            .map(|n| format!("10.0.0.9-10.0.0.{}", n % 9))
            .collect();
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let problems = refused(&with_addresses(&entries));
        let message = problems.event_message();
        assert!(message.len() <= 1024, "{} bytes", message.len());
        assert_eq!(problems.count(), count);
        let told = message.matches("ends before it starts").count();
        let more = message
            .rsplit("; and ")
            .next()
            .unwrap()
            .strip_suffix(" more");
        let untold = more.map_or(0, |more| more.parse::<usize>().unwrap());
        assert_eq!(told + untold, count, "{message}");
    }
}

#[test]
fn one_long_problem_is_shortened() {
    let word = "\\u0001".repeat(100);
    let text = with_addresses(&["10.0.0.1"]).replace("default", &format!("\"{word}\""));
    let message = refused(&format!("{text}  \"{word}\": 1\n")).event_message();
    assert!(
        message.starts_with("line 6, column 3: pool `\\u{1}"),
        "{message}"
    );
    assert!(
        message.len() <= 1024 && message.ends_with('…'),
        "{} bytes",
        message.len()
    );
}
