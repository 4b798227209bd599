use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ferrolb_core::report::{ControllerStatus, MemberStatus};
use jiff::SignedDuration;
use serde_json::json;

use super::screen::Key;
use super::*;
use crate::fixtures::{announcing, controller, exhausted, printed, said_of};
use crate::picture::Happening;
use crate::picture::tests::{heard_of, now, speakers_on};
use crate::width;

const ADDRESSES: [&str; 4] = [
    "192.168.64.240",
    "192.168.64.241",
    "192.168.64.242",
    "192.168.64.243",
];

/// Four Services with an address each, and one that waits.
fn status() -> ControllerStatus {
    let mut status = controller();
    let worker = status.services.remove(2);
    for (address, name) in [(ADDRESSES[2], "test-lb"), (ADDRESSES[3], "web3")] {
        let mut service = status.services[0].clone();
        service.name = name.to_owned();
        service.addresses = vec![address.to_owned()];
        status.services.push(service);
    }
    status.services.push(worker);
    status
}

fn member(node: &str, standing: &str) -> MemberStatus {
    serde_json::from_value(json!({
        "node": node, "address": "192.168.64.13", "mac": "02:00:00:00:00:0d",
        "standing": standing, "verdict": (standing == "gone").then_some("node"),
        "incarnation": 1, "heardMillisAgo": 3_200, "addresses": 0,
    }))
    .unwrap()
}

/// n1 announces the first two, n3 the third. The last one has no pod.
fn peace() -> Picture {
    let mut speakers = announcing(&ADDRESSES[..2]);
    speakers.extend(said_of(ADDRESSES[3], &[("n2", Some("no_endpoint"))]));
    speakers.extend(announcing(&ADDRESSES[2..3]).into_iter().map(|(_, told)| {
        let told = told.map(|mut status| {
            status.node = "n3".to_owned();
            status
        });
        ("n3".to_owned(), told)
    }));
    let mut status = status();
    status.services.pop();
    taken(status, speakers)
}

/// n3 is cut off: n2 took over what it had.
fn outage() -> Picture {
    let mut speakers = announcing(&ADDRESSES[..2]);
    let mut second = said_of(ADDRESSES[3], &[("n2", Some("no_endpoint"))]);
    let took = said_of(ADDRESSES[2], &[("n2", None)]).remove(0).1.unwrap();
    let status_of_second = second[0].1.as_mut().unwrap();
    status_of_second.vips.extend(took.vips);
    speakers.extend(second);
    for (_, told) in &mut speakers {
        let members = &mut told.as_mut().unwrap().members;
        members.extend([
            member("n1", "live"),
            member("n2", "live"),
            member("n3", "gone"),
        ]);
    }
    speakers.push((
        "n3".to_owned(),
        Err(anyhow::anyhow!("no answer within 2 s")),
    ));
    let mut status = status();
    status.services[4].problem = Some(exhausted());
    taken(status, speakers)
}

fn taken(status: ControllerStatus, speakers: crate::speaker::Said) -> Picture {
    let mut heard = heard_of(speakers_on(&["n1", "n2", "n3"]), Ok(status), speakers);
    heard.events = Ok(vec![Happening {
        time: Some(now() - SignedDuration::from_mins(4)),
        first: None,
        kind: "Service".to_owned(),
        namespace: "shop".to_owned(),
        name: "api".to_owned(),
        r#type: "Normal".to_owned(),
        reason: "nodeAssigned".to_owned(),
        message: String::new(),
        node: Some("n1".to_owned()),
        version: 1,
    }]);
    Picture::of(heard, now())
}

/// What was seen before the outage, and during it.
fn moves() -> Moves {
    let mut moves = Moves::default();
    moves.note(&peace());
    moves.note(&outage());
    moves
}

fn shown(view: &View, picture: &Picture, columns: usize, rows: usize) -> String {
    let lines = view.frame(picture, &moves(), None, columns, rows);
    assert!(lines.len() <= rows, "{} lines", lines.len());
    let text = printed(|out| {
        for line in &lines {
            writeln!(out, "{line}")?;
        }
        Ok(())
    });
    for line in text.lines() {
        assert!(width::of(line) <= columns, "{line:?}");
    }
    // Blanks at the end of lines are not kept in snapshots.
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn press(view: &mut View, picture: &Picture, keys: &str) -> After {
    let mut after = After::Go;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            letter => KeyCode::Char(letter),
        };
        let key = Key::Pressed(KeyEvent::new(code, KeyModifiers::NONE));
        after = view.handle(key, picture);
    }
    after
}

#[test]
fn in_peace_at_80_and_at_140_columns() {
    insta::assert_snapshot!("peace at 80", shown(&View::default(), &peace(), 80, 24));
    insta::assert_snapshot!("peace at 140", shown(&View::default(), &peace(), 140, 40));
}

#[test]
fn in_an_outage_at_80_and_at_140_columns() {
    insta::assert_snapshot!("outage at 80", shown(&View::default(), &outage(), 80, 24));
    insta::assert_snapshot!("outage at 140", shown(&View::default(), &outage(), 140, 40));
}

#[test]
fn a_pipe_gets_all_of_it_without_keys_and_only_what_has_changed_makes_a_block() {
    let lines = View::default().block(&outage(), &moves(), OF_A_PIPE);
    let text = printed(|out| Ok(writeln!(out, "{}", lines.join("\n"))?));
    assert!(text.contains("n3 is held dead"), "{text}");
    assert!(text.contains("192.168.64.242  n3 → n2"), "{text}");
    assert!(!text.contains("[q]uit"), "{text}");
    let mut later = peace();
    later.now = now() + SignedDuration::from_mins(3);
    assert_eq!(later.signature(), peace().signature());
    assert_ne!(outage().signature(), peace().signature());
}

#[test]
fn keys_sort_filter_select_explain_and_quit() {
    let picture = outage();
    let mut view = View::default();
    press(&mut view, &picture, "p");
    let only = shown(&view, &picture, 80, 24);
    assert!(
        only.contains("<pending>") && !only.contains("192.168.64.240"),
        "{only}"
    );
    press(&mut view, &picture, "p/q\n");
    // A letter of the filter, and no command.
    let none = shown(&view, &picture, 80, 24);
    assert!(!none.contains("◂"), "{none}");
    press(&mut view, &picture, "\u{1b}/test-lb\n");
    let one = shown(&view, &picture, 80, 24);
    assert!(
        one.contains("192.168.64.242") && !one.contains("192.168.64.240"),
        "{one}"
    );
    press(&mut view, &picture, "e");
    insta::assert_snapshot!("explained", shown(&view, &picture, 80, 24));
    press(&mut view, &picture, "e\u{1b}s");
    assert!(shown(&view, &picture, 80, 24).contains("[s]ort: state"));
    press(&mut view, &picture, "↓↓↓↓↓↓↓↓↓");
    assert!(shown(&view, &picture, 80, 24).contains("<pending> ◂"));
    assert_eq!(press(&mut view, &picture, "q"), After::Quit);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.handle(Key::Pressed(interrupt), &picture), After::Quit);
    assert_eq!(view.handle(Key::Resized, &picture), After::Go);
}

#[test]
fn what_does_not_fit_is_counted_and_a_tiny_terminal_breaks_nothing() {
    let picture = outage();
    let small = shown(&View::default(), &picture, 80, 18);
    assert!(small.contains(" more\n"), "{small}");
    for (columns, rows) in [(24, 5), (1, 1), (40, 2), (200, 3)] {
        let lines = View::default().frame(&picture, &moves(), Some("gone"), columns, rows);
        assert!(lines.len() <= rows.max(1), "{rows}: {}", lines.len());
    }
}

#[test]
fn that_the_picture_is_old_is_said() {
    let lines = View::default().frame(&peace(), &moves(), Some("no answer"), 80, 24);
    let text = printed(|out| Ok(writeln!(out, "{}", lines.join("\n"))?));
    assert!(text.contains("this is old: no answer"), "{text}");
}
