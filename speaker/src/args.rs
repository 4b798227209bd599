//! The command line, compatible with `MetalLB`'s speaker.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use ferrolb_core::announce;
use ferrolb_core::cordon::Cordon;
use ferrolb_core::elect::ExcludeLabel;
use ferrolb_core::ownership::{CALM, FAST, PORT, Preference, Settings};
use ferrolb_kube::args::{Shared, variable};
use ferrolb_kube::client::Patience;
use kube::Client;

use crate::votes::Votes;

use crate::keep;

/// Announces the addresses of Services that this node owns.
#[derive(Debug, Clone, Parser)]
#[command(name = "speaker", version)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,

    #[command(flatten)]
    pub shared: Shared,

    /// Name of this node, as in the API [env: FERROLB_NODE_NAME, METALLB_NODE_NAME]
    #[arg(long)]
    pub node_name: Option<String>,

    /// What the Node label node.kubernetes.io/exclude-from-external-load-balancers means: prefer other
    /// nodes, or strict: announce nothing there
    #[arg(long, value_name = "prefer|strict", default_value = "prefer")]
    pub exclude_label: ExcludeLabel,

    /// Network interfaces to announce on and no others; a pool can narrow them down
    /// [default: all that a LAN can be behind]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub interfaces: Vec<String>,

    /// Directory of the keys that prove who is a speaker: each file is one, the last name signs
    #[arg(long, default_value = "/etc/ferrolb/peers")]
    pub peer_keys_dir: PathBuf,

    /// UDP port of the speakers among themselves, the same for all of them
    /// [env: FERROLB_PEERS_PORT, METALLB_ML_BIND_PORT] [default: 7946]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub peers_port: Option<u16>,

    /// How soon a silent node is taken for dead
    #[arg(long, value_enum, default_value_t = FailureDetection::Auto)]
    pub failure_detection: FailureDetection,

    /// Announcements of all addresses together that may leave in one second
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub announce_rate: u32,

    /// Seconds after which an address is announced again, and again; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub announce_refresh: u32,
    /// Give an address back to the node that comes first in MetalLB's order as soon as it is there:
    /// each time, connections through the other one are reset
    #[arg(long)]
    pub failback: bool,

    /// What a mere cordon of a node does to the addresses that it announces: move, or stay until its pods end,
    /// it is tainted as leaving, or its speaker is told to stop
    #[arg(long, value_name = "move|stay", default_value = "move")]
    pub cordon: Cordon,

    /// Keep open connections when an address moves: the socket of the keeper in this pod, which passes them on
    /// to the node that has them
    #[arg(long, value_name = "SOCKET")]
    pub keeper: Option<PathBuf>,

    /// Write a ServiceL2Status of MetalLB's for each Service that this node announces
    #[arg(long)]
    pub service_l2_status: bool,

    /// This speaker's pod, so that what it writes goes with it
    #[arg(long, value_name = "NAME/UID")]
    pub pod: Option<String>,

    /// For how long connections are kept, at most, after an address has moved
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub keep_connections_seconds: u32,

    /// What is done with the endpoints of a node that speakers find dead: with remove, this one tells the
    /// controller when it found a node dead
    #[arg(long, value_enum, default_value_t = DeadNodes::Leave)]
    pub dead_nodes: DeadNodes,

    /// How long a dead node has to be silent before the controller is told, such as 500ms or 1s
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = pause)]
    pub dead_nodes_after: Duration,
}

/// What is done with the endpoints of a dead node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeadNodes {
    /// Nothing: Kubernetes takes them out of rotation after 50 s.
    Leave,
    /// The controller takes them out of rotation, told by the speakers.
    Remove,
}

/// What to do instead of announcing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Ask the network who answers for each address that somebody should announce, beside the speaker
    /// of this node; fails if not exactly one does
    Ask,
}

/// How soon a silent node is taken for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailureDetection {
    /// After 0.1 s; between two nodes, where nobody can confirm it, after 0.4 s.
    Auto,
    /// The same, and after 0.1 s also between two nodes.
    Fast,
    /// After a second: for virtual machines that are paused or migrated.
    Calm,
}

impl FailureDetection {
    /// What it means for the protocol.
    #[must_use]
    fn settings(self) -> Settings {
        match self {
            Self::Auto => FAST,
            // One round of probes more than a verdict with witnesses takes.
            Self::Fast => Settings {
                alone: FAST.verdict() + FAST.probe_gap,
                ..FAST
            },
            Self::Calm => CALM,
        }
    }
}

impl Args {
    /// Fills what was not given from the environment. `environment` looks a variable up.
    pub fn complete(
        mut self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Self> {
        self.node_name = self
            .node_name
            .or_else(|| variable(&environment, "NODE_NAME"));
        anyhow::ensure!(
            self.node_name.is_some(),
            "the name of this node is not known: set --node-name or FERROLB_NODE_NAME (in a pod \
             from fieldRef spec.nodeName)"
        );
        if self.peers_port.is_none() {
            self.peers_port = peers_port(&environment)?;
        }
        self.shared.complete(environment)?;
        Ok(self)
    }

    /// The UDP port of the speakers among themselves.
    #[must_use]
    pub fn peers_port(&self) -> u16 {
        self.peers_port.unwrap_or(PORT)
    }

    /// How addresses are announced.
    #[must_use]
    pub fn announce(&self) -> announce::Settings {
        let refresh = Duration::from_secs(self.announce_refresh.into());
        announce::Settings {
            rounds_per_second: self.announce_rate,
            refresh: (!refresh.is_zero()).then_some(refresh),
            ..announce::Settings::default()
        }
    }

    /// Whether connections are kept, and how.
    #[must_use]
    pub fn keep_connections(&self) -> Option<keep::Options> {
        let socket = self.keeper.clone()?;
        let longest = Duration::from_secs(self.keep_connections_seconds.into());
        Some(keep::Options { socket, longest })
    }

    /// How long to wait for an API server that is silent: with a vote to write, less.
    #[must_use]
    pub fn patience(&self) -> Patience {
        match self.dead_nodes {
            DeadNodes::Leave => Patience::USUAL,
            DeadNodes::Remove => Patience::SHORT,
        }
    }

    /// Whoever tells the controller of dead nodes.
    #[must_use]
    pub fn votes(&self, client: &Client, namespace: &str) -> Option<Votes> {
        let me = self.node_name.clone().unwrap_or_default();
        (self.dead_nodes == DeadNodes::Remove).then(|| Votes::spawn(client.clone(), namespace, me))
    }

    /// What the speakers among themselves go by.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let votes = self.dead_nodes == DeadNodes::Remove;
        let settings = Settings {
            votes_after: votes.then_some(self.dead_nodes_after),
            ..self.failure_detection.settings()
        };
        if self.failback {
            Settings {
                preference: Preference::BestRank,
                ..settings
            }
        } else {
            settings
        }
    }
}

/// Milliseconds or seconds, at most a minute.
fn pause(text: &str) -> anyhow::Result<Duration> {
    let number = |suffix| text.strip_suffix(suffix)?.parse::<u32>().ok();
    let pause = number("ms")
        .map(|millis| Duration::from_millis(millis.into()))
        .or_else(|| number("s").map(|seconds| Duration::from_secs(seconds.into())));
    pause
        .filter(|pause| *pause <= Duration::from_mins(1))
        .context("write a number with its unit, at most a minute: 500ms, 1s")
}

/// The variable of ours, or that of `MetalLB`'s manifests.
fn peers_port(environment: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<u16>> {
    for name in ["FERROLB_PEERS_PORT", "METALLB_ML_BIND_PORT"] {
        if let Some(text) = environment(name).filter(|text| !text.is_empty()) {
            let port: NonZeroU16 = text
                .parse()
                .with_context(|| format!("{name} {text:?} is not a port from 1 to 65535"))?;
            return Ok(Some(port.get()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Args> {
        let args = Args::try_parse_from([&["speaker"], args].concat())?;
        args.complete(|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_arguments_of_metallbs_manifests_are_taken() {
        let environment = [
            ("METALLB_NODE_NAME", "n1"),
            ("METALLB_HOST", "192.168.64.11"),
            ("METALLB_ML_BIND_ADDR", "192.168.64.11"),
        ];
        let args = parse(&["--port=7472", "--config=config"], &environment).unwrap();
        assert_eq!(args.node_name.as_deref(), Some("n1"));
        assert_eq!(args.shared.host, Some([192, 168, 64, 11].into()));
    }

    #[test]
    fn the_pace_of_announcements_and_their_refresh_are_the_flags_and_the_defaults_of_core() {
        let node = [("METALLB_NODE_NAME", "n1")];
        let announce = |args: &[&str]| parse(args, &node).unwrap().announce();
        assert_eq!(announce(&[]), announce::Settings::default());
        let slow = announce(&["--announce-rate=100", "--announce-refresh=0"]);
        assert_eq!((slow.rounds_per_second, slow.refresh), (100, None));
        assert!(parse(&["--announce-rate=0"], &node).is_err());
    }

    #[test]
    fn a_flag_wins_over_our_variable_and_ours_over_metallbs() {
        let environment = [
            ("FERROLB_NODE_NAME", "ours"),
            ("METALLB_NODE_NAME", "theirs"),
        ];
        let name = |args: &[&str], environment: &[_]| parse(args, environment).unwrap().node_name;
        assert_eq!(
            name(&["--node-name=flag"], &environment).as_deref(),
            Some("flag")
        );
        assert_eq!(name(&[], &environment).as_deref(), Some("ours"));
        assert_eq!(name(&[], &environment[1..]).as_deref(), Some("theirs"));
    }

    #[test]
    fn without_a_node_name_the_error_says_what_to_set() {
        let error = parse(&[], &[("METALLB_NODE_NAME", "")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--node-name") && error.contains("FERROLB_NODE_NAME"),
            "{error}"
        );
    }

    #[test]
    fn addresses_stay_where_they_are_unless_failback_is_asked_for() {
        let environment = [("FERROLB_NODE_NAME", "n1")];
        let settings = |args: &[&str]| parse(args, &environment).unwrap().settings();
        assert_eq!(settings(&[]), FAST);
        let asked = settings(&["--failback", "--failure-detection=calm"]);
        let preference = Preference::BestRank;
        assert_eq!(asked, Settings { preference, ..CALM });
    }

    #[test]
    fn connections_are_kept_only_where_a_keeper_is_named_and_for_an_hour_at_most() {
        let environment = [("FERROLB_NODE_NAME", "n1")];
        let options = |args: &[&str]| parse(args, &environment).map(|args| args.keep_connections());
        assert_eq!(options(&[]).unwrap(), None);
        assert_eq!(options(&["--keep-connections-seconds=60"]).unwrap(), None);
        let expected = |seconds| {
            let (socket, longest) = ("/run/keeper.sock".into(), Duration::from_secs(seconds));
            Some(keep::Options { socket, longest })
        };
        let keeper = "--keeper=/run/keeper.sock";
        assert_eq!(options(&[keeper]).unwrap(), expected(600));
        let asked = [keeper, "--keep-connections-seconds=3600"];
        assert_eq!(options(&asked).unwrap(), expected(3_600));
        for bad in ["0", "3601", "forever"] {
            assert!(options(&[keeper, &format!("--keep-connections-seconds={bad}")]).is_err());
        }
    }

    #[test]
    fn deaths_are_told_after_half_a_second_or_as_asked_for_and_only_if_somebody_asks() {
        let node = [("FERROLB_NODE_NAME", "n1")];
        let default = parse(&[], &node).unwrap();
        assert_eq!(default.dead_nodes, DeadNodes::Leave);
        assert_eq!(default.dead_nodes_after, ferrolb_core::dead::AFTER);
        assert_eq!(default.settings().votes_after, None);
        assert_eq!(default.patience(), Patience::USUAL);
        let asked = parse(&["--dead-nodes=remove"], &node).unwrap();
        assert_eq!(asked.patience(), Patience::SHORT);
        let after = |text: &str| {
            let after = format!("--dead-nodes-after={text}");
            let args = parse(&["--dead-nodes=remove", &after], &node)?;
            anyhow::Ok(args.settings().votes_after.unwrap())
        };
        for (text, millis) in [
            ("0s", 0),
            ("0ms", 0),
            ("200ms", 200),
            ("2s", 2_000),
            ("60s", 60_000),
        ] {
            assert_eq!(after(text).unwrap().as_millis(), millis, "{text}");
        }
        for bad in ["", "500", "-1s", "61s", "1m", "s"] {
            let error = after(bad).unwrap_err().to_string();
            assert!(error.contains("500ms, 1s"), "{error}");
        }
    }

    #[test]
    fn the_speakers_port_is_the_flag_our_variable_metallbs_or_the_usual_one() {
        let port = |args: &[&str], variables: &[(&str, &str)]| {
            let environment = [&[("METALLB_NODE_NAME", "n1")], variables].concat();
            parse(args, &environment).map(|args| args.peers_port())
        };
        let metallbs = ("METALLB_ML_BIND_PORT", "7949");
        assert_eq!(port(&[], &[]).unwrap(), 7946);
        assert_eq!(port(&[], &[("METALLB_ML_BIND_PORT", "")]).unwrap(), 7946);
        assert_eq!(port(&[], &[metallbs]).unwrap(), 7949);
        let ours = ("FERROLB_PEERS_PORT", "7948");
        assert_eq!(port(&[], &[metallbs, ours]).unwrap(), 7948);
        assert_eq!(port(&["--peers-port=7947"], &[ours]).unwrap(), 7947);
        assert!(port(&["--peers-port=0"], &[]).is_err());
        for bad in ["0", "65536", "udp"] {
            let error = port(&[], &[("FERROLB_PEERS_PORT", bad)]).unwrap_err();
            assert!(
                format!("{error:#}").contains("FERROLB_PEERS_PORT"),
                "{error:#}"
            );
        }
    }
}
