//! The readers of values serve objects as well as texts: the same words, at another place.

use crate::config::place::{At, Origin};
use crate::config::possible::possible;
use crate::config::problem::{Problems, Report};
use crate::config::{Place, address, duration};

fn field(path: &str) -> Place {
    Place::Object {
        kind: "IPAddressPool".to_owned(),
        namespace: "metallb-system".to_owned(),
        name: "lan".to_owned(),
        path: path.to_owned(),
    }
}

/// What `read` has against a value at each place; all of it was an error, or else a warning.
fn against(places: &[&dyn At], read: &dyn Fn(&dyn At, &mut Report<'_>)) -> Option<Problems> {
    let mut report = Report::new("nothing\n", &Origin::Whole);
    for place in places {
        read(*place, &mut report);
    }
    let judgement = report.finish();
    let rest = judgement.left_out.or(judgement.warnings);
    judgement.problems.or(rest)
}

#[test]
fn a_value_is_judged_in_the_same_words_wherever_it_stands() {
    type Read = fn(&str, &dyn At, &mut Report<'_>);
    let range: Read = |text, at, report| {
        address::range(text, at, report);
    };
    let parts: Read = |text, at, report| {
        let range = address::range(text, at, report).unwrap();
        possible(range, text, at, report);
    };
    let time: Read = |text, at, report| {
        duration::seconds(text, "holdTime", at, report);
    };
    for (read, text, words) in [
        (range, "10.0.0.9-10.0.0.1", "ends before it starts"),
        (range, "10.0.0.300", "is above 255"),
        (range, "", "an address is blank"),
        (range, "10.0.0.7/24", "is not on a boundary of its prefix"),
        (parts, "127.0.0.1", "holds only what no host can have"),
        (parts, "169.254.0.0/24", "link-local addresses"),
        (time, "90", "is not a duration"),
    ] {
        let problems = against(&[&(0..3_usize), &field("spec.x")], &|at, report| {
            read(text, at, report);
        });
        let problems = problems.unwrap();
        let [there, here] = problems.iter().collect::<Vec<_>>()[..] else {
            panic!("{problems}");
        };
        assert!(there.message.contains(words), "{there}");
        assert_eq!(
            (&there.message, &there.help),
            (&here.message, &here.help),
            "{text}"
        );
        assert_eq!((there.place.line(), here.place.line()), (Some(1), None));
    }
}

#[test]
fn a_problem_of_an_object_names_object_and_field() {
    let problems = against(&[&field("spec.addresses[2]")], &|at, report| {
        address::range("x", at, report);
    });
    let problems = problems.unwrap();
    let said = problems.to_string();
    assert!(
        said.starts_with(
            "IPAddressPool metallb-system/lan, spec.addresses[2]: `x` is not an IP address"
        ),
        "{said}"
    );
    let rendered = super::rendered(&problems, "file.yaml", "nothing\n");
    assert!(
        rendered.contains("--> IPAddressPool metallb-system/lan, spec.addresses[2]")
            && rendered.contains("help: write a range"),
        "{rendered}"
    );
}

#[test]
fn what_is_wrong_in_objects_is_told_after_what_is_wrong_in_the_text_in_the_order_it_was_found() {
    let (last, first) = (field("spec.b"), field("spec.a"));
    let places: [&dyn At; 4] = [&last, &(4..5_usize), &first, &(1..2_usize)];
    let problems = against(&places, &|at, report| report.add(at, "m", "h")).unwrap();
    let told: Vec<_> = problems.iter().map(|one| one.place.to_string()).collect();
    assert_eq!(
        told,
        [
            "line 1, column 2",
            "line 1, column 5",
            "IPAddressPool metallb-system/lan, spec.b",
            "IPAddressPool metallb-system/lan, spec.a",
        ]
    );
}

#[test]
fn a_message_names_the_other_place_of_a_pair() {
    let report = Report::new("a\nb\n", &Origin::Whole);
    assert_eq!(report.beside(&(2..3_usize)), "on line 2");
    let object = report.beside(&field("spec"));
    assert_eq!(object, "in IPAddressPool metallb-system/lan");
}
