//! `kubectl ferrolb dump`: everything that somebody else needs to see what is wrong.

mod bundle;
mod objects;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use ferrolb_core::names::{COMPILED_NAME, DEFAULT_NAMESPACE};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde::Serialize;
use serde_json::json;

use self::bundle::Bundle;
use crate::cluster::{Cluster, Installation};
use crate::daemons::{Daemon, STATUS};
use crate::output::{Format, causes, counted};
use crate::terminal::WARNING;

/// Pack everything that is needed to find a fault into one file.
///
/// It contains versions, the configuration, the Services of type LoadBalancer with their endpoints, Nodes and
/// Events, and the pod, log, status and metrics of each daemon. Secrets are not read, and passwords are removed
/// from the configuration, also from MetalLB's objects. Addresses, names and labels of your cluster are in it: check it before you share it.
///
/// Exit status: 0 if it is complete, 1 if something is missing (it says what, also in errors.txt), 2 if the
/// cluster does not answer or the file cannot be written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dump {
    /// File to write, which must not exist yet [default: ferrolb-dump-TIME.tar.gz, in UTC]
    file: Option<PathBuf>,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  # For a bug report
  kubectl ferrolb dump

  # To look at it yourself
  kubectl ferrolb dump case-17.tar.gz && tar -xzf case-17.tar.gz && ls case-17";

/// Lines of each log: a day, at the usual level.
const LOG_LINES: i64 = 20_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// The archive.
    file: PathBuf,
    bytes: u64,
    /// What is in it.
    files: Vec<String>,
    /// What is not, and why.
    missing: Vec<String>,
}

impl Dump {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        let answer = self.installation.run(async |cluster| {
            // Where nobody answers there is nothing to pack.
            let versions = versions(cluster).await?;
            let mut bundle = Bundle::create(self.file.as_deref(), Timestamp::now())?;
            bundle.keep("versions.json", Ok(versions))?;
            bundle.collect(cluster).await?;
            bundle.finish()
        })?;
        self.format.print(out, &answer, |out| text(out, &answer))?;
        Ok(if answer.missing.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

impl Bundle {
    async fn collect(&mut self, cluster: &Cluster) -> anyhow::Result<()> {
        progress("the configuration")?;
        let daemons = cluster.daemons().await.unwrap_or_else(|error| {
            self.missing
                .push(format!("the daemons: {}", causes(&error)));
            Vec::new()
        });
        if daemons.is_empty() {
            self.missing.push("no FerroLB daemon is running".to_owned());
        }
        let (namespace, config) = cluster.config_source(&daemons).await;
        let text = objects::config(cluster, &namespace, &config).await;
        self.keep("config.yaml", text)?;
        let namespace = daemons.first().map(|daemon| daemon.namespace.clone());
        let namespace = namespace.or_else(|| cluster.system_namespace.clone());
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let compiled = daemons.iter().find_map(|one| one.compiled.as_deref());
        let compiled = compiled.unwrap_or(COMPILED_NAME);
        progress("Services, Nodes, Events, what is running")?;
        for (name, part) in objects::all(cluster, &namespace, compiled).await {
            self.keep(&name, part)?;
        }
        for (number, daemon) in daemons.iter().enumerate() {
            let of_all = format!("{} of {}", number + 1, daemons.len());
            progress(&format!("pod {} ({of_all})", daemon.pod))?;
            self.collect_from(cluster, daemon).await?;
        }
        Ok(())
    }

    async fn collect_from(&mut self, cluster: &Cluster, daemon: &Daemon) -> anyhow::Result<()> {
        let pod = &daemon.pod;
        for (path, kind) in [(STATUS, "status.json"), ("/metrics", "metrics.txt")] {
            let answer = cluster.read(daemon, path).await;
            self.keep(&format!("{pod}.{kind}"), answer)?;
        }
        let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &daemon.namespace);
        for (previous, kind) in [(false, "log"), (true, "previous.log")] {
            let params = LogParams {
                previous,
                tail_lines: Some(LOG_LINES),
                container: Some(daemon.component.name().to_owned()),
                ..LogParams::default()
            };
            match api.logs(pod, &params).await {
                // It has never been restarted.
                Err(kube::Error::Api(status)) if previous && status.code == 400 => {}
                log => self.keep(&format!("{pod}.{kind}"), log.map_err(Into::into))?,
            }
        }
        Ok(())
    }
}

/// Apart from the answer: it takes a while on a large cluster.
fn progress(what: &str) -> anyhow::Result<()> {
    writeln!(crate::terminal::stderr(), "collecting {what}")?;
    Ok(())
}

fn text(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    for missing in &answer.missing {
        writeln!(out, "{WARNING}missing:{WARNING:#} {missing}")?;
    }
    writeln!(
        out,
        "{}: {}, {} kB\n\
         contains: versions, the configuration, Services of type LoadBalancer with their endpoints, Nodes, \
         Events, and the pods, logs, status and metrics of FerroLB\n\
         does not contain: Secrets, or the passwords in the configuration\n\
         names, labels and addresses of your cluster are in it: check it before you share it",
        answer.file.display(),
        counted(answer.files.len(), "file"),
        answer.bytes.div_ceil(1000),
    )?;
    Ok(())
}

async fn versions(cluster: &Cluster) -> anyhow::Result<String> {
    let server = cluster.client.apiserver_version().await;
    let server = server.context("the API server did not return its version")?;
    Ok(serde_json::to_string_pretty(&json!({
        "plugin": env!("CARGO_PKG_VERSION"),
        "server": server.git_version,
        "platform": server.platform,
    }))?)
}
