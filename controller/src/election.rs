//! Which replica leads: `ferrolb_core::lease` with a clock and a client.

use std::time::Duration;

use ferrolb_core::k8s::lease_view;
use ferrolb_core::lease::{Elector, LEASE_DURATION, LeaseView, LeaseWrite, RETRY_PERIOD};
use ferrolb_core::names::FIELD_MANAGER;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

use crate::waiting::{done, until};
use crate::watch::{Seen, watch};
use ferrolb_kube::clock::{Clock, identity};

/// The election, as one replica takes part in it.
pub enum Election {
    /// There is no right to Leases: this replica leads, and must be the only one.
    Alone,
    /// Over a Lease.
    ByLease(Box<ByLease>),
}

/// See [`Election::ByLease`].
pub struct ByLease {
    elector: Elector,
    clock: Clock,
    api: Api<Lease>,
    /// The Lease's name.
    name: String,
    seen: BoxStream<'static, Seen<LeaseView>>,
    /// The write that is under way.
    write: Option<BoxFuture<'static, Option<Lease>>>,
    /// `spec.acquireTime`, while we hold it.
    acquired: Option<MicroTime>,
    /// Nothing was read yet.
    unread: bool,
}

impl Election {
    /// Takes part for the pod called `instance`, over the Lease `name`.
    #[must_use]
    pub fn by_lease(client: Client, namespace: &str, name: &str, instance: &str) -> Self {
        let clock = Clock::start();
        let seen = watch(
            "Lease",
            Api::namespaced(client.clone(), namespace),
            &format!("metadata.name={name}"),
            |lease: &Lease| Some(lease_view(lease)),
        );
        Self::ByLease(Box::new(ByLease {
            elector: Elector::new(identity(instance), clock.now()),
            clock,
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            seen: seen.boxed(),
            write: None,
            acquired: None,
            unread: true,
        }))
    }

    /// Whether this replica gives addresses now.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::ByLease(lease) => lease.elector.is_leader(lease.clock.now()),
        }
    }

    /// The pod that leads, as far as is known; `None` without an election.
    #[must_use]
    pub fn leader(&self) -> Option<&str> {
        match self {
            Self::Alone => None,
            Self::ByLease(lease) => {
                let holder = lease.elector.holder()?;
                Some(holder.rsplit_once('_').map_or(holder, |(pod, _)| pod))
            }
        }
    }

    /// What hinders this replica from being ready to take over.
    #[must_use]
    pub fn blocker(&self) -> Option<String> {
        match self {
            Self::ByLease(lease) if lease.unread => {
                let name = &lease.name;
                Some(format!("leader election: Lease {name} not read yet"))
            }
            _ => None,
        }
    }

    /// Waits until something happened, and does what is due.
    pub async fn step(&mut self) {
        match self {
            Self::Alone => std::future::pending().await,
            Self::ByLease(lease) => lease.step().await,
        }
    }

    /// Gives the Lease back, so that the other replica need not wait.
    pub async fn release(&mut self) {
        let Self::ByLease(lease) = self else {
            return;
        };
        if let Some(write) = lease.write.take() {
            let accepted = write.await;
            lease.take_written(accepted);
        }
        lease.elector.release(lease.clock.now());
        lease.send_due();
        if let Some(write) = lease.write.take() {
            let accepted = write.await;
            lease.take_written(accepted);
        }
    }
}

impl ByLease {
    async fn step(&mut self) {
        self.send_due();
        let deadline = self.elector.poll_timeout();
        let deadline = deadline.map(|(at, _)| self.clock.timer(at));
        tokio::select! {
            Some(seen) = self.seen.next() => self.take_seen(seen),
            lease = done(&mut self.write) => {
                self.write = None;
                self.take_written(lease);
            }
            () = until(deadline) => {}
        }
        self.send_due();
    }

    fn take_seen(&mut self, seen: Seen<LeaseView>) {
        let now = self.clock.now();
        match seen {
            Seen::Applied(lease) => self.elector.handle_lease(Some(lease), now),
            Seen::Deleted(_) => self.elector.handle_lease(None, now),
            // One that cannot be decoded is there all the same.
            Seen::Listed { unreadable, .. } if !unreadable.is_empty() => {}
            Seen::Listed { views, .. } => {
                self.unread = false;
                self.elector.handle_lease(views.into_iter().next(), now);
            }
            Seen::Unreadable(_) => {}
        }
    }

    fn take_written(&mut self, lease: Option<Lease>) {
        let now = self.clock.now();
        match lease {
            Some(lease) => {
                self.acquired = lease
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.acquire_time.clone());
                self.elector.handle_accepted(lease_view(&lease), now);
            }
            None => self.elector.handle_refused(now),
        }
    }

    fn send_due(&mut self) {
        if let Some(write) = self.elector.poll_write(self.clock.now()) {
            let lease = self.lease(&write);
            self.write = Some(send(self.api.clone(), lease).boxed());
        }
    }

    fn lease(&self, write: &LeaseWrite) -> Lease {
        let now = MicroTime(Timestamp::now());
        let acquired = self.acquired.clone().filter(|_| !write.acquires);
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: write.resource_version.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: write.holder.clone(),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                lease_transitions: Some(write.transitions),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }
}

/// The Lease as it was written, if it was.
async fn send(api: Api<Lease>, lease: Lease) -> Option<Lease> {
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        dry_run: false,
    };
    let written = async {
        if lease.metadata.resource_version.is_none() {
            api.create(&params, &lease).await
        } else {
            let name = lease.metadata.name.as_deref().unwrap_or_default();
            api.replace(name, &params, &lease).await
        }
    };
    match timeout(RETRY_PERIOD, written).await {
        Ok(Ok(lease)) => Some(lease),
        // Another one was quicker; the watch shows who.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot write the Lease");
            None
        }
        Err(_) => {
            let seconds = Duration::as_secs(&RETRY_PERIOD);
            tracing::warn!(seconds, "writing the Lease timed out");
            None
        }
    }
}
