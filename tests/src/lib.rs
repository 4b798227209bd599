//! The lab: a whole Kubernetes cluster on one Linux machine, without a container engine.
//!
//! ```text
//! Lab::builder(name).nodes(3).start()
//!   preflight      what the machine must have
//!   debian         programs of Debian packages, unpacked into the cache instead of installed
//!   tools          Kubernetes, etcd, helm: built from pinned Go modules, cached
//!   state          what is made, written down first          ending   Ctrl-C
//!   net            a bridged LAN of network namespaces
//!   control_plane  etcd, API server, controller manager, scheduler, with certificates of pki
//!   real           nodes with containerd and kubelet, DNS    image    what runs on them
//!   hollow         nodes without a kubelet and pods without a container, each pod an echo server
//!   daemon         our controller and speaker as processes, with the chart's rights
//!   cluster        hollow nodes with our daemons, a Service and an ear on the LAN
//!   observe        instruments on the LAN: frames, datagrams, connections, pages
//!   rotation       a Service with a pod on each node, and a node that dies
//!   scene          what a user does to it, told step by step
//!   failure        what is kept when a test fails
//! ```
//!
//! [`lab::Lab`] is the way in; the program `lab` does the same by hand.

use std::path::Path;

pub mod book;
pub mod cluster;
pub mod command;
pub mod control_plane;
pub mod daemon;
pub mod debian;
pub mod demo;
pub mod echo;
pub mod echo_service;
mod ending;
mod failure;
pub mod hollow;
pub mod image;
pub mod kube_proxy;
pub mod kubernetes;
pub mod lab;
pub mod leftovers;
pub mod lifetime;
pub mod manifests;
pub mod net;
pub mod observe;
pub mod pki;
pub mod preflight;
pub mod process;
pub mod progress;
pub mod real;
pub mod reference;
pub mod registry;
pub mod release;
pub mod rotation;
mod scene;
pub mod stage;
pub mod state;
pub mod tools;
pub mod wait;
pub mod walk;

pub use lab::{Lab, NodeKind};

/// The root of the source tree.
pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}
