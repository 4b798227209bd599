//! Access to a cluster, with kubectl's own options and defaults.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::output::of_server;

/// A server that does not take a connection within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Nor one that begins no answer within this time: kube waits for ever.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects of a list that are held at once.
const PAGE: u32 = 500;

/// Of the options in this file. Each says so itself: those of a verb that follow have another.
pub(crate) const HEADING: &str = "Cluster";

/// Which cluster.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Access {
    /// Context of the kubeconfig [default: the current one]
    #[arg(long, help_heading = HEADING)]
    context: Option<String>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    kubeconfig: Option<PathBuf>,
}

/// For verbs about FerroLB itself: `-n` is where it runs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Installation {
    /// Namespace that FerroLB runs in [default: where its pods are found]
    #[arg(short, long, visible_alias = "system-namespace", help_heading = HEADING)]
    namespace: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// For verbs about Services: `-n` is where those are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OfServices {
    /// Namespace of the Services asked for [default: the context's]
    #[arg(short, long, help_heading = HEADING)]
    namespace: Option<String>,
    /// Namespace that FerroLB runs in [default: where its pods are found]
    #[arg(long, value_name = "NAMESPACE", help_heading = HEADING)]
    system_namespace: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// For verbs that list Services.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Scope {
    #[command(flatten)]
    pub(crate) services: OfServices,
    /// In all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace", help_heading = HEADING)]
    pub(crate) all_namespaces: bool,
}

/// A cluster that answers.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// Of the Services asked for, if none is named: the context's.
    pub(crate) namespace: String,
    /// Where FerroLB is said to run.
    pub(crate) system_namespace: Option<String>,
    /// Whether it was said that pods elsewhere look like FerroLB's: once is enough.
    pub(crate) told_of_others: AtomicBool,
    /// Whether it was said whose answer is waited for.
    pub(crate) told_of_waiting: AtomicBool,
}

impl Installation {
    /// Connects, and does `work` there.
    pub(crate) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.access.run(None, self.namespace.as_deref(), work)
    }
}

impl OfServices {
    /// Connects, and does `work` there.
    pub(crate) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (namespace, system) = (&self.namespace, &self.system_namespace);
        self.access
            .run(namespace.as_deref(), system.as_deref(), work)
    }
}

impl Access {
    /// Connects, and does `work` there.
    pub(crate) fn run<T>(
        &self,
        namespace: Option<&str>,
        system_namespace: Option<&str>,
        work: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            let mut config = self.config().await?;
            if let Some(namespace) = namespace {
                namespace.clone_into(&mut config.default_namespace);
            }
            let server = config.cluster_url.clone();
            let done = work(&connect(config, system_namespace)?).await;
            done.map_err(|error| of_server(error, &server))
        })
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(path) = &self.kubeconfig {
            let cannot = || format!("cannot use --kubeconfig {}", path.display());
            let file = Kubeconfig::read_from(path).with_context(cannot)?;
            return Config::from_custom_kubeconfig(file, &options)
                .await
                .with_context(cannot);
        }
        if let Some(context) = &self.context {
            return Config::from_kubeconfig(&options)
                .await
                .with_context(|| format!("cannot use --context {context}"));
        }
        // As kubectl does: a kubeconfig, or else the pod that this runs in.
        Config::infer()
            .await
            .context("no cluster: set KUBECONFIG, or use --kubeconfig FILE")
    }
}

fn connect(mut config: Config, system_namespace: Option<&str>) -> anyhow::Result<Cluster> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // A person waits: an error that can be read now is better than one in minutes.
    config.default_retry = false;
    Ok(Cluster {
        namespace: config.default_namespace.clone(),
        system_namespace: system_namespace.map(str::to_owned),
        told_of_others: AtomicBool::new(false),
        told_of_waiting: AtomicBool::new(false),
        client: Client::try_from(config).context("the kubeconfig cannot be used")?,
    })
}

impl Cluster {
    /// What `keep` makes of each object of a kind, in all namespaces.
    pub(crate) async fn every<K, T>(&self, keep: impl Fn(K) -> Option<T>) -> anyhow::Result<Vec<T>>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        pages(&Api::all(self.client.clone()), &K::plural(&()), keep).await
    }
}

/// What `keep` makes of each object that there is. Only a page of them is held at once.
pub(crate) async fn pages<K, T>(
    api: &Api<K>,
    plural: &str,
    keep: impl Fn(K) -> Option<T>,
) -> anyhow::Result<Vec<T>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    pages_of(api, plural, ListParams::default(), keep).await
}

/// The same, of those that `params` select.
pub(crate) async fn pages_of<K, T>(
    api: &Api<K>,
    plural: &str,
    params: ListParams,
    keep: impl Fn(K) -> Option<T>,
) -> anyhow::Result<Vec<T>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.limit(PAGE);
    let mut kept = Vec::new();
    loop {
        let page = api.list(&params).await;
        let page = page.with_context(|| format!("cannot list {plural}"))?;
        let next = page.metadata.continue_.filter(|more| !more.is_empty());
        kept.extend(page.items.into_iter().filter_map(&keep));
        match next {
            Some(more) => params = params.continue_token(&more),
            None => return Ok(kept),
        }
    }
}
