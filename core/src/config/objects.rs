//! `MetalLB`'s objects, from 0.13 on: the same configuration as a `ConfigMap`'s, in several objects that
//! several people write.
//!
//! ```text
//! ObjectView ─▶ tree ─▶ pool, advertisement, peer, … ─▶ what it says by itself ─┐
//!                                                       what was in force of it ─┴─▶ Config, Findings
//! ```
//!
//! Each object stands for itself: one that has errors changes nothing for the others, and its last good
//! version stays in force. Between objects: of pools that overlap, and of BGP advertisements that contradict
//! each other, the one in force stays, else the older one. What refers to nothing is accepted, with a warning: objects are applied one after the other.

mod advertisement;
mod annotations;
mod community;
mod compile;
mod contradictions;
mod in_force;
mod kind;
mod overlaps;
mod peer;
mod pool;
mod profile;
mod read;
mod references;
mod routes;
#[cfg(test)]
mod tests;
mod values;
mod versions;
mod view;

use std::fmt;

pub use kind::Kind;
pub use view::{MAX_SPEC_BYTES, ObjectRef, ObjectView, Spec};

use self::in_force::InForce;
pub(in crate::config) use self::read::{Manifest, Read};
use super::{Config, Problems};
use crate::Reason;

/// What the objects of a namespace come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// Put this in force.
    pub config: Config,
    /// What is to be said of objects: in the order of their kinds, then of their names.
    pub findings: Vec<Finding>,
}

/// What is to be said of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object.
    pub object: ObjectRef,
    /// What becomes of it.
    pub severity: Severity,
    /// The kind of problem.
    pub reason: Reason,
    /// What is wrong, where, and what to do. Each is in this object, or in its place in a file.
    pub problems: Problems,
    /// Whether an earlier version of the object is in force in place of this one.
    pub former_in_force: bool,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// This version of it is not in force.
    Refused,
    /// It is in force, and something about it is probably not meant; or it is in a namespace that is not
    /// read.
    Warning,
}

impl Finding {
    /// For an Event on the object: one line of at most 1,024 bytes.
    #[must_use]
    pub fn text(&self) -> String {
        self.problems.event_message_of_object()
    }
}

/// `IPAddressPool metallb-system/lan: …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.text())
    }
}

/// Compiles objects. It remembers of each what is in force, so that a version with errors changes
/// nothing.
#[derive(Debug, Clone)]
pub struct Objects {
    /// Objects of other namespaces are not read.
    namespace: String,
    in_force: InForce,
}

impl Objects {
    /// Reads objects of `namespace`; nothing is in force.
    #[must_use]
    pub fn new(namespace: String) -> Self {
        Self::restored(namespace, &Config::new())
    }

    /// The same after a restart, with what was in force of the objects before. Names of communities are
    /// not in it: an advertisement that uses one keeps what it stood for.
    #[must_use]
    pub fn restored(namespace: String, in_force: &Config) -> Self {
        Self {
            namespace,
            in_force: InForce::of(in_force),
        }
    }

    /// Takes all objects of the six kinds as they are now; their order is of no account. What is put in
    /// force is what is remembered.
    pub fn compile(&mut self, views: &[ObjectView]) -> Compiled {
        self.compile_read(views.iter().map(Read::of).collect())
    }
}
