//! FerroLB beside what else announces Services, or moves addresses, at layer 2: in labs of the same shape, one after
//! another, with the same faults and the same instruments, in one run. What one of them cannot do has a word of why
//! instead of a figure.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use ferrolb_tests::Lab;
use ferrolb_tests::command::stdout_of;

use self::fault::Fault;
use self::ferrolb::FerroLb;
use self::figures::{Contender, Figure, Run};
use self::keepalived::Keepalived;
use self::kube_vip::KubeVip;
use self::metallb::MetalLb;
use self::peer::Peer;
use self::scene::Scene;

mod chart;
mod cost;
mod fault;
mod ferrolb;
mod figures;
mod keepalived;
mod kube_vip;
mod metallb;
mod page;
mod peer;
mod scene;
mod services;

/// What a run has found, and what is made of it.
const FIGURES: &str = "peers.json";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds of each fault
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// How long each is looked at while it has nothing to do
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Only these: `FerroLB`, `MetalLB`, `MetalLB 0.12`, `kube-vip`, `kube-vip, svc_election`, `keepalived`, …
    #[arg(long)]
    only: Vec<String>,

    /// Only these faults
    #[arg(long, value_enum)]
    fault: Vec<Fault>,

    /// Where the page, the pictures and the figures go
    #[arg(long)]
    out: Option<PathBuf>,

    /// Measure nothing: make page and pictures again from the figures of the last run
    #[arg(long)]
    render: bool,
}

/// One with its settings; an error says why it cannot be had here.
type Make = fn() -> Result<Box<dyn Peer>>;

/// All that are measured, in the order of the page.
const CONTENDERS: [(&str, Make); 7] = [
    ("FerroLB", || Ok(Box::new(FerroLb))),
    ("MetalLB", || Ok(Box::new(MetalLb::newest()?))),
    ("MetalLB 0.12", || {
        Ok(Box::new(MetalLb::last_with_a_config_map()?))
    }),
    ("kube-vip", || Ok(Box::new(KubeVip::new(false)?))),
    ("kube-vip, svc_election", || {
        Ok(Box::new(KubeVip::new(true)?))
    }),
    ("keepalived", || Ok(Box::new(Keepalived::new(false)?))),
    ("keepalived, advert_int 0.1", || {
        Ok(Box::new(Keepalived::new(true)?))
    }),
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| root.join("docs/benchmarks"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    if args.render {
        let figures = fs::read_to_string(out.join(FIGURES)).context("no figures of a run")?;
        return page::write(&out, &serde_json::from_str(&figures)?);
    }
    let mut run = Run {
        command: command(args),
        date: k8s_openapi::jiff::Timestamp::now()
            .strftime("%Y-%m-%d %H:%M UTC")
            .to_string(),
        commit: figures::commit(&root)?,
        machine: figures::machine()?,
        load: figures::load(),
        kubernetes: String::new(),
        rounds: args.rounds,
        idle_seconds: args.seconds,
        contenders: Vec::new(),
    };
    for (name, make) in CONTENDERS {
        if !args.only.is_empty() && !args.only.iter().any(|only| name == only) {
            continue;
        }
        match make().and_then(|peer| measure(&*peer, args, &mut run.kubernetes)) {
            Ok(contender) => {
                println!("{}", page::lines_of(&contender));
                run.contenders.push(contender);
            }
            Err(error) => println!("{name} is left out: {error:#}"),
        }
        // What is there by now is not lost with what comes.
        fs::write(out.join(FIGURES), serde_json::to_string_pretty(&run)?)?;
    }
    page::write(&out, &run)
}

/// What repeats the run.
fn command(args: &Args) -> String {
    let mut arguments = String::new();
    let defaults = (args.rounds, args.seconds) == (5, 60);
    if !defaults || !args.only.is_empty() || !args.fault.is_empty() {
        arguments += &format!(" ROUNDS={} IDLE={}", args.rounds, args.seconds);
    }
    if !args.only.is_empty() {
        arguments += &format!(" (only {})", args.only.join(", "));
    }
    format!("make bench-peers{arguments}")
}

fn measure(peer: &dyn Peer, args: &Args, kubernetes: &mut String) -> Result<Contender> {
    let faults = match &args.fault[..] {
        [] => Fault::value_variants(),
        some => some,
    };
    println!("{} {}, {}", peer.name(), peer.version()?, peer.settings());
    let mut scene = Scene::prepare(peer)?;
    *kubernetes = version(scene.lab())?;
    let others = cost::writes_of_others(scene.lab())?;
    scene.start()?;
    let knows_services = peer.knows_services();
    let why = |none: &Figure<()>| match none {
        Figure::Of(()) => None,
        Figure::None(why) => Some(why.clone()),
    };
    let services = match why(&knows_services) {
        None => Figure::from(services::one_by_one(&scene)),
        Some(why) => Figure::None(why),
    };
    let (cost, api) = match cost::idle(&scene, args.seconds, others) {
        Ok((cost, api)) => (Figure::Of(cost), Figure::Of(api)),
        Err(error) => {
            let why = format!("failed: {error:#}");
            (Figure::None(why.clone()), Figure::None(why))
        }
    };
    let api = match why(&knows_services) {
        None => api,
        Some(_) => Figure::None("it has nothing to do with the API server".to_owned()),
    };
    let arp = cost::arp(&mut scene)?;
    let faults = faults
        .iter()
        .map(|fault| {
            let rounds = fault::rounds(&scene, *fault, args.rounds);
            (*fault, Figure::from(rounds))
        })
        .collect();
    let at_once = match why(&knows_services) {
        None => Figure::from(scene.renew().and_then(|()| services::at_once(&scene))),
        Some(why) => Figure::None(why),
    };
    Ok(Contender {
        name: peer.name().to_owned(),
        version: peer.version()?,
        settings: peer.settings().to_owned(),
        drain: peer.drain_words().to_owned(),
        faults,
        services,
        at_once,
        arp,
        cost,
        api,
    })
}

/// Of the API server.
fn version(lab: &Lab) -> Result<String> {
    let mut kubectl = lab.kubectl_command()?;
    let said = stdout_of(kubectl.args(["version", "-o", "json"]), "")?;
    let said: serde_json::Value = serde_json::from_str(&said)?;
    let version = said["serverVersion"]["gitVersion"].as_str();
    Ok(version.context("no version")?.to_owned())
}
