use ferrolb_core::report::ControllerStatus;

use super::*;
use crate::daemons::Component;

/// When every picture of a test is taken.
pub(crate) fn now() -> Timestamp {
    "2026-11-25T18:00:00Z".parse().unwrap()
}

/// What is heard if the API server lists nothing.
pub(crate) fn heard_of(
    daemons: Vec<Daemon>,
    controller: anyhow::Result<ControllerStatus>,
    speakers: Said,
) -> Heard {
    Heard {
        daemons,
        leaders: controller
            .iter()
            .filter(|one| one.leading)
            .map(|one| one.instance.clone())
            .collect(),
        controller,
        speakers,
        services: Ok(Vec::new()),
        nodes: Ok(Vec::new()),
        events: Ok(Vec::new()),
    }
}

pub(crate) fn picture_of(
    daemons: Vec<Daemon>,
    controller: anyhow::Result<ControllerStatus>,
    speakers: Said,
) -> Picture {
    Picture::of(heard_of(daemons, controller, speakers), now())
}

/// A controller on the first node, and a speaker on each.
pub(crate) fn speakers_on(nodes: &[&str]) -> Vec<Daemon> {
    let controller = Daemon::fixture(
        Component::Controller,
        "ferrolb-controller-7d9f-x2x",
        nodes[0],
    );
    let speakers = nodes
        .iter()
        .map(|node| Daemon::fixture(Component::Speaker, &format!("ferrolb-speaker-{node}"), node));
    std::iter::once(controller).chain(speakers).collect()
}
