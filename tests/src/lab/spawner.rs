//! A thread that starts processes. The kernel's parent-death signal is tied to the thread that
//! forked, so this one lives as long as the lab.

use std::sync::{Mutex, PoisonError, mpsc};

use anyhow::{Context, Result, anyhow};

type Job = Box<dyn FnOnce() + Send>;

/// Ends when it is dropped.
#[derive(Default)]
pub(super) struct Spawner {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

impl Spawner {
    /// Runs `work` on the thread and waits for it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = mpsc::channel();
        let job = Box::new(move || {
            // The caller waits for it.
            let _ = answer.send(work());
        });
        self.sender()?
            .send(job)
            .map_err(|_| anyhow!("the thread that starts processes is gone"))?;
        answered
            .recv()
            .context("the thread that starts processes is gone")?
    }

    fn sender(&self) -> Result<mpsc::Sender<Job>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*jobs {
            return Ok(sender.clone());
        }
        let (sender, receiver) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("lab-spawner".to_owned())
            .spawn(move || receiver.into_iter().for_each(|job| job()))
            .context("cannot start a thread")?;
        Ok(jobs.insert(sender).clone())
    }
}
