//! What is asked for, what of it is in force, and when it ends.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::bail;
use ferrolb_core::keep::Entry;
use ferrolb_core::keep::words::{Answer, Question, Unable, Way};
use tracing::{info, warn};

use crate::admission::Admission;
use crate::surroundings;
use crate::table::{Choice, NoTables, Tables};

/// What is done goes on for so long without a speaker.
const WITHOUT_SPEAKER: Duration = Duration::from_secs(5);

/// The keeper's state, all of it.
#[derive(Debug)]
pub(super) struct Work {
    tables: Result<Tables, Unable>,
    admission: Admission,
    entries: BTreeMap<IpAddr, InForce>,
    /// Nobody is connected: everything ends then, unless somebody is by that time.
    alone_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct InForce {
    via: IpAddr,
    until: Instant,
}

impl Work {
    /// Makes the tables, and finds out what this kernel can do. One that cannot is no error: the speaker is
    /// told, and addresses move as without a keeper.
    pub(super) fn start(choice: Choice, has_right: bool) -> anyhow::Result<Self> {
        let tables = match Tables::make(choice) {
            Ok(tables) if surroundings::is_loose() => Ok(tables),
            Ok(tables) => {
                tables.remove();
                Err(Unable::Strict)
            }
            Err(NoTables::Unable(_)) if !has_right => Err(Unable::NoRight),
            Err(NoTables::Unable(unable)) => Err(unable),
            Err(NoTables::Taken) => bail!(
                "another process has the table {} already: only one keeper can run on a node",
                crate::rules::TABLE
            ),
        };
        match &tables {
            Ok(tables) => info!(way = tables.way().as_str(), "connections can be kept"),
            Err(unable) => warn!(
                reason = unable.as_str(),
                "connections cannot be kept, addresses move as without a keeper: {}",
                unable.explanation()
            ),
        }
        Ok(Self {
            tables,
            admission: Admission::default(),
            entries: BTreeMap::new(),
            alone_until: None,
        })
    }

    pub(super) fn way(&self) -> Result<Way, Unable> {
        match &self.tables {
            Ok(_) if !surroundings::is_loose() => Err(Unable::Strict),
            Ok(tables) => Ok(tables.way()),
            Err(unable) => Err(*unable),
        }
    }

    /// What is in force, and for how much longer.
    pub(super) fn entries(&self, now: Instant) -> Vec<Entry> {
        let all = self.entries.iter().map(|(&vip, entry)| Entry {
            vip,
            via: entry.via,
            time: entry.until.saturating_duration_since(now),
        });
        all.collect()
    }

    /// Does what the speaker asks for. Nothing that it can say ends this process.
    pub(super) fn answer(
        &mut self,
        question: Question,
        now: Instant,
    ) -> anyhow::Result<Option<Answer>> {
        Ok(match question {
            Question::Stations(stations) => {
                self.admission.set_stations(&stations);
                if let Ok(tables) = &mut self.tables {
                    tables.set_peers(self.admission.macs())?;
                }
                None
            }
            Question::Keep { number, entries } => Some(Answer::Done {
                number,
                refused: self.keep(&entries, now),
            }),
            Question::Drop(vips) => {
                for vip in &vips {
                    self.entries.remove(vip);
                }
                if let Ok(tables) = &mut self.tables {
                    tables.drop_all(&vips)?;
                }
                None
            }
            Question::Count => Some(Answer::Passed(self.passed()?)),
        })
    }

    /// Those that are not in force after this.
    fn keep(&mut self, entries: &[Entry], now: Instant) -> Vec<IpAddr> {
        let all = || entries.iter().map(|entry| entry.vip).collect();
        let Ok(tables) = &mut self.tables else {
            return all();
        };
        if !surroundings::is_loose() {
            return all();
        }
        let own = match surroundings::own_addresses() {
            Ok(own) => own,
            Err(error) => {
                warn!(error = format!("{error:#}"), "nothing is kept");
                return all();
            }
        };
        let mut refused = Vec::new();
        let mut admitted = Vec::new();
        for entry in entries {
            let others = self.entries.len() - usize::from(self.entries.contains_key(&entry.vip));
            match self.admission.admit(entry, &own, others + admitted.len()) {
                Ok(()) => admitted.push(*entry),
                Err(refusal) => {
                    warn!(vip = %entry.vip, via = %entry.via, "not kept: {refusal}");
                    refused.push(entry.vip);
                }
            }
        }
        let failed = tables.keep(&admitted);
        for entry in admitted {
            match failed.get(&entry.vip) {
                None => {
                    let (via, until) = (entry.via, now + entry.time);
                    self.entries.insert(entry.vip, InForce { via, until });
                }
                Some(error) => {
                    warn!(vip = %entry.vip, via = %entry.via, %error, "not kept: the kernel refuses");
                    refused.push(entry.vip);
                }
            }
        }
        refused
    }

    fn passed(&mut self) -> anyhow::Result<Vec<(IpAddr, u64)>> {
        let Ok(tables) = &mut self.tables else {
            return Ok(Vec::new());
        };
        if self.entries.is_empty() {
            return Ok(Vec::new());
        }
        let counts = tables.count()?;
        let known = counts
            .into_iter()
            .filter(|(vip, _)| self.entries.contains_key(vip));
        Ok(known.collect())
    }

    /// Whether a speaker is connected. Without one nobody would notice that an old owner died: what is done
    /// goes on for a while only, in which a container that was restarted is back.
    pub(super) fn set_connected(&mut self, connected: bool, now: Instant) {
        self.alone_until = (!connected).then(|| now + WITHOUT_SPEAKER);
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        let ends = self.entries.values().map(|entry| entry.until);
        let alone = self.alone_until.filter(|_| !self.entries.is_empty());
        ends.chain(alone).min()
    }

    /// Most of what is over has been ended by the kernel already.
    pub(super) fn end_what_is_over(&mut self, now: Instant) {
        let is_alone = self.alone_until.is_some_and(|at| at <= now);
        let over = self
            .entries
            .iter()
            .filter(|(_, entry)| is_alone || entry.until <= now);
        let over: Vec<IpAddr> = over.map(|(vip, _)| *vip).collect();
        if over.is_empty() {
            return;
        }
        for vip in &over {
            self.entries.remove(vip);
        }
        if let Ok(tables) = &mut self.tables
            && let Err(error) = tables.drop_all(&over)
        {
            warn!(%error, "cannot end what is over: the kernel does so");
            tables.forget(&over);
        }
    }
}
