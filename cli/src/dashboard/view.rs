//! What the page draws: what `status` and `services` tell programs, in one piece.

use serde::Serialize;

use crate::answers::services::{ServicesAnswer, Wanted};
use crate::answers::status::StatusAnswer;
use crate::picture::{Happening, Picture, Service};

/// As many Events as the page shows, the newest.
const EVENTS: usize = 1_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    /// When it was seen, ms since 1970.
    now: i64,
    version: &'static str,
    status: StatusAnswer,
    /// Those with which something is not as it should be.
    services: Vec<Service>,
    events: Vec<Happening>,
}

impl View {
    pub(crate) fn of(picture: &Picture) -> Self {
        let troubled = Wanted {
            problems: true,
            ..Wanted::default()
        };
        let old = picture.events.len().saturating_sub(EVENTS);
        Self {
            now: picture.now.as_millisecond(),
            version: env!("CARGO_PKG_VERSION"),
            status: StatusAnswer::of(picture),
            services: ServicesAnswer::of(picture, &troubled).services,
            events: picture.events[old..].to_vec(),
        }
    }

    /// What differs from that of an earlier picture is worth sending.
    pub(super) fn mark(picture: &Picture) -> String {
        let last = picture.events.last();
        let last = last.map(|event| (event.time, event.version));
        format!("{}{last:?}", picture.signature())
    }
}
