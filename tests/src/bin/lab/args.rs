//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use ferrolb_tests::kube_proxy::ProxyMode;
use ferrolb_tests::kubernetes::Version;

/// A whole Kubernetes cluster on this machine, without a container engine.
///
/// Hosts are network namespaces on a bridged LAN, 192.168.64.0/24 and fd00:64::/64:
///   cp          .2             the control plane
///   n1, n2, …   .11, .12, …    the nodes
///   client      .100           no part of the cluster
/// Nothing of the machine's own network is touched. Needs root.
#[derive(Parser)]
#[command(name = "lab", version, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Which lab: several can run side by side
    #[arg(
        long,
        global = true,
        default_value = "lab",
        env = "FERROLB_LAB",
        value_name = "NAME"
    )]
    pub(crate) name: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a lab and leave it running
    Up(UpArgs),
    /// Walk the reference walk on a lab of its own, step by step, and remove it
    Demo,
    /// Tell an installation from helm install to helm uninstall, on a lab of its own, with times and losses
    Lifetime,
    /// Remove a lab with everything in it
    Down {
        /// Remove all that `lab up` left running, and what killed labs left behind
        #[arg(long)]
        all: bool,
    },
    /// Show the labs of this machine, their hosts and processes
    Status,
    /// Run a command with the network of a host
    Exec {
        /// `cp`, a node, or `client`
        host: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run kubectl as the administrator
    Kubectl {
        /// What kubectl is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run helm as the administrator
    Helm {
        /// What helm is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Cut a host from the LAN: silently, its link stays up
    Cut {
        /// `cp`, a node, or `client`
        host: String,
        /// Take the link down instead, as a pulled cable does
        #[arg(long)]
        carrier: bool,
    },
    /// Undo `cut`
    Heal {
        /// `cp`, a node, or `client`
        host: String,
    },
    /// Stop a process of the lab, such as kube-apiserver
    Stop {
        /// One that `lab status` lists
        process: String,
        /// Kill it (SIGKILL) instead of asking it to end
        #[arg(long)]
        kill: bool,
    },
    /// Start a stopped process again
    Start {
        /// One that `lab status` lists
        process: String,
    },
    /// Start a controller or speaker on a host, with its own account and the chart's rights
    Daemon {
        /// Which one
        #[arg(value_enum)]
        component: Component,
        /// `cp` or a node
        host: String,
        /// Its further arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Show the log of a process, or which logs there are
    Logs {
        /// One that `lab status` lists
        process: Option<String>,
        /// Go on as it grows
        #[arg(short, long, requires = "process")]
        follow: bool,
    },
    /// Tell the ARP and neighbour-discovery frames of a capture (tcpdump -w) as the speaker reads them
    Decode {
        /// The capture
        file: PathBuf,
    },
    /// Build Kubernetes and the other tools, and start nothing
    Build,
    /// Load the images of controller, speaker, the walk's page and redis into the nodes
    Load,
    /// Write the images of controller, speaker and the walk's page as archives that docker, podman,
    /// minikube and ctr load
    Images {
        /// Where to
        #[arg(default_value = "target/images", value_name = "DIR")]
        directory: PathBuf,
    },
    /// Write the chart as plain manifests, for kubectl and kustomize
    Manifests {
        /// Where to
        #[arg(default_value = "deploy", value_name = "DIR")]
        directory: PathBuf,
    },
    /// Write the reference pages, the chart's table of values and its schema's descriptions from the code
    Reference {
        /// Where to: a source tree
        #[arg(default_value = ".", value_name = "DIR")]
        directory: PathBuf,
    },
    /// A preprocessor of mdBook, which `make docs` runs
    #[command(hide = true)]
    Book {
        /// What mdBook asks first: `supports RENDERER`
        args: Vec<String>,
    },
    /// Make all files of a release in target/release-VERSION, and list them
    Release {
        /// The tag that it is for, which has to fit the version
        #[arg(long)]
        tag: Option<String>,
    },
    /// Push images and chart of a release that was made to a registry
    Push {
        /// Where to, as host:port/path
        registry: String,
        /// It speaks HTTP without TLS
        #[arg(long)]
        plain_http: bool,
    },
    /// The server behind a hollow pod
    #[command(hide = true)]
    ServeEcho {
        #[arg(long)]
        pod: String,
        #[arg(long)]
        port: u16,
        addresses: Vec<IpAddr>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Component {
    Controller,
    Speaker,
}

#[derive(ClapArgs)]
pub(crate) struct UpArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) nodes: u8,
    /// Nodes without a kubelet: Node objects and a kube-proxy each
    #[arg(long)]
    pub(crate) hollow: bool,
    /// One node like minikube's: named minikube, 192.168.64.4, labelled as a control plane
    #[arg(long, conflicts_with = "nodes")]
    pub(crate) like_minikube: bool,
    /// The mode of kube-proxy [default: $FERROLB_PROXY, else iptables]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) proxy: Option<ProxyMode>,
    /// The version of Kubernetes [default: $FERROLB_KUBERNETES, else 1.34]
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(crate) kubernetes: Option<Version>,
    /// etcd, API server, controller manager and scheduler on every node, instead of a host of their own
    #[arg(long)]
    pub(crate) control_plane_on_nodes: bool,
    /// Stay, and remove the lab on Ctrl-C
    #[arg(long)]
    pub(crate) foreground: bool,
}
