//! What is so of a Service, an address, a node, a pool or a reason, why, and what to do.

pub(crate) mod announced;
mod others;
mod service;
mod target;

use ferrolb_core::Reason;
use ferrolb_core::report::Explained;
use serde::Serialize;

pub(crate) use self::others::{AddressAnswer, NodeAnswer, PoolAnswer, ReasonAnswer};
pub(crate) use self::service::ServiceAnswer;
pub(crate) use self::target::Target;
use crate::daemons::Component;
use crate::picture::Happening;

/// Of whichever was asked about.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ExplainAnswer {
    Service(ServiceAnswer),
    Address(AddressAnswer),
    Node(NodeAnswer),
    Pool(PoolAnswer),
    Reason(ReasonAnswer),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    pub(crate) reason: Option<String>,
    pub(crate) what: String,
    /// What exactly, on this Service.
    pub(crate) here: Option<String>,
    pub(crate) remedy: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventLine {
    pub(crate) time: String,
    pub(crate) r#type: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Finding {
    /// A problem that the controller told.
    fn of(problem: &Explained) -> Self {
        let (what, remedy) = meaning(&problem.reason, Component::Controller);
        Self {
            reason: Some(problem.reason.to_string()),
            what,
            here: Some(problem.message.clone()),
            remedy,
        }
    }
}

impl EventLine {
    fn of(event: &Happening) -> Self {
        Self {
            time: event.time.map(|time| time.to_string()).unwrap_or_default(),
            r#type: event.r#type.clone(),
            reason: event.reason.clone(),
            message: event.message.clone(),
        }
    }
}

/// What the word of a daemon means, and what to do.
fn meaning(word: &str, of: Component) -> (String, String) {
    let of = of.name();
    match Reason::of(word).map(Reason::explanation) {
        Some(known) => (known.what.to_owned(), known.remedy.to_owned()),
        None => (
            format!("reported by a newer {of}; this plugin does not know the word"),
            format!("use the plugin of the same version as the {of}"),
        ),
    }
}
