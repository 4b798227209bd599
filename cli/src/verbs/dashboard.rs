//! `kubectl ferrolb dashboard`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use crate::cluster::Installation;
use crate::dashboard::{Dashboard as Page, View, snapshot};
use crate::terminal::stderr;

/// Show nodes, addresses, problems and what-ifs on a page in your browser.
///
/// The page is served by this program, on 127.0.0.1 alone, with your own rights. Nothing is installed in the cluster
/// and nothing is changed: for what it suggests, the page shows the command to copy. The address that is printed has a
/// secret in it, new each time: who has it, and can reach this host's loopback interface, sees what you see.
///
/// Exit status: 0 if you end it with Ctrl-C, or if the snapshot is written, 2 if the cluster does not answer or the
/// port is in use.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dashboard {
    /// Port on 127.0.0.1; 0 takes one that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Write the page as it is now into one file, for a ticket, and serve nothing
    #[arg(long, value_name = "FILE", conflicts_with = "port")]
    snapshot: Option<PathBuf>,
    #[command(flatten)]
    installation: Installation,
}

const EXAMPLES: &str = "\
Examples:
  # Open the address that it prints; Ctrl-C ends it
  kubectl ferrolb dashboard

  # From another machine: the same port on both ends, then open the address there
  ssh -t -L 8099:127.0.0.1:8099 admin@host kubectl ferrolb dashboard --port 8099

  # One file for a ticket
  kubectl ferrolb dashboard --snapshot outage.html";

impl Dashboard {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.installation.run(async |cluster| {
            // What cannot be read at all is said before there is a page.
            let picture = cluster.picture().await?;
            if let Some(file) = &self.snapshot {
                write(file, &View::of(&picture))?;
                writeln!(
                    out,
                    "{}: open it in a browser\nnames, labels and addresses of your cluster are in it: \
                     check it before you share it",
                    file.display()
                )?;
                return Ok(ExitCode::SUCCESS);
            }
            // The page says itself what does not answer.
            cluster.told_of_waiting.store(true, Ordering::Relaxed);
            let page = Page::listen(self.port).await?;
            writeln!(out, "{}", page.url())?;
            out.flush()?;
            writeln!(stderr(), "open it in a browser; Ctrl-C ends it")?;
            tokio::select! {
                () = page.serve(cluster) => {}
                ended = tokio::signal::ctrl_c() => ended.context("cannot wait for Ctrl-C")?,
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn write(path: &Path, view: &View) -> anyhow::Result<()> {
    let page = snapshot(view)?;
    let cannot = || format!("cannot create {}", path.display());
    // Whose file is there already is not ours to say.
    let mut file = File::create_new(path).with_context(cannot)?;
    file.write_all(page.as_bytes()).with_context(cannot)
}
