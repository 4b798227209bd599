//! Statuses that another load balancer wrote, and the way out: its Services are taken over when
//! somebody who may annotate them says so, by naming the other one.
//!
//! That the other one has been silent for long proves nothing: whoever has nothing to change writes
//! nothing. That it has written a moment ago proves that it runs, and then two would write in turn.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

use crate::managers::{Product, product};
use crate::names::ANNOTATION_ADOPT_FROM;
use crate::view::{ServiceKey, ServiceView};

/// Who wrote a status within this time runs.
pub const QUIET: Duration = Duration::from_secs(10 * 60);

/// Longest name of a field manager that is quoted; the API server takes 128 characters.
const MAX_NAME: usize = 64;

/// What stands in the way of taking over a status of another load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// Nobody asks for it.
    NotAsked,
    /// It is asked for from this manager, and another one wrote the status.
    AskedOf(Box<str>),
    /// It is asked for, and the other one wrote too recently: not before this time.
    NotBefore(Timestamp),
    /// It was done, and the other one rewrote the status: it runs.
    Undone,
    /// Nothing.
    Due,
}

/// Whether the status of `view` is to be taken over at `now`, by the wall clock; `undone`: whether
/// that was done before, and the other one rewrote it.
#[must_use]
pub fn adoption(view: &ServiceView, undone: bool, now: Timestamp) -> Adoption {
    let (Some(asked), Some(manager)) = (view.adopt_from.as_deref(), view.foreign_manager()) else {
        return Adoption::NotAsked;
    };
    if asked != manager {
        return Adoption::AskedOf(short(asked).into());
    }
    if undone {
        return Adoption::Undone;
    }
    match not_before(view, now) {
        Some(time) => Adoption::NotBefore(time),
        None => Adoption::Due,
    }
}

/// From when on the status may be taken over; `None` if it may be now. In whole minutes, so that
/// what is said of a busy writer changes no more often.
#[must_use]
pub fn not_before(view: &ServiceView, now: Timestamp) -> Option<Timestamp> {
    let quiet = SignedDuration::try_from(QUIET).ok()?;
    // One that lies in the future is from a clock that goes wrong: it is no older than now.
    let written = view.status_written?.min(now);
    let end = written.checked_add(quiet).ok()?;
    if end <= now {
        return None;
    }
    let minute = end.round((Unit::Minute, 1)).map_or(end, |minute| {
        if minute < end {
            minute + SignedDuration::from_mins(1)
        } else {
            minute
        }
    });
    Some(minute)
}

/// Who wrote it, for people: `k3s (ServiceLB)`.
#[must_use]
pub fn writer(manager: &str) -> String {
    let shown = short(manager);
    match product(manager) {
        Some(Product { name, .. }) if !name.contains(shown.as_str()) => {
            format!("{shown} ({name})")
        }
        _ => shown,
    }
}

/// What to do about the other load balancer before its Services are taken over.
#[must_use]
pub fn switch_off(manager: &str) -> String {
    product(manager).map_or_else(
        || format!("switch {} off", short(manager)),
        |product| product.switch_off.to_owned(),
    )
}

/// The command that asks for it.
#[must_use]
pub fn command(service: &ServiceKey) -> String {
    let ServiceKey { namespace, name } = service;
    format!("kubectl ferrolb adopt -n {namespace} svc/{name}")
}

/// The same without the plugin. `None` where the manager's name is none that a shell takes as it
/// stands.
fn annotate(service: &ServiceKey, manager: &str) -> Option<String> {
    let ServiceKey { namespace, name } = service;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let plain = !manager.is_empty() && manager.len() <= MAX_NAME && manager.chars().all(is_plain);
    plain.then(|| {
        format!(
            "kubectl annotate --overwrite -n {namespace} svc/{name} \
             {ANNOTATION_ADOPT_FROM}={manager}"
        )
    })
}

/// Why the status of `service`, written by `manager`, is left alone, and what to do.
#[must_use]
pub fn left_alone(service: &ServiceKey, manager: &str, adoption: &Adoption) -> String {
    let who = writer(manager);
    let off = switch_off(manager);
    let command = command(service);
    let wrote = format!("{who} wrote this Service's status, so it is left alone");
    match adoption {
        Adoption::NotAsked => {
            let annotate = annotate(service, manager);
            let or = annotate.map_or_else(String::new, |annotate| format!(" (or {annotate})"));
            format!("{wrote}: to have it served here, {off}, then {command}{or}")
        }
        Adoption::AskedOf(other) => format!(
            "{wrote}; {ANNOTATION_ADOPT_FROM} names {other} instead: to have it served here, {off}, \
             then {command}"
        ),
        Adoption::NotBefore(time) => {
            let minutes = QUIET.as_secs() / 60;
            format!(
                "{who} wrote this Service's status within the last {minutes} minutes, so it is not \
                 taken over yet: {off}; it is taken over at {} if {} writes nothing until then",
                clock(*time),
                short(manager)
            )
        }
        Adoption::Undone => format!(
            "{who} rewrote this Service's status after it was taken over, so it is left alone: \
             {off}, then {command} again"
        ),
        Adoption::Due => format!("{wrote} until an address can be given to it"),
    }
}

/// `18:05 UTC on 2026-11-29`
#[must_use]
pub fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M UTC on %Y-%m-%d").to_string()
}

/// The name as it may stand in a sentence: anybody who may write a status chooses it.
pub(crate) fn short(name: &str) -> String {
    let plain = name.chars().filter(|c| !c.is_control());
    let mut shown: String = plain.take(MAX_NAME).collect();
    if name.chars().nth(MAX_NAME).is_some() {
        shown.push('…');
    }
    shown
}
