//! The controller's start and end.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, anyhow};
use ferrolb_kube::admin::{Readiness, Server, probes_come_from};
use ferrolb_kube::backoff::delay;
use ferrolb_kube::client;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::admin;
use crate::args::Args;
use crate::control::{self, Control};
use crate::dead::{self, DeadNodes, Endpoints};
use crate::metrics::Metrics;
use crate::peers_key;
use crate::rights::Rights;

/// An answer to a single question takes no longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The start failed, or a task ended that never should.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let args = args.complete(|name| std::env::var(name).ok())?;
    let namespace = args.shared.namespace();
    let client = client::connect(args.shared.kubeconfig.as_deref(), args.patience()).await?;
    let metrics = Metrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let removes = args.dead_nodes == Endpoints::Remove;
    let of_dead_nodes = removes.then(|| dead::Metrics::register(&mut registry));
    let readiness = Readiness::waiting_for("start: the API server did not answer yet");
    let (pages, asked) = admin::pages(registry, readiness.clone());
    let mut stop = std::pin::pin!(stop_signal()?);
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(
        version,
        namespace,
        config = args.shared.config,
        "controller starting"
    );

    let (host, port) = (args.shared.host, args.shared.port);
    let node = probes_come_from(args.node_ip);
    let mut serving = tokio::spawn(async move {
        Server::bind(host, port, node).await?.serve(pages).await;
        anyhow::Ok(())
    });
    let rights = tokio::select! {
        rights = read_rights(&client, namespace, &args, &readiness) => rights,
        ended = &mut serving => return Err(ended_early("monitoring server", ended)),
        () = &mut stop => return Ok(()),
    };
    if let Some(name) = &args.peers_secret {
        ensure_peers_key(&client, namespace, name).await;
    }
    let dead_nodes = of_dead_nodes.map(|metrics| {
        DeadNodes::spawn(dead::Start {
            client: client.clone(),
            namespace: namespace.to_owned(),
            node_ip: args.node_ip,
            instance: control::instance(),
            allowed: rights.dead_nodes,
            events: rights.create_events,
            metrics,
        })
    });
    let mut control = Control::new(
        &args,
        namespace,
        client,
        rights,
        metrics,
        (readiness, asked),
    );
    control.set_dead_nodes(dead_nodes);
    let ended = tokio::select! {
        never = control.run() => match never {},
        ended = &mut serving => Err(ended_early("monitoring server", ended)),
        () = &mut stop => Ok(()),
    };
    tracing::info!("controller stopping");
    control.drain().await;
    ended
}

/// Asks until there is an answer: without one, nothing else would work either. Where a leader has to
/// be elected, until that is allowed: a role may be bound a moment after the pod has started, and two
/// controllers that lead alone would write against each other.
async fn read_rights(
    client: &Client,
    namespace: &str,
    args: &Args,
    readiness: &Readiness,
) -> Rights {
    let (elect, lease) = (args.leader_elect, &args.lease_name);
    let compiled = &args.shared.compiled;
    let mut failures = 0;
    loop {
        let problem = match timeout(TIMEOUT, Rights::read(client, namespace, lease, compiled)).await
        {
            Ok(Ok(rights)) if rights.elect || !elect => {
                warn_of_missing(rights);
                return rights;
            }
            Ok(Ok(_)) => anyhow!(
                "no right to leases: allow this ServiceAccount to create them, and to list, watch \
                 and update {lease}, or run one replica without --leader-elect"
            ),
            Ok(Err(error)) => anyhow!(error).context("waiting for the API server"),
            Err(late) => anyhow!(late).context("waiting for the API server"),
        };
        failures += 1;
        if failures == 1 {
            tracing::warn!("{problem:#}");
        }
        readiness.set_missing(vec![format!("start: {problem:#}")]);
        sleep(delay(failures)).await;
    }
}

/// Without a key the speakers trust whoever reaches them, and work all the same.
async fn ensure_peers_key(client: &Client, namespace: &str, name: &str) {
    let made = match timeout(TIMEOUT, peers_key::ensure(client, namespace, name)).await {
        Ok(made) => made,
        Err(late) => Err(anyhow!(late)),
    };
    match made {
        Ok(true) => tracing::info!(secret = name, "created the speakers' key"),
        Ok(false) => {}
        Err(error) => tracing::warn!("cannot create the speakers' key: {error:#}"),
    }
}

fn warn_of_missing(rights: Rights) {
    if !(rights.patch_status || rights.update_status) {
        tracing::error!(
            "this ServiceAccount may neither patch nor update services/status: grant one of \
             them, or no Service gets an address"
        );
    }
    if !rights.create_events {
        tracing::warn!("this ServiceAccount may not create Events: they are only logged here");
    }
    for limit in rights.limits() {
        tracing::warn!("{limit}");
    }
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Which task ended, and why.
fn ended_early<T>(
    task: &str,
    ended: Result<anyhow::Result<T>, tokio::task::JoinError>,
) -> anyhow::Error {
    match ended {
        Ok(Ok(_)) => anyhow!("the {task} ended"),
        Ok(Err(error)) => error.context(format!("the {task} ended")),
        Err(panic) => anyhow!(panic).context(format!("the {task} ended")),
    }
}
