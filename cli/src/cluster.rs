//! Access to a cluster, with kubectl's own options and defaults.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

/// A server that does not take a connection within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects of a list that are held at once.
const PAGE: u32 = 500;

/// Which cluster, and where in it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Access {
    /// Namespace of the Services asked for [default: the context's]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig [default: the current one]
    #[arg(long)]
    context: Option<String>,
    /// Kubeconfig file [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace that FerroLB runs in [default: where its pods are found]
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) system_namespace: Option<String>,
}

/// For verbs that list.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Scope {
    #[command(flatten)]
    pub(crate) access: Access,
    /// In all namespaces
    #[arg(
        short = 'A',
        long,
        conflicts_with = "namespace",
        help_heading = "Cluster"
    )]
    pub(crate) all_namespaces: bool,
}

/// A cluster that answers.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// `-n`, or the context's.
    pub(crate) namespace: String,
    /// `--system-namespace`
    pub(crate) system_namespace: Option<String>,
}

impl Access {
    /// Connects, and does `work` there.
    pub(crate) fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Cluster) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime")?;
        runtime.block_on(async {
            let cluster = self.connect().await?;
            work(&cluster).await
        })
    }

    async fn connect(&self) -> anyhow::Result<Cluster> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // A person waits: an error that can be read now is better than one in minutes.
        config.default_retry = false;
        let namespace = &config.default_namespace;
        Ok(Cluster {
            namespace: self.namespace.clone().unwrap_or_else(|| namespace.clone()),
            system_namespace: self.system_namespace.clone(),
            client: Client::try_from(config).context("the kubeconfig cannot be used")?,
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
            .context("no cluster: set KUBECONFIG, or give --kubeconfig FILE")
    }
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
    let mut params = ListParams::default().limit(PAGE);
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
