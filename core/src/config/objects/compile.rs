//! From what each object says to what is in force.

use std::collections::BTreeMap;
use std::mem;

use super::in_force::{InForce, Item};
use super::overlaps::{self, Overlap};
use super::read::{Community, Read, Said};
use super::references::Known;
use super::versions::{Candidate, Version};
use super::{Compiled, Finding, Kind, ObjectRef, Objects, Severity};
use crate::Reason;
use crate::config::problem::{Problem, Problems, quoted};
use crate::config::{Config, Place, Pool};

/// Names of communities, and what they stand for.
pub(super) type Aliases = BTreeMap<String, Community>;

/// One compilation.
pub(super) struct Compilation {
    pub(super) former: InForce,
    pub(super) now: InForce,
    pub(super) findings: Vec<Finding>,
}

impl Objects {
    pub(in crate::config) fn compile_read(&mut self, read: Vec<Read>) -> Compiled {
        let mut compilation = Compilation {
            former: mem::take(&mut self.in_force),
            now: InForce::default(),
            findings: Vec::new(),
        };
        let mut read = compilation.only_of(&self.namespace, read);
        for one in &mut read {
            compilation.tell_of(one);
        }
        let aliases = compilation.communities(&read);
        compilation.pools(&read);
        compilation.others(&read);
        compilation.routes(&read, &aliases);
        let config = compilation.now.config();
        compilation.refer(&read, &config);
        self.in_force = compilation.now;
        let mut findings = compilation.findings;
        findings.sort_by(|one, other| {
            let key = |one: &Finding| (one.object.clone(), one.severity, one.reason);
            key(one).cmp(&key(other))
        });
        Compiled { config, findings }
    }
}

impl Compilation {
    /// Those that count, in the order of kinds and names. Of two of one name the younger one.
    fn only_of(&mut self, namespace: &str, mut read: Vec<Read>) -> Vec<Read> {
        read.sort_by(|one, other| {
            let key = |one: &Read| (one.object.kind, one.object.name.clone());
            let age = |one: &Read| (one.created, one.object.uid.clone());
            key(one).cmp(&key(other)).then(age(other).cmp(&age(one)))
        });
        let (here, elsewhere): (Vec<_>, Vec<_>) = read
            .into_iter()
            .partition(|one| one.object.namespace == namespace);
        for one in elsewhere {
            let message = format!(
                "it has no effect: FerroLB reads the objects of namespace {namespace} alone, as MetalLB does"
            );
            let help = format!("move it to {namespace}, or delete it");
            self.warn(
                &one.object,
                Reason::OtherNamespace,
                vec![problem(&one.place, message, help)],
            );
        }
        let mut here = here;
        here.dedup_by(|one, first| {
            (one.object.kind, &one.object.name) == (first.object.kind, &first.object.name)
        });
        here
    }

    /// What is wrong with it by itself.
    fn tell_of(&mut self, read: &mut Read) {
        if let Err(problems) = &read.said {
            self.refuse(&read.object, Reason::ConfigRefused, problems.clone());
        }
        let about = [
            (Reason::AddressesLeftOut, read.left_out.take()),
            (Reason::ConfigWarning, read.warnings.take()),
        ];
        for (reason, problems) in about {
            if let Some(problems) = problems {
                self.find(&read.object, Severity::Warning, reason, problems);
            }
        }
    }

    pub(super) fn refuse(&mut self, object: &ObjectRef, reason: Reason, problems: Problems) {
        self.find(object, Severity::Refused, reason, problems);
    }

    pub(super) fn warn(&mut self, object: &ObjectRef, reason: Reason, problems: Vec<Problem>) {
        if let Some(problems) = Problems::of(problems) {
            self.find(object, Severity::Warning, reason, problems);
        }
    }

    fn find(&mut self, object: &ObjectRef, severity: Severity, reason: Reason, problems: Problems) {
        let is_refused = severity == Severity::Refused;
        self.findings.push(Finding {
            object: object.clone(),
            severity,
            reason,
            problems,
            former_in_force: is_refused && self.former.of_object(object).is_some(),
        });
    }

    /// Keeps what was in force of the object.
    pub(super) fn keep_former(&mut self, object: &ObjectRef) {
        if let Some(item) = self.former.of_object(object).cloned() {
            self.now.set(object, item);
        }
    }

    /// Each name counts as the older object defines it.
    fn communities(&mut self, read: &[Read]) -> Aliases {
        let mut objects = of_kind(read, Kind::Community).collect::<Vec<_>>();
        objects.sort_by_key(|one| (one.created, one.object.name.as_str()));
        let mut aliases: BTreeMap<String, (Community, &Read)> = BTreeMap::new();
        for one in objects {
            match &one.said {
                Ok(Said::Communities(all)) => {
                    let pairs = all.iter().map(|(name, value, _)| (name.clone(), *value));
                    self.now
                        .set(&one.object, Item::Communities(pairs.collect()));
                }
                _ => self.keep_former(&one.object),
            }
            let Some(Item::Communities(all)) = self.now.of_object(&one.object).cloned() else {
                continue;
            };
            let mut again = Vec::new();
            for (name, value) in all {
                let place = place_of_community(one, &name);
                if let Some((_, other)) = aliases.get(&name) {
                    let message = format!(
                        "community {} is defined in Community {}{} as well, which is older: its value counts",
                        quoted(&name),
                        quoted(&other.object.name),
                        other.place.other_file(place)
                    );
                    again.push(problem(place, message, "remove one of the two"));
                } else {
                    aliases.insert(name, (value, one));
                }
            }
            self.warn(&one.object, Reason::ConfigWarning, again);
        }
        let aliases = aliases.into_iter();
        aliases.map(|(name, (value, _))| (name, value)).collect()
    }

    fn pools(&mut self, read: &[Read]) {
        let read: Vec<_> = of_kind(read, Kind::IpAddressPool).collect();
        let former = |one: &Read| match self.former.of_object(&one.object) {
            Some(Item::Pool(pool)) => Some(pool.clone()),
            _ => None,
        };
        let formers: Vec<Option<Pool>> = read.iter().copied().map(former).collect();
        let candidates: Vec<_> = read
            .iter()
            .zip(&formers)
            .map(|(one, former)| Candidate {
                created: one.created,
                name: &one.object.name,
                newest: match &one.said {
                    Ok(Said::Pool { pool, .. }) => Some(pool),
                    _ => None,
                },
                former: former.as_ref(),
            })
            .collect();
        let verdicts = overlaps::judge(&candidates);
        for ((one, candidate), verdict) in read.iter().zip(&candidates).zip(verdicts) {
            let version = verdict.in_force;
            let pool = match version {
                Some(Version::Newest) => candidate.newest,
                Some(Version::Former) => candidate.former,
                None => None,
            };
            if let Some(pool) = pool {
                // Labels are good in any case.
                let pool = Pool {
                    labels: one.labels.clone(),
                    ..pool.clone()
                };
                self.now.set(&one.object, Item::Pool(pool));
            }
            if let Some(overlap) = verdict.why {
                let problem = overlap_of(one, &overlap, version, &read);
                self.findings.push(Finding {
                    object: one.object.clone(),
                    severity: Severity::Refused,
                    reason: Reason::PoolOverlaps,
                    problems: Problems::one(problem),
                    former_in_force: version == Some(Version::Former),
                });
            }
        }
    }

    /// What depends on no other object.
    fn others(&mut self, read: &[Read]) {
        for one in read {
            let item = match &one.said {
                Ok(Said::Layer2 { one, .. }) => Item::Layer2(one.clone()),
                Ok(Said::Peer { one, .. }) => Item::Peer(one.clone()),
                Ok(Said::Profile(one)) => Item::Profile(one.clone()),
                Ok(Said::Pool { .. } | Said::Bgp(_) | Said::Communities(_)) => continue,
                Err(_) => {
                    let depends = [Kind::IpAddressPool, Kind::BgpAdvertisement, Kind::Community];
                    if !depends.contains(&one.object.kind) {
                        self.keep_former(&one.object);
                    }
                    continue;
                }
            };
            self.now.set(&one.object, item);
        }
    }

    /// What objects say of each other.
    fn refer(&mut self, read: &[Read], config: &Config) {
        let names = |kind| {
            let objects = of_kind(read, kind);
            objects.map(|one| one.object.name.as_str()).collect()
        };
        let known = Known {
            pools: names(Kind::IpAddressPool),
            peers: names(Kind::BgpPeer),
            profiles: names(Kind::BfdProfile),
            ..Known::of(config)
        };
        for one in read {
            let problems = match &one.said {
                Ok(Said::Layer2 { one, chosen }) => known.of_pools(&one.scope, chosen),
                Ok(Said::Bgp(said)) => {
                    let mut problems = known.of_pools(&said.one.scope, &said.chosen);
                    problems.extend(known.of_peers(&said.peers));
                    problems
                }
                Ok(Said::Peer { one, profile }) => {
                    let name = one.bfd_profile.iter();
                    name.flat_map(|name| known.of_profile(name, profile))
                        .collect()
                }
                _ => Vec::new(),
            };
            self.warn(&one.object, Reason::UnknownReference, problems);
        }
        let silent: Vec<&str> = known
            .not_advertised()
            .map(|pool| pool.name.as_str())
            .collect();
        let pools = of_kind(read, Kind::IpAddressPool).filter(|one| {
            // Both are in the order of the names.
            silent.binary_search(&one.object.name.as_str()).is_ok()
        });
        for one in pools {
            let message = "no advertisement covers the pool: Services get its addresses, and nobody announces them";
            let help = format!(
                "create an L2Advertisement, or add {} to the ipAddressPools of one",
                quoted(&one.object.name)
            );
            self.warn(
                &one.object,
                Reason::NotAdvertised,
                vec![problem(&one.place, message, help)],
            );
        }
    }
}

pub(super) fn of_kind(read: &[Read], kind: Kind) -> impl Iterator<Item = &Read> {
    read.iter().filter(move |one| one.object.kind == kind)
}

pub(super) fn problem(
    place: &Place,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Problem {
    Problem {
        place: place.clone(),
        message: message.into(),
        help: help.into(),
        related: None,
    }
}

/// Of a name that an object defines.
fn place_of_community<'r>(read: &'r Read, name: &str) -> &'r Place {
    let defined = match &read.said {
        Ok(Said::Communities(all)) => all.iter().find(|(one, ..)| one == name),
        _ => None,
    };
    defined.map_or(&read.place, |(.., place)| place)
}

/// Why the newest version of a pool is not in force.
fn overlap_of(
    read: &Read,
    overlap: &Overlap,
    in_force: Option<Version>,
    pools: &[&Read],
) -> Problem {
    let Overlap { mine, theirs, of } = overlap;
    let entry = match &read.said {
        Ok(Said::Pool { entries, .. }) => entries.iter().find(|(range, _)| range.overlaps(mine)),
        _ => None,
    };
    let place = entry.map_or(&read.place, |(_, place)| place);
    let other = pools.get(*of);
    let name = other.map_or("", |other| other.object.name.as_str());
    let file = other.map_or_else(String::new, |other| other.place.other_file(place));
    let instead = match in_force {
        Some(_) => "the last good version of this one stays in force",
        None => "this one is left out as a whole",
    };
    let mut problem = problem(
        place,
        format!(
            "{} overlaps {} of IPAddressPool {}{file}, which stays in force",
            quoted(&mine.to_string()),
            quoted(&theirs.to_string()),
            quoted(name)
        ),
        format!("leave out of one of the two pools what they share: until then {instead}"),
    );
    problem.related = other.map(|other| (other.place.clone(), "the other pool".to_owned()));
    problem
}
