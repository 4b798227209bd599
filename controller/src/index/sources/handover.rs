//! The compiled object: what another process has left in it, and what has to stand there.

use std::time::Duration;

use ferrolb_core::Instant;
use ferrolb_core::compiled::{self, Compiled, Unread};
use ferrolb_core::config::Config;
use ferrolb_core::config::objects::Objects;
use ferrolb_core::source::Source;

use super::super::Index;
use super::{Sourcing, Write};
use crate::compiled::{CompiledView, CompiledWrite, Written};

/// Whom the API server did not let write asks again.
pub(super) const WRITE_AGAIN: Duration = Duration::from_secs(5);
impl Index {
    /// The compiled object was read; `None` if there is none.
    pub fn handle_compiled(&mut self, view: Option<CompiledView>) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let is_first = sourcing.seen.is_none();
        sourcing.seen = Some(view);
        sourcing.is_open = true;
        sourcing.compare();
        if is_first || !self.leading {
            self.take_over_compiled(is_first);
            self.follow_text();
        }
    }

    /// Whoever follows has the ConfigMap in force, unless the leader says that objects are.
    pub(super) fn follow_text(&mut self) {
        let (leading, is_listed) = (self.leading, self.config_listed);
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let counts =
            sourcing.seen.is_some() && sourcing.sources.in_force() != Some(Source::Objects);
        if !leading && is_listed && counts && std::mem::take(&mut sourcing.text_is_news) {
            let text = sourcing.text.clone();
            self.put_text(text.as_ref(), true);
        }
    }

    /// What another process has put in force is in force.
    fn take_over_compiled(&mut self, is_first: bool) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        let read = match sourcing.seen.iter().flatten().next() {
            Some(view) => compiled::read(&view.data, &view.uid),
            None => Err(Unread::Unmarked),
        };
        match read {
            Ok(Compiled { memory, config }) => {
                let is_of_objects = memory.source == Source::Objects;
                sourcing.text_is_news |= sourcing.sources.in_force() != Some(memory.source);
                sourcing.sources.restore(memory);
                let namespace = sourcing.namespace.clone();
                sourcing.compiler = Some(match is_of_objects {
                    true => Objects::restored(namespace, &config),
                    false => Objects::new(namespace),
                });
                // A ConfigMap is read by whoever follows, too.
                let effect = match is_first || !is_of_objects {
                    true => self.in_force.start_from(config),
                    false => self.in_force.put(config),
                };
                self.config_is_no_news = true;
                self.follow_labels();
                self.tell_of_config(effect);
            }
            Err(unread) => {
                let namespace = sourcing.namespace.clone();
                if is_first {
                    sourcing.compiler = Some(Objects::new(namespace));
                }
                let refusal = unread.refusal();
                if let Some(refusal) =
                    refusal.filter(|it| sourcing.said_unread.as_ref() != Some(it))
                {
                    tracing::warn!(reason = %refusal.reason, "{refusal}");
                    sourcing.said_unread = Some(refusal);
                }
            }
        }
    }

    /// The next write of the compiled object.
    pub fn poll_compiled(&mut self, now: Instant) -> Option<CompiledWrite> {
        let sourcing = self.sourcing.as_mut()?;
        let is_due = match &sourcing.writing {
            Write::Due => true,
            Write::Failed(until, _) => *until <= now,
            Write::Idle | Write::UnderWay => false,
        };
        if !(is_due && self.leading && sourcing.is_judged) {
            return None;
        }
        let write = wanted(sourcing, self.in_force.current());
        sourcing.writing = match write {
            Some(_) => Write::UnderWay,
            None => Write::Idle,
        };
        write
    }

    /// What came of a write of the compiled object.
    pub fn handle_compiled_written(&mut self, written: Written, now: Instant) {
        let Some(sourcing) = &mut self.sourcing else {
            return;
        };
        match written {
            Written::Done(view) => {
                sourcing.seen = Some(Some(view));
                sourcing.writing = Write::Due;
            }
            Written::Conflict => {
                sourcing.writing =
                    Write::Failed(now + WRITE_AGAIN, "it changed meanwhile".to_owned());
            }
            Written::Failed(error) => {
                let name = &sourcing.name;
                tracing::warn!(
                    name,
                    error,
                    "compiled configuration not written, trying again"
                );
                sourcing.writing = Write::Failed(now + WRITE_AGAIN, error);
            }
        }
    }

    /// Whether statuses have to wait: they depend on what no speaker can read yet.
    pub(in crate::index) fn awaits_compiled(&self) -> bool {
        self.sourcing.as_ref().is_some_and(|sourcing| {
            sourcing.sources.in_force() == Some(Source::Objects)
                && sourcing.writing != Write::Idle
                && wanted(sourcing, self.in_force.current()).is_some()
        })
    }
}

/// What has to be written, if something has.
fn wanted(sourcing: &Sourcing, current: Option<&Config>) -> Option<CompiledWrite> {
    let (memory, config) = sourcing.sources.memory().zip(current)?;
    let view = sourcing.seen.as_ref()?.as_ref()?;
    let compiled = Compiled {
        memory,
        config: config.clone(),
    };
    // One that does not fit comes from a ConfigMap, which speakers read themselves.
    let data = compiled::write(&compiled, &view.uid).ok()?;
    (!compiled::says(&view.data, &data)).then(|| CompiledWrite {
        name: sourcing.name.clone(),
        resource_version: view.resource_version.clone(),
        data,
    })
}
