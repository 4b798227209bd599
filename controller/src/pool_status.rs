//! `IPAddressPool.status`: how many addresses of a pool are given, and how many are left. Written on change,
//! for each pool at most once a second, and never against somebody who writes it, too.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::alloc::{CONTESTED_FOR, PoolUsage};
use ferrolb_core::config::objects::Kind;
use ferrolb_core::names::{ADOPTED_MANAGERS, FIELD_MANAGER, HAND_EDITS};
use ferrolb_core::report::saturated;
use ferrolb_kube::objects::{Untyped, resource};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::timeout;

/// MetalLB's own controller writes as it likes; tools that watch the pools need not follow each address.
const PACE: Duration = Duration::from_secs(1);
/// What could not be written is tried again.
const AGAIN: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Who rewrites what we wrote so often within [`CONTEST`] has it for a while.
const REWRITES: usize = 2;
const CONTEST: Duration = Duration::from_secs(30);
const KEYS: [&str; 4] = [
    "assignedIPv4",
    "assignedIPv6",
    "availableIPv4",
    "availableIPv6",
];

/// The four numbers, in the order of their names: given of IPv4 and IPv6, left of IPv4 and IPv6.
pub type Counts = [u64; 4];

/// The numbers of a pool.
#[must_use]
pub fn counts(usage: &PoolUsage) -> Counts {
    let [v4, v6] = usage.by_family;
    let left = |(total, in_use): (u128, u128)| saturated(total.saturating_sub(in_use));
    [saturated(v4.1), saturated(v6.1), left(v4), left(v6)]
}

/// What a pool's status says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusView {
    /// The numbers, if all are there.
    pub counts: Option<Counts>,
    /// Who wrote it last.
    pub manager: Option<String>,
}

impl StatusView {
    /// Of an `IPAddressPool`.
    #[must_use]
    pub fn of(pool: &Untyped) -> Self {
        let number = |key: &str| pool.status.get(key).and_then(Value::as_u64);
        let [a, b, c, d] = KEYS.map(number);
        let counts = a.zip(b).zip(c.zip(d));
        let entries = pool.metadata.managed_fields.iter().flatten();
        let of_status = entries.filter(|entry| entry.subresource.as_deref() == Some("status"));
        let last = of_status.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
        Self {
            counts: counts.map(|((a, b), (c, d))| [a, b, c, d]),
            manager: last.and_then(|entry| entry.manager.clone()),
        }
    }

    /// Whether another program wrote it, and not MetalLB's, whose statuses are taken over unasked.
    fn is_foreign(&self) -> bool {
        let manager = self.manager.as_deref();
        manager.is_some_and(|it| !ADOPTED_MANAGERS.contains(&it) && !it.starts_with(HAND_EDITS))
    }
}

/// A status to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolWrite {
    /// `metadata.name`
    pub pool: String,
    /// The numbers.
    pub counts: Counts,
}

/// The statuses of all pools: shown and wanted.
#[derive(Debug, Default)]
pub struct PoolStatuses {
    pools: BTreeMap<String, Pool>,
    wanted: BTreeMap<String, Counts>,
}

#[derive(Debug)]
struct Pool {
    shown: StatusView,
    is_under_way: bool,
    not_before: Instant,
    rewritten: Vec<Instant>,
}

impl PoolStatuses {
    /// A pool was created or changed.
    pub fn apply(&mut self, name: &str, shown: StatusView, now: Instant) {
        let wanted = self.wanted.get(name).copied();
        let Some(pool) = self.pools.get_mut(name) else {
            let pool = Pool {
                shown,
                is_under_way: false,
                not_before: now,
                rewritten: Vec::new(),
            };
            self.pools.insert(name.to_owned(), pool);
            return;
        };
        let former = std::mem::replace(&mut pool.shown, shown);
        let is_ours = pool.shown.manager.as_deref() == Some(FIELD_MANAGER);
        let by_hand = (pool.shown.manager.as_deref()).is_some_and(|it| it.starts_with(HAND_EDITS));
        let was_right = wanted.is_some() && former.counts == wanted;
        if was_right && pool.shown.counts != wanted && !is_ours && !by_hand {
            pool.rewritten
                .retain(|at| now.saturating_since(*at) < CONTEST);
            pool.rewritten.push(now);
            if pool.rewritten.len() >= REWRITES {
                tracing::warn!(
                    pool = name,
                    manager = pool.shown.manager,
                    "somebody else writes the status of this pool, too: it is left alone for ten minutes"
                );
                pool.rewritten.clear();
                pool.not_before = now + CONTESTED_FOR;
            }
        }
    }

    /// A pool is gone.
    pub fn delete(&mut self, name: &str) {
        self.pools.remove(name);
    }

    /// Pools of other names than these are gone.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.pools.retain(|name, _| is_there(name));
    }

    /// What the statuses should be; none that are not named.
    pub fn want(&mut self, usage: &[PoolUsage]) {
        let wanted = usage.iter().map(|one| (one.pool.clone(), counts(one)));
        self.wanted = wanted.collect();
    }

    fn open(&self) -> impl Iterator<Item = (&String, &Pool, Counts)> {
        self.pools.iter().filter_map(|(name, pool)| {
            let wanted = *self.wanted.get(name)?;
            let is_open =
                !pool.is_under_way && pool.shown.counts != Some(wanted) && !pool.shown.is_foreign();
            is_open.then_some((name, pool, wanted))
        })
    }

    /// The next status to write.
    pub fn poll_write(&mut self, now: Instant) -> Option<PoolWrite> {
        let due = self.open().find(|(_, pool, _)| pool.not_before <= now);
        let (name, _, counts) = due?;
        let name = name.clone();
        let pool = self.pools.get_mut(&name)?;
        pool.is_under_way = true;
        pool.not_before = now + PACE;
        Some(PoolWrite { pool: name, counts })
    }

    /// When [`Self::poll_write`] has something.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.open().map(|(_, pool, _)| pool.not_before).min()
    }

    /// What came of a write.
    pub fn handle_written(&mut self, write: &PoolWrite, is_written: bool, now: Instant) {
        if let Some(pool) = self.pools.get_mut(&write.pool) {
            pool.is_under_way = false;
            if is_written {
                pool.shown = StatusView {
                    counts: Some(write.counts),
                    manager: Some(FIELD_MANAGER.to_owned()),
                };
            } else {
                pool.not_before = now + AGAIN;
            }
        }
    }

    /// What was under way belongs to another reign.
    pub fn begin_again(&mut self) {
        for pool in self.pools.values_mut() {
            pool.is_under_way = false;
        }
    }
}

/// Writes a status; whether that went well.
pub async fn send(client: Client, namespace: String, write: PoolWrite) -> (PoolWrite, bool) {
    let resource = resource(Kind::IpAddressPool, "v1beta1");
    let api = Api::<Untyped>::namespaced_with(client, &namespace, &resource);
    let status: serde_json::Map<_, _> = KEYS
        .iter()
        .zip(write.counts)
        .map(|(key, count)| ((*key).to_owned(), json!(count)))
        .collect();
    let patch = Patch::Merge(json!({ "status": status }));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patched = api.patch_status(&write.pool, &params, &patch);
    let is_written = match timeout(TIMEOUT, patched).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::debug!(pool = write.pool, %error, "status of a pool not written");
            false
        }
        Err(_) => false,
    };
    (write, is_written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn usage(in_use: u128) -> Vec<PoolUsage> {
        vec![PoolUsage {
            pool: "lan".to_owned(),
            total: 4,
            in_use,
            by_family: [(4, in_use), (1 << 100, 0)],
            first_free: Vec::new(),
        }]
    }

    const MANY: u64 = i64::MAX as u64;

    fn shown(counts: Counts, manager: &str) -> StatusView {
        StatusView {
            counts: Some(counts),
            manager: Some(manager.to_owned()),
        }
    }

    /// A pool without a status, of which one address is given.
    fn one() -> PoolStatuses {
        let mut statuses = PoolStatuses::default();
        statuses.apply("lan", StatusView::default(), at(0));
        statuses.want(&usage(1));
        statuses
    }

    /// The same, written by us.
    fn settled() -> PoolStatuses {
        let mut statuses = one();
        let write = statuses.poll_write(at(0)).unwrap();
        assert_eq!(write.counts, [1, 0, 3, MANY]);
        statuses.handle_written(&write, true, at(0));
        assert_eq!(statuses.poll_write(at(100)), None, "nothing has changed");
        assert_eq!(statuses.poll_timeout(), None);
        statuses
    }

    /// What is written by then.
    fn written(statuses: &mut PoolStatuses, now: Instant) -> Option<Counts> {
        let write = statuses.poll_write(now)?;
        statuses.handle_written(&write, true, now);
        statuses.apply("lan", shown(write.counts, FIELD_MANAGER), now);
        Some(write.counts)
    }

    #[test]
    fn a_status_is_written_on_change_and_at_most_once_a_second() {
        let mut statuses = one();
        let write = statuses.poll_write(at(5)).unwrap();
        statuses.want(&usage(2));
        assert_eq!(statuses.poll_write(at(9)), None, "one is under way");
        statuses.handle_written(&write, true, at(5));
        assert_eq!(statuses.poll_timeout(), Some(at(6)));
        assert_eq!(statuses.poll_write(Instant::from_millis(5_999)), None);
        assert_eq!(written(&mut statuses, at(6)), Some([2, 0, 2, MANY]));
        statuses.want(&usage(2));
        assert_eq!(written(&mut statuses, at(60)), None);
        statuses.want(&[]);
        assert_eq!(
            written(&mut statuses, at(61)),
            None,
            "another replica leads"
        );
    }

    #[test]
    fn what_failed_is_tried_again_later() {
        let mut statuses = one();
        let write = statuses.poll_write(at(0)).unwrap();
        statuses.handle_written(&write, false, at(1));
        assert_eq!(statuses.poll_write(at(5)), None);
        assert_eq!(written(&mut statuses, at(6)), Some([1, 0, 3, MANY]));
    }

    #[test]
    fn a_hand_edit_and_what_metallb_left_are_put_right_each_time() {
        let mut statuses = settled();
        for n in 1..=5 {
            statuses.apply("lan", shown([5; 4], "kubectl-edit"), at(n * 2));
            assert_eq!(written(&mut statuses, at(n * 2)), Some([1, 0, 3, MANY]));
        }
        let mut statuses = one();
        statuses.apply("lan", shown([0, 0, 4, 0], "controller"), at(1));
        assert_eq!(written(&mut statuses, at(1)), Some([1, 0, 3, MANY]));
    }

    #[test]
    fn a_living_metallb_has_it_for_ten_minutes() {
        let mut statuses = settled();
        statuses.apply("lan", shown([0, 0, 4, 0], "controller"), at(10));
        assert_eq!(written(&mut statuses, at(10)), Some([1, 0, 3, MANY]));
        statuses.apply("lan", shown([0, 0, 4, 0], "controller"), at(12));
        assert_eq!(written(&mut statuses, at(600)), None);
        assert_eq!(written(&mut statuses, at(612)), Some([1, 0, 3, MANY]));
    }

    #[test]
    fn a_stranger_has_it_for_ever() {
        let mut statuses = one();
        statuses.apply("lan", shown([0; 4], "another-operator"), at(1));
        assert_eq!(written(&mut statuses, at(3_600)), None);
    }

    #[test]
    fn a_status_is_read_with_whoever_wrote_it_last() {
        let entry = |manager: &str, subresource: &str, second: u8| {
            json!({ "manager": manager, "operation": "Update", "subresource": subresource,
                    "time": format!("2026-01-01T00:00:0{second}Z") })
        };
        let pool = json!({
            "metadata": { "name": "lan", "managedFields": [
                entry("kubectl", "", 9), entry("other", "status", 3), entry("controller", "status", 5),
            ] },
            "status": { "assignedIPv4": 1, "assignedIPv6": 2, "availableIPv4": 3, "availableIPv6": MANY },
        });
        let view = |pool: &Value| {
            let pool = serde_json::from_value(pool.clone()).unwrap();
            StatusView::of(&pool)
        };
        assert_eq!(view(&pool), shown([1, 2, 3, MANY], "controller"));
        let mut half = pool;
        half["status"] = json!({ "assignedIPv4": 1 });
        assert_eq!(view(&half).counts, None);
    }
}
