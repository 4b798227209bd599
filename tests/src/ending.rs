//! Ctrl-C and SIGTERM: the labs of this process are removed before it dies of the signal.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::progress::Progress;
use crate::state::State;

/// The labs of this process.
static LABS: Mutex<Vec<Weak<State>>> = Mutex::new(Vec::new());

/// From now on a signal that ends this process ends this lab first.
pub(crate) fn end_on_signal(state: &Arc<State>) -> Result<()> {
    static INSTALL: Once = Once::new();
    let mut installed = Ok(());
    INSTALL.call_once(|| installed = install());
    let mut labs = LABS.lock().unwrap_or_else(PoisonError::into_inner);
    labs.retain(|lab| lab.strong_count() > 0);
    labs.push(Arc::downgrade(state));
    installed
}

fn install() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    thread::Builder::new()
        .name("lab-signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                end_all();
                // Dies of it, as whoever sent it expects.
                let _ = emulate_default_handler(signal);
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

fn end_all() {
    let labs = std::mem::take(&mut *LABS.lock().unwrap_or_else(PoisonError::into_inner));
    for lab in labs.iter().filter_map(Weak::upgrade) {
        if lab.is_detached() {
            continue;
        }
        if let Err(error) = lab.end() {
            Progress::Shown.say(format_args!("{error:#}"));
        }
    }
}
