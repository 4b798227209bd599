//! The table's entries as they travel, and how they are merged.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Former, Member, Members};
use crate::Instant;
use crate::ownership::epoch::is_leap;
use crate::ownership::model::{Claim, Entry, Life, PARTS_OF, Record, Stage};
use crate::ownership::node::NodeId;

/// Members known by hearsay alone: as many nodes as join while one of them misses its news.
const MOST_UNLISTED: usize = 256;

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Merged {
    /// There was nothing new in it.
    Known,
    /// The table changed.
    Changed,
    /// It says that a member is gone which is live here: that has to be seen for oneself (L7).
    Doubt,
}

impl Members {
    /// Merges what a member says of itself, or another says of it.
    pub(in super::super) fn merge(&mut self, entry: &Entry, now: Instant) -> Merged {
        let id = entry.member;
        let Some(member) = self.get(id) else {
            let is_news = matches!(entry.life, Life::Live | Life::Held) && !entry.former;
            if !is_news || self.unlisted().count() >= MOST_UNLISTED {
                return Merged::Known;
            }
            self.insert(id, Member::new(entry.address, now));
            return self.merge(entry, now);
        };
        if entry.former {
            return self.merge_former(entry, now);
        }
        let is_news = match (member.standing.life(), entry.boot.cmp(&member.boot)) {
            (None, _) | (_, Ordering::Greater) => true,
            (_, Ordering::Less) => false,
            (Some(life), Ordering::Equal) => {
                // L7: deaths do not travel by SYNC.
                if member.is_live()
                    && matches!(entry.life, Life::Held | Life::Dead)
                    && entry.inc >= member.inc
                {
                    return Merged::Doubt;
                }
                (entry.inc, entry.life) > (member.inc, life) || entry.seq > member.record.seq
            }
        };
        if !is_news {
            return Merged::Known;
        }
        let (hold, rejoin) = (self.hold, self.rejoin);
        let entry = &self.without_leaps(entry);
        let known = (member.boot, member.record.seq);
        self.change(id, now, |member| {
            let until = now + hold;
            if !member.standing.is_heard_of() {
                member.boot = entry.boot;
                member.inc = entry.inc;
                member.standing = member.standing.told(entry.life, until);
            } else if entry.boot > member.boot {
                member.restart(entry.boot, hold, rejoin, now);
            }
            let known = member.standing.life().map(|life| (member.inc, life));
            if Some((entry.inc, entry.life)) > known {
                member.inc = entry.inc;
                member.standing = member.standing.told(entry.life, until);
            }
            if let Some(record) = member.assemble(entry) {
                member.take_record(record);
            }
        });
        if self
            .get(id)
            .is_some_and(|one| (one.boot, one.record.seq) != known)
        {
            self.follow_own_word(id, now);
        }
        Merged::Changed
    }

    /// Members that the API server has told others of, and not yet this one.
    fn unlisted(&self) -> impl Iterator<Item = NodeId> {
        let all = self.iter().filter(|(_, member)| !member.was_listed);
        all.map(|(id, _)| id)
    }

    /// N1: an epoch that nobody can have counted to does not make a claim the best.
    fn without_leaps(&self, entry: &Entry) -> Entry {
        let mut entry = entry.clone();
        entry
            .claims
            .retain(|(vip, claim)| !is_leap(claim.epoch, self.index().floor(*vip)));
        entry
    }

    /// R2: what a restarted member held before, told by those who remember.
    fn merge_former(&mut self, entry: &Entry, now: Instant) -> Merged {
        let until = now + self.hold;
        let Some(member) = self.get_mut(entry.member) else {
            return Merged::Known;
        };
        let known = member
            .former
            .as_ref()
            .map(|former| (former.boot, former.record.seq));
        if entry.boot >= member.boot
            || Some((entry.boot, entry.seq)) <= known
            || member.record.stage != Stage::Joining
        {
            return Merged::Known;
        }
        let Some(record) = member.assemble_former(entry) else {
            return Merged::Known;
        };
        self.change(entry.member, now, |member| {
            let until = member.former.as_ref().map_or(until, |former| former.until);
            member.former = Some(Former {
                boot: entry.boot,
                record: Arc::new(record),
                until,
            });
        });
        Merged::Changed
    }

    /// A datagram from this process arrived: it lives, in this incarnation.
    pub(in super::super) fn heard_of(&mut self, id: NodeId, boot: u64, inc: u32, now: Instant) {
        let (hold, rejoin) = (self.hold, self.rejoin);
        let Some(member) = self.get(id) else { return };
        if !member.standing.is_heard_of() || boot > member.boot {
            self.change(id, now, |member| {
                member.restart(boot, hold, rejoin, now);
                member.inc = inc;
            });
        } else if inc > member.inc {
            self.change(id, now, |member| {
                (member.inc, member.standing) = (inc, member.standing.revived());
            });
        }
    }

    /// What to tell of this member.
    pub(in super::super) fn entries(&self, id: NodeId) -> Vec<Entry> {
        let Some(member) = self.get(id).filter(|member| !member.is_forgotten()) else {
            return Vec::new();
        };
        let Some(life) = member.standing.life() else {
            return Vec::new();
        };
        let former = member
            .former
            .iter()
            .flat_map(|former| member.parts(id, former.boot, life, &former.record, true));
        former
            .chain(member.parts(id, member.boot, life, &member.record, false))
            .collect()
    }
}

impl Member {
    fn parts(
        &self,
        id: NodeId,
        boot: u64,
        life: Life,
        record: &Record,
        former: bool,
    ) -> Vec<Entry> {
        let claims: Vec<(IpAddr, Claim)> = record
            .claims
            .iter()
            .map(|(&vip, &claim)| (vip, claim))
            .collect();
        let chunks: Vec<&[(IpAddr, Claim)]> = if claims.is_empty() {
            vec![&[]]
        } else {
            claims.chunks(PARTS_OF).collect()
        };
        let parts = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
        (0..parts)
            .zip(chunks)
            .map(|(part, claims)| Entry {
                member: id,
                boot,
                inc: self.inc,
                life,
                address: record.address,
                mac: record.mac,
                links: record.links.clone(),
                tells_subnets: record.tells_subnets,
                stage: record.stage,
                former,
                consents: record.consents,
                seq: record.seq,
                part,
                parts,
                claims: claims.to_vec(),
            })
            .collect()
    }

    /// The record, once all of its parts are here, if it is newer than the one known.
    fn assemble(&mut self, entry: &Entry) -> Option<Record> {
        let is_newer = entry.boot == self.boot && entry.seq > self.record.seq;
        if is_newer {
            self.assembly.add(entry)
        } else {
            None
        }
    }

    fn assemble_former(&mut self, entry: &Entry) -> Option<Record> {
        self.former_assembly.add(entry)
    }
}

/// The parts of one record that have arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Assembly {
    /// Boot and sequence number of the record.
    of: (u64, u32),
    parts: std::collections::BTreeMap<u16, Vec<(IpAddr, Claim)>>,
}

impl Assembly {
    fn add(&mut self, entry: &Entry) -> Option<Record> {
        if (entry.boot, entry.seq) > self.of {
            *self = Self {
                of: (entry.boot, entry.seq),
                ..Self::default()
            };
        }
        if (entry.boot, entry.seq) != self.of {
            return None;
        }
        self.parts.insert(entry.part, entry.claims.clone());
        if self.parts.len() < usize::from(entry.parts) {
            return None;
        }
        let claims = std::mem::take(&mut self.parts)
            .into_values()
            .flatten()
            .collect();
        Some(Record {
            seq: entry.seq,
            stage: entry.stage,
            consents: entry.consents,
            address: entry.address,
            mac: entry.mac,
            links: entry.links.clone(),
            tells_subnets: entry.tells_subnets,
            claims,
        })
    }
}
