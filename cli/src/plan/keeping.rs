//! Open connections through the node that is drained, where `speaker.keepConnections` is on.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrolb_core::report::SpeakerStatus;

use super::{Answer, Asked, Handover};
use crate::ago;

/// For how long `to` keeps connections of addresses that move to it, at most; `None` if it does not, or does
/// not answer.
pub(super) fn seconds(to: &str, asked: &Asked) -> Option<u64> {
    let keeping = asked.get(to)?.as_ref()?.keeping.as_ref()?;
    keeping.ready.then_some(keeping.max_seconds)
}

/// What is not kept although it was asked for.
pub(super) fn notes(
    node: &str,
    addresses: &[Handover],
    speaker: &SpeakerStatus,
    asked: &Asked,
) -> Vec<String> {
    let mut notes = Vec::new();
    for (to, said) in asked {
        let keeping = said.as_ref().and_then(|said| said.keeping.as_ref());
        if let Some(keeping) = keeping.filter(|keeping| !keeping.ready) {
            let why = keeping.problem.as_deref();
            let why = why.unwrap_or("its keeper has not answered yet");
            notes.push(format!("{to} cannot keep open connections: {why}"));
        }
    }
    // What the node itself passes on now. It does so only as long as it has the address.
    for kept in speaker
        .keeping
        .iter()
        .flat_map(|keeping| &keeping.addresses)
    {
        let goes_to = addresses.iter().find(|one| one.address == kept.address);
        let Some(to) = goes_to.and_then(|one| one.to.as_deref()) else {
            continue;
        };
        if to != kept.from {
            notes.push(format!(
                "{}: open connections that {node} passes on to {} are reset when the address moves again",
                kept.address, kept.from
            ));
        }
    }
    notes
}

/// That connections are kept, for how long and what ends them.
pub(super) fn sentences(answer: &Answer) -> Vec<String> {
    let kept = || {
        let addresses = answer.addresses.iter();
        addresses.filter_map(|one| Some((one, one.kept_seconds?)))
    };
    let Some(longest) = kept().map(|(_, seconds)| seconds).max() else {
        return Vec::new();
    };
    let node = &answer.node;
    let is_all = kept().count() == answer.addresses.len();
    let of = if is_all {
        "open TCP connections".to_owned()
    } else {
        let addresses: Vec<_> = kept().map(|(one, _)| one.address.to_string()).collect();
        format!("open TCP connections of {}", addresses.join(", "))
    };
    let nodes: BTreeSet<_> = kept().filter_map(|(one, _)| one.to.as_deref()).collect();
    let nodes: Vec<_> = nodes.into_iter().collect();
    let (by, verb) = match nodes.as_slice() {
        [one] => ((*one).to_owned(), "passes"),
        several => (several.join(", "), "pass"),
    };
    let time = ago::short(Duration::from_secs(longest));
    vec![
        format!(
            "{of} are kept: {by} {verb} them on to {node} for up to {time}, as long as {node} runs \
             and their pods do"
        ),
        format!(
            "no speaker knows how many are open; on {node}, conntrack -L -p tcp -d ADDRESS lists \
             them"
        ),
        format!("wait until they have ended: kubectl ferrolb drain-wait {node}"),
    ]
}
