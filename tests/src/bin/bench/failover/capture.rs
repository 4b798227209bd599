//! What is on the wire, told line by line: a node's death whose pods are taken out of rotation, and a connection
//! that is kept while its address moves. tcpdump runs on every host and takes what the host sends, so each frame
//! is there once; what is written to the API is heard by watches, since on the wire it is TLS.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use ferrolb_tests::Lab;
use ferrolb_tests::cluster::SOON;
use ferrolb_tests::rotation::{install, victim, wait_until_all_ready};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::answering_macs;

use self::heard::Heard;
use self::recorder::Recorder;
use self::story::{Death, Move, Names};
use crate::figures::pause;

mod heard;
mod packet;
mod recorder;
mod story;

/// Both in one installation.
const VALUES: &str = "deadNodes: {endpoints: remove}\nspeaker: {keepConnections: {enabled: true}}";
/// New connections before and after the death, this far apart: each is some lines.
const CONNECT_EACH: Duration = Duration::from_millis(50);
/// Requests over the kept connection.
const ASK_EACH: Duration = Duration::from_millis(200);
const BEFORE: Duration = Duration::from_millis(300);
/// Pods are out of rotation after 0.7 s; a busy machine gets its time.
const AFTER_DEATH: Duration = Duration::from_millis(2_500);
const AFTER_MOVE: Duration = Duration::from_millis(700);
/// A connect to a dead pod is given up then.
const PATIENCE: Duration = Duration::from_secs(1);

/// When an instrument's record begins to be told.
#[derive(Clone, Copy)]
struct Zero(SystemTime);

impl Zero {
    /// Milliseconds after it, or before.
    fn millis(self, at: SystemTime) -> f64 {
        match at.duration_since(self.0) {
            Ok(after) => after.as_secs_f64() * 1_000.0,
            Err(before) => -before.duration().as_secs_f64() * 1_000.0,
        }
    }
}

pub(crate) fn run() -> Result<()> {
    Lab::builder("capture").nodes(3).run(|lab| {
        let target = install(lab, VALUES)?;
        wait_until_all_ready(lab)?;
        let IpAddr::V4(vip) = target.ip() else {
            bail!("{target} is not of IPv4");
        };
        kept_connection(lab, target, vip)?;
        marked_death(lab, target, vip)
    })
}

/// The node that announces an address.
fn owner(lab: &Lab, vip: Ipv4Addr) -> Result<String> {
    let macs = answering_macs(lab, vip)?;
    let nodes = lab.nodes();
    let node = nodes.iter().find(|node| macs.contains(&node.mac));
    Ok(node.context("nobody announces the address")?.name.clone())
}

fn marked_death(lab: &Lab, target: SocketAddr, vip: Ipv4Addr) -> Result<()> {
    let node = victim(lab, target)?;
    let owner = owner(lab, vip)?;
    let alive: Vec<_> = lab
        .network()
        .hosts()
        .iter()
        .map(|host| host.name.clone())
        .collect();
    let recorder = Recorder::start(lab, alive.iter().filter(|host| **host != node))?;
    let heard = Heard::start(lab)?;
    let begun = Instant::now();
    let client = lab.client()?.clone();
    let connects = thread::spawn(move || client.enter(|| connect_again_and_again(target, begun)));
    pause(BEFORE);
    let zero = Zero(SystemTime::now());
    lab.cut(&node, false)?;
    pause(AFTER_DEATH);
    let api = heard.stop();
    let _ = connects.join();
    let names = Names::of(lab, vip)?;
    println!("\n## A node's death: {node} falls silent at 0; {owner} announces {vip}\n");
    println!("    ms  from   to");
    Death::new(names, &node, &owner, vip).tell(&recorder.stop(lab)?, &api, zero);
    lab.heal(&node)
}

/// One connection after the other, each on its own thread: those to the dead pod take their time.
fn connect_again_and_again(target: SocketAddr, begun: Instant) {
    let mut under_way = Vec::new();
    while begun.elapsed() < BEFORE + AFTER_DEATH {
        under_way.push(thread::spawn(move || {
            // Its end is on the wire.
            drop(TcpStream::connect_timeout(&target, PATIENCE));
        }));
        pause(CONNECT_EACH);
    }
    for one in under_way {
        let _ = one.join();
    }
}

fn kept_connection(lab: &Lab, target: SocketAddr, vip: Ipv4Addr) -> Result<()> {
    let old = owner(lab, vip)?;
    let nodes = lab.nodes();
    let new = nodes.iter().find(|node| node.name != old);
    let (new, its) = new
        .map(|node| (node.name.clone(), node.mac))
        .context("there is one node")?;
    let hosts = lab.network().hosts();
    let recorder = Recorder::start(lab, hosts.iter().map(|host| &host.name))?;
    let heard = Heard::start(lab)?;
    let mut kept = lab.client()?.enter(|| TcpStream::connect(target))??;
    kept.set_read_timeout(Some(PATIENCE))?;
    kept.set_nodelay(true)?;
    let port = kept.local_addr()?.port();
    let enough = Arc::<AtomicBool>::default();
    let of_thread = Arc::clone(&enough);
    let asked = thread::spawn(move || ask(&mut kept, &of_thread));
    pause(BEFORE);
    let zero = Zero(SystemTime::now());
    lab.kubectl(&[
        "annotate",
        "service",
        "web",
        &format!("ferrolb.io/move-to={new}"),
    ])?;
    let has_moved = || Ok(answering_macs(lab, vip)? == [its]);
    wait_until(SOON, has_moved, || Ok(())).context("the address does not move")?;
    pause(AFTER_MOVE);
    enough.store(true, Ordering::Relaxed);
    let answers = asked
        .join()
        .map_err(|_| anyhow::anyhow!("asking ended"))??;
    pause(BEFORE);
    let api = heard.stop();
    let names = Names::of(lab, vip)?;
    println!(
        "## A connection that is kept: {vip} moves from {old} to {new}, ordered at 0; {answers} of its requests \
         are answered, all of them\n"
    );
    println!("    ms  from   to");
    Move::new(names, &old, &new, vip, port).tell(&recorder.stop(lab)?, &api, zero);
    Ok(())
}

/// Redis answers each PING; how many it answered. One that it does not answer is an error.
fn ask(stream: &mut TcpStream, enough: &AtomicBool) -> Result<u32> {
    let mut answers = 0;
    while !enough.load(Ordering::Relaxed) {
        stream
            .write_all(b"PING\r\n")
            .context("the connection broke")?;
        let read = stream.read(&mut [0; 64]).context("no answer")?;
        if read == 0 {
            bail!("the connection was closed");
        }
        answers += 1;
        pause(ASK_EACH);
    }
    Ok(answers)
}
