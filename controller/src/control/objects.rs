//! What the loop does for `MetalLB`'s objects and for the compiled object.

use ferrolb_core::Instant;
use ferrolb_core::config::objects::{Kind, ObjectView};
use ferrolb_core::source::Change;
use ferrolb_kube::objects::{Told, Untyped, object_view};
use futures::future::FutureExt;
use tokio::time::sleep;

use super::{Control, EVENTS, REMOVAL_TIMEOUT};
use crate::compiled::CompiledView;
use crate::configuration_state::{self, State};
use crate::pool_status::{self, StatusView};
use crate::watch::Seen;

/// What is read of an object of `MetalLB`'s.
#[derive(Debug)]
pub(super) struct Object {
    view: ObjectView,
    status: StatusView,
}

impl Object {
    pub(super) fn of(kind: Kind, version: &str, object: &Untyped) -> Self {
        Self {
            view: object_view(kind, version, object),
            status: StatusView::of(object),
        }
    }
}

impl Control {
    pub(super) fn take_compiled(&mut self, seen: Seen<CompiledView>) {
        match seen {
            Seen::Applied(view) => self.index.handle_compiled(Some(view)),
            Seen::Deleted(key) if *key.name == *self.compiled_name => {
                self.index.handle_compiled(None)
            }
            Seen::Deleted(_) => {}
            Seen::Listed { views, unreadable } => {
                // One that cannot be decoded exists all the same.
                if unreadable.is_empty() {
                    self.index.handle_compiled(views.into_iter().next());
                }
            }
            Seen::Unreadable(_) => self.take_unreadable(),
        }
        self.publish();
    }

    pub(super) fn take_objects(&mut self, told: Told<Object>) {
        let now = self.clock.now();
        match told {
            Told::Kinds(kinds, asked) => {
                let age = asked.elapsed();
                self.index.handle_kinds(&kinds, now.before(age));
            }
            Told::Object(kind, event) => {
                self.metrics.updates.inc();
                let list = self.object_lists.entry(kind).or_default();
                let Some(seen) = list.take(event) else {
                    return;
                };
                if kind == Kind::IpAddressPool {
                    self.take_pool_status(&seen, now);
                }
                let change = match seen {
                    Seen::Applied(object) => Change::Applied(object.view),
                    Seen::Deleted(key) => Change::Deleted(key.name.to_string()),
                    Seen::Listed { views, unreadable } => Change::Listed {
                        objects: views.into_iter().map(|object| object.view).collect(),
                        unreadable: unreadable.iter().map(|key| key.name.to_string()).collect(),
                    },
                    Seen::Unreadable(_) => return self.take_unreadable(),
                };
                self.index.handle_object(kind, change, now);
            }
        }
    }

    fn take_pool_status(&mut self, seen: &Seen<Object>, now: Instant) {
        let statuses = &mut self.pool_statuses;
        match seen {
            Seen::Applied(pool) => statuses.apply(&pool.view.name, pool.status.clone(), now),
            Seen::Deleted(key) => statuses.delete(&key.name),
            Seen::Listed { views, .. } => {
                statuses.retain(|name| views.iter().any(|pool| pool.view.name == name));
                for pool in views {
                    statuses.apply(&pool.view.name, pool.status.clone(), now);
                }
            }
            Seen::Unreadable(_) => {}
        }
    }

    /// What is told of the objects in their own statuses. Nothing else waits for it.
    pub(super) fn start_object_writes(&mut self) {
        let judged = self.index.objects_error().map(State::Judged);
        if judged.is_none() {
            self.pool_statuses.want(&[]);
        } else if self.rights.pool_status {
            while self.pool_writes.len() < EVENTS {
                let Some(write) = self.pool_statuses.poll_write(self.clock.now()) else {
                    break;
                };
                let namespace = self.namespace.clone();
                let write = pool_status::send(self.client.clone(), namespace, write);
                self.pool_writes.push(write.boxed());
            }
        }
        let is_aside = self.index.leaves_objects_aside();
        let state = judged.or_else(|| is_aside.then_some(State::Aside));
        let is_news = state.is_some() && state != self.state_said;
        if let Some(state) = state
            && is_news
            && self.rights.configuration_state
            && self.state_write.is_none()
        {
            let namespace = self.namespace.clone();
            let write = configuration_state::send(self.client.clone(), namespace, state);
            // One that failed is not repeated at once.
            self.state_write = Some(write.then(paused).boxed());
        }
    }
}

/// Waits after what failed.
async fn paused((state, is_done): (State, bool)) -> (State, bool) {
    if !is_done {
        sleep(REMOVAL_TIMEOUT).await;
    }
    (state, is_done)
}
