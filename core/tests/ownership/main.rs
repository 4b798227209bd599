//! The ownership protocol, simulated: real state machines and real datagrams on a network with
//! faults, in virtual time. Every run is a seed.
//!
//! `cargo test` runs a few hundred seeds. For more:
//! `FERROLB_SEEDS=100 cargo test --release -p ferrolb-core --test ownership -- --nocapture`
//! runs a hundred times as many, and prints the figures.

#![expect(
    clippy::print_stdout,
    reason = "figures and traces are for people to read"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "how many seeds to run is the caller's to say"
)]

mod addresses;
mod api;
mod blocked;
mod changeover;
mod chaos;
mod checks;
mod cutoff;
mod faults;
mod figures;
mod freedom;
mod keep;
mod knowledge;
mod links;
mod network;
mod orders;
mod packets;
mod preferred;
mod random;
mod restarts;
mod rules;
mod spread;
mod stress;
mod subnets;
mod votes;
mod wire_rules;
mod world;

/// How many seeds a test runs: `few`, or as many times that as the environment says.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let times = std::env::var("FERROLB_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    0..few * times
}

/// Rings of so many hosts, each with so many seeds.
fn rings(hosts: impl IntoIterator<Item = usize>, few: u64) -> impl Iterator<Item = (usize, u64)> {
    let hosts = hosts.into_iter();
    hosts.flat_map(move |hosts| seeds(few).map(move |seed| (hosts, seed)))
}
