//! What an object says by itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{Kind, MAX_SPEC_BYTES, ObjectRef, ObjectView, Spec};
use super::{advertisement, community, peer, pool, profile};
use crate::address::AddressRange;
use crate::config::paths::Paths;
use crate::config::place::{Place, Span};
use crate::config::problem::{Problem, Problems, Report, quoted};
use crate::config::tree::Node;
use crate::config::{BfdProfile, BgpAdvertisement, Layer2Advertisement, Peer, Pool};
use crate::labels::Labels;

/// An object, wherever it comes from, as a tree.
pub(in crate::config) struct Manifest<'n> {
    pub(in crate::config) object: ObjectRef,
    /// `apiVersion`
    pub(in crate::config) version: &'n str,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub(in crate::config) created: i64,
    pub(in crate::config) labels: Labels,
    /// `metadata.annotations`
    pub(in crate::config) annotations: Option<&'n Node>,
    pub(in crate::config) spec: Option<&'n Node>,
    /// Where to point at for what concerns the object as a whole.
    pub(in crate::config) place: Span,
}

/// What came of reading an object.
#[derive(Debug)]
pub(in crate::config) struct Read {
    pub(super) object: ObjectRef,
    pub(super) created: i64,
    pub(super) labels: Labels,
    /// Errors, or what it says.
    pub(super) said: Result<Said, Problems>,
    /// What it says and nobody can have.
    pub(super) left_out: Option<Problems>,
    pub(super) warnings: Option<Problems>,
    /// Of the object as a whole.
    pub(super) place: Place,
}

/// Names of other objects, each with its place.
pub(super) type Names = Vec<(String, Place)>;

/// What an object says, with the places of what only the others can confirm.
#[derive(Debug)]
pub(super) enum Said {
    Pool {
        pool: Pool,
        /// What it may have addresses of, entry by entry.
        entries: Vec<(AddressRange, Place)>,
    },
    Layer2 {
        one: Layer2Advertisement,
        chosen: ChosenPools,
    },
    Bgp(Box<SaidRoute>),
    Peer {
        one: Box<Peer>,
        /// Of `bfdProfile`.
        profile: Place,
    },
    Profile(BfdProfile),
    Communities(Vec<(String, Community, Place)>),
}

/// What a `BGPAdvertisement` says.
#[derive(Debug)]
pub(super) struct SaidRoute {
    pub(super) one: BgpAdvertisement,
    pub(super) chosen: ChosenPools,
    pub(super) peers: Names,
    /// `communities` as they are written: numbers and names.
    pub(super) communities: Names,
    /// Of `aggregationLength` and `aggregationLengthV6`.
    pub(super) lengths: [Place; 2],
    /// Of `localPref` and `asPathPrepend`.
    pub(super) preferences: [Place; 2],
}

/// Which pools an advertisement chooses.
#[derive(Debug)]
pub(super) struct ChosenPools {
    pub(super) names: Names,
    /// Of `ipAddressPoolSelectors`.
    pub(super) selectors: Place,
}

/// What is told to routers with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Community {
    /// RFC 1997.
    Plain(u32),
    /// RFC 8092.
    Large([u32; 3]),
}

impl Read {
    /// Of an object of the API.
    pub(in crate::config) fn of(view: &ObjectView) -> Self {
        let object = view.object_ref();
        let mut paths = Paths::new(
            object.kind.as_str().to_owned(),
            object.namespace.clone(),
            object.name.clone(),
        );
        let too_large = |paths: &Paths, message: String| Self {
            object: object.clone(),
            created: view.created,
            labels: view.labels.clone(),
            said: Err(Problems::one(Problem {
                place: paths.place("spec"),
                message,
                help: "write addresses as ranges or prefixes, or several objects".to_owned(),
                related: None,
            })),
            left_out: None,
            warnings: None,
            place: paths.place("spec"),
        };
        let spec = match &view.spec {
            Spec::Read(json) => json,
            Spec::TooLong { bytes } => {
                let message =
                    format!("it has {bytes} bytes, and at most {MAX_SPEC_BYTES} are read");
                return too_large(&paths, message);
            }
        };
        let trees = paths.tree("spec", spec).and_then(|spec| {
            Ok((
                spec,
                paths.tree("metadata.annotations", &json_of(&view.annotations))?,
            ))
        });
        let Ok((spec, annotations)) = trees else {
            let message = "it has more values than are read, or they are nested too deeply";
            return too_large(&paths, message.to_owned());
        };
        let manifest = Manifest {
            object,
            version: &view.api_version,
            created: view.created,
            labels: view.labels.clone(),
            annotations: Some(&annotations),
            place: spec.span.clone(),
            spec: (!spec.is_null()).then_some(&spec),
        };
        Self::from(manifest, Report::of_object(&paths))
    }

    /// Which object it is.
    pub(in crate::config) const fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// It is the same object as this one, with another `spec`.
    pub(in crate::config) fn replaces(&mut self, view: &ObjectView) {
        self.object.uid.clone_from(&view.uid);
        self.created = view.created;
    }

    /// It is created after all others.
    pub(in crate::config) const fn is_the_youngest(&mut self) {
        self.created = i64::MAX;
    }

    /// Of a manifest whose places `report` knows.
    pub(in crate::config) fn from(manifest: Manifest<'_>, mut report: Report<'_>) -> Self {
        check_version(&manifest, &mut report);
        let said = match manifest.object.kind {
            Kind::IpAddressPool => pool::read(&manifest, &mut report),
            Kind::L2Advertisement => advertisement::layer2(&manifest, &mut report),
            Kind::BgpAdvertisement => advertisement::bgp(&manifest, &mut report),
            Kind::BgpPeer => peer::read(&manifest, &mut report),
            Kind::BfdProfile => profile::read(&manifest, &mut report),
            Kind::Community => community::read(&manifest, &mut report),
        };
        let place = report.place(&manifest.place);
        let judgement = report.finish();
        let unread = || {
            Problems::one(Problem {
                place: place.clone(),
                message: "it cannot be read".to_owned(),
                help: "report a bug".to_owned(),
                related: None,
            })
        };
        Self {
            object: manifest.object,
            created: manifest.created,
            labels: manifest.labels,
            said: match (judgement.problems, said) {
                (Some(problems), _) => Err(problems),
                (None, Some(said)) => Ok(said),
                (None, None) => Err(unread()),
            },
            left_out: judgement.left_out,
            warnings: judgement.warnings,
            place,
        }
    }
}

fn json_of(annotations: &BTreeMap<String, String>) -> Json {
    let entries = annotations.iter();
    let entries = entries.map(|(key, text)| (key.clone(), Json::String(text.clone())));
    Json::Object(entries.collect::<Map<_, _>>())
}

fn check_version(manifest: &Manifest<'_>, report: &mut Report<'_>) {
    let Manifest {
        object, version, ..
    } = manifest;
    let known = object.kind.versions();
    let is_known = version
        .strip_prefix(Kind::GROUP)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|version| known.contains(&version));
    if !is_known {
        let newest = known.first().copied().unwrap_or_default();
        report.add(
            &manifest.place,
            format!("no {} has apiVersion {}", object.kind, quoted(version)),
            format!("write `apiVersion: {}/{newest}`", Kind::GROUP),
        );
    }
}
