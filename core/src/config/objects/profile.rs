//! `BFDProfile`.

use super::annotations::Annotations;
use super::read::{Manifest, Said};
use super::values::spec;
use crate::config::BfdProfile;
use crate::config::bfd::{OF_OBJECT, settings};
use crate::config::problem::Report;

pub(super) fn read(manifest: &Manifest<'_>, report: &mut Report<'_>) -> Option<Said> {
    let fields = spec(manifest, "a BFDProfile", &OF_OBJECT, report)?;
    Annotations::read(manifest, report);
    Some(Said::Profile(BfdProfile {
        name: manifest.object.name.clone(),
        ..settings(&fields, OF_OBJECT, report)
    }))
}
