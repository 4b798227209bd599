//! What must hold once nothing was disturbed for a while (property 1), and how runs are summed up.

use std::time::Duration;

use ferrolb_core::ownership::NodeId;

use crate::network::Station;
use crate::world::{Vip, World, ms};

/// After any fault, everything is in order again within this time: a hold and the joining after it
/// take the longest.
pub(crate) const SETTLED: Duration = ms(9_000);

impl World {
    /// Notes what is wrong now.
    pub(crate) fn check(&mut self, when: &str) {
        for vip in self.vips() {
            self.check_one_owner(vip, when);
            self.check_served(vip, when);
            self.check_neighbours(vip, when);
        }
        self.check_unwanted(when);
    }

    /// The same, if nothing was disturbed lately.
    pub(crate) fn check_if_settled(&mut self, when: &str) {
        if self.now >= self.disturbed_at + SETTLED {
            self.check(when);
        }
    }

    fn running_owners(&self, vip: Vip) -> Vec<Station> {
        let running = |&host: &Station| self.hosts[host].stopped_until <= self.now;
        self.owners(vip).into_iter().filter(running).collect()
    }

    fn check_one_owner(&mut self, vip: Vip, when: &str) {
        let owners = self.running_owners(vip);
        for (i, &a) in owners.iter().enumerate() {
            for &b in &owners[i + 1..] {
                if self.network.connects(a, b) && self.network.connects(b, a) {
                    self.violate(when, &format!("{vip} has two owners: {owners:?}"));
                }
            }
        }
    }

    fn check_served(&mut self, vip: Vip, when: &str) {
        if !self.network.is_symmetric() {
            return;
        }
        let client = self.hosts.len();
        let owners = self.running_owners(vip);
        for segment in 0..2 {
            let within =
                |host: Station| self.network.segment.get(&host).copied().unwrap_or(0) == segment;
            let able: Vec<Station> = (0..self.hosts.len())
                .filter(|&i| {
                    let host = &self.hosts[i];
                    let runs = host.powered && host.speaker.is_some() && !host.leaving;
                    within(i) && runs && host.stopped_until <= self.now && self.is_eligible(vip, i)
                })
                .collect();
            let company =
                (0..self.hosts.len()).filter(|&i| within(i) && self.hosts[i].speaker.is_some());
            // Who hears nobody may stay silent, and nobody would hear it.
            let may_be_silent = able.is_empty() || (!within(client) && company.count() < 2);
            if !may_be_silent && !able.iter().any(|host| owners.contains(host)) {
                self.violate(
                    when,
                    &format!("{vip} is dark in segment {segment}, able: {able:?}"),
                );
            }
        }
    }

    /// The last that neighbours heard came from the owner.
    fn check_neighbours(&mut self, vip: Vip, when: &str) {
        let client = self.hosts.len();
        let owners = self.owners(vip);
        let [owner] = owners[..] else { return };
        if self.hosts[owner].asking.contains_key(&vip) {
            return;
        }
        if self.network.connects(owner, client) && self.neighbours.get(&vip) != Some(&owner) {
            let heard = self.neighbours.get(&vip);
            self.violate(
                when,
                &format!("neighbours send {vip} to {heard:?}, its owner is {owner}"),
            );
        }
    }

    fn check_unwanted(&mut self, when: &str) {
        for host in 0..self.hosts.len() {
            let wanted = self.vips();
            let unwanted: Vec<Vip> = self.hosts[host]
                .announcing
                .iter()
                .copied()
                .filter(|vip| !wanted.contains(vip))
                .collect();
            if !unwanted.is_empty() && self.hosts[host].stopped_until <= self.now {
                self.violate(when, &format!("n{host} announces unwanted {unwanted:?}"));
            }
        }
    }

    /// A node whose kernel runs, and which the voter has reached for a while, is not dead.
    pub(crate) fn check_vote(&mut self, voter: Station, node: NodeId) {
        let dead = self.station(node);
        let reaches = self.network.connects(voter, dead) && self.network.connects(dead, voter);
        let answers = !self.network.unanswering.contains(&dead);
        let is_quiet = self.now >= self.disturbed_at + ms(100);
        if self.hosts[dead].powered && reaches && answers && is_quiet {
            self.violate("ever", &format!("n{voter} votes on n{dead}, which lives"));
        }
    }

    pub(crate) fn violate(&mut self, when: &str, what: &str) {
        let at = self.now.as_micros() / 1_000;
        self.violations.push(format!("{when}, at {at} ms: {what}"));
    }

    /// Panics with all that was found.
    pub(crate) fn assert_sound(&self, seed: u64) {
        assert!(
            self.violations.is_empty(),
            "seed {seed}: {:#?}",
            self.violations
        );
    }

    /// Nobody's pods would leave rotation: no two speakers found one node dead.
    pub(crate) fn assert_no_quorum(&self, seed: u64) {
        let mut votes = self.votes.values();
        assert!(
            votes.all(|voters| voters.len() < 2),
            "seed {seed}: votes against living nodes: {:?}",
            self.votes
        );
    }

    /// Not even where something was hurt.
    pub(crate) fn assert_no_moves(&self, seed: u64) {
        assert!(
            self.moves.is_empty(),
            "seed {seed}: addresses moved: {:#?}",
            self.moves
        );
    }
}

/// Times in milliseconds, and what they come to.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration.as_secs_f64() * 1_000.0);
    }

    /// The smallest value that `share` of all values do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len() as f64 * share).ceil() as usize;
        sorted
            .get(index.clamp(1, sorted.len().max(1)) - 1)
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99) = (self.quantile(0.5), self.quantile(0.99));
        write!(
            f,
            "n={} p50 {p50:.0} p99 {p99:.0} max {:.0} ms",
            self.0.len(),
            self.max()
        )
    }
}
