//! `kubectl ferrolb dump`: everything that somebody else needs to see what is wrong.

mod objects;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::json;

use crate::cluster::{Access, Cluster};
use crate::controller::STATUS;
use crate::daemons::{Daemon, USUAL_NAMESPACE};

/// Write all that is needed to find a fault into a folder.
///
/// Versions, the configuration, the Services of type LoadBalancer with their endpoints, Nodes and Events,
/// and of each daemon its pod, log, status and metrics. Secrets are not read, and passwords are taken out
/// of the configuration; addresses, names and labels of your cluster are in it: look before you pass it on.
///
/// Exit status: 0 if all is there, 1 if something could not be had (errors.txt says what), 2 if nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    /// Folder to write, which must not exist yet
    #[arg(default_value = "ferrolb-dump", value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    access: Access,
}

/// Lines of each log: a day, at the usual level.
const LOG_LINES: i64 = 20_000;

impl Dump {
    pub(crate) fn run(&self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        self.access.run(async |cluster| {
            let mut folder = Folder::create(&self.folder)?;
            folder.collect(cluster).await;
            let Folder { errors, files, .. } = &folder;
            writeln!(out, "{files} files in {}", self.folder.display())?;
            if errors.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            for error in errors {
                writeln!(out, "missing: {error}")?;
            }
            fs::write(self.folder.join("errors.txt"), errors.join("\n") + "\n")?;
            Ok(ExitCode::FAILURE)
        })
    }
}

/// What has been written, and what could not be had.
struct Folder {
    path: PathBuf,
    files: u32,
    errors: Vec<String>,
}

impl Folder {
    fn create(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            files: 0,
            errors: Vec::new(),
        })
    }

    /// Keeps a part under this name, or the reason why there is none: a broken cluster is what this is
    /// for.
    fn keep(&mut self, name: &str, part: anyhow::Result<impl AsRef<[u8]>>) {
        let written = part.and_then(|bytes| {
            let path = self.path.join(name);
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        });
        match written {
            Ok(()) => self.files += 1,
            Err(error) => self.errors.push(format!("{name}: {error:#}")),
        }
    }

    async fn collect(&mut self, cluster: &Cluster) {
        self.keep("versions.json", versions(cluster).await);
        let daemons = cluster.daemons().await.unwrap_or_else(|error| {
            self.errors.push(format!("the daemons: {error:#}"));
            Vec::new()
        });
        if daemons.is_empty() {
            self.errors.push("no daemon runs".to_owned());
        }
        let (namespace, config) = cluster.config_source(&daemons).await;
        let text = objects::config(cluster, &namespace, &config).await;
        self.keep("config.yaml", text);
        let namespace = daemons.first().map(|daemon| daemon.namespace.clone());
        let namespace = namespace.or_else(|| cluster.system_namespace.clone());
        let namespace = namespace.unwrap_or_else(|| USUAL_NAMESPACE.to_owned());
        for (name, part) in objects::all(cluster, &namespace).await {
            self.keep(&name, part);
        }
        for daemon in &daemons {
            self.collect_from(cluster, daemon).await;
        }
    }

    async fn collect_from(&mut self, cluster: &Cluster, daemon: &Daemon) {
        let pod = &daemon.pod;
        for (path, kind) in [(STATUS, "status.json"), ("/metrics", "metrics.txt")] {
            let answer = cluster.read(daemon, path).await;
            self.keep(&format!("{pod}.{kind}"), answer);
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
                log => self.keep(&format!("{pod}.{kind}"), log.map_err(Into::into)),
            }
        }
    }
}

async fn versions(cluster: &Cluster) -> anyhow::Result<String> {
    let server = cluster.client.apiserver_version().await;
    let server = server.context("the API server does not tell its version")?;
    Ok(serde_json::to_string_pretty(&json!({
        "plugin": env!("CARGO_PKG_VERSION"),
        "server": server.git_version,
        "platform": server.platform,
    }))?)
}
