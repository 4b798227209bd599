//! Why no node of the cluster is answered: two that answer each other pass a packet round until its
//! TTL ends.

use std::collections::BTreeSet;

use ferrolb_tests::observe::ArpResponder;

use crate::*;

/// Frames of one ping for `VIP`, which two nodes announce: each answers for it, as speakers do that
/// have not settled yet who owns it.
fn frames_of_a_ping(lab: &Lab, answer_nodes: bool) -> Result<usize> {
    let nodes = lab.nodes();
    let never: BTreeSet<MacAddress> = match answer_nodes {
        true => BTreeSet::new(),
        false => nodes.iter().map(|node| node.mac).collect(),
    };
    let responders: Vec<_> = nodes
        .iter()
        .map(|node| {
            node.enter(|| ArpResponder::start("eth0", VIP, never.clone()))?
                .context("responder")
        })
        .collect::<Result<_>>()?;
    let forwarded = || -> Result<u64> {
        let mut count = 0;
        for node in &nodes {
            let snmp = node.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))??;
            // The second line of `Ip:`; ForwDatagrams is its 6th number (RFC 1213).
            let line = snmp.lines().filter(|line| line.starts_with("Ip:")).nth(1);
            let field = line.and_then(|line| line.split_whitespace().nth(6));
            count += field.context("no ForwDatagrams")?.parse::<u64>()?;
        }
        Ok(count)
    };
    let before = forwarded()?;
    let client = lab.client()?;
    let vip = VIP.to_string();
    let mut ping = client.command("ping");
    // It is not answered; what counts is what it starts.
    ping.args(["-c", "1", "-W", "1", "-t", "64", &vip])
        .output()?;
    if answer_nodes {
        // The nodes ask each other first, and an answer may be late.
        let loops = || Ok(forwarded()? - before > 30);
        let _ = wait_until(Duration::from_secs(60), loops, || Ok(()));
    }
    let after = forwarded()?;
    drop(responders);
    for host in nodes.iter().chain([&client]) {
        ip_batch(&host.namespace, &["neigh flush dev eth0".to_owned()])?;
    }
    Ok((after - before).try_into()?)
}

#[test]
fn two_nodes_that_answer_each_other_loop_a_packet_and_two_that_do_not_drop_it() -> Result<()> {
    let lab = Lab::builder("loop")
        .nodes(2)
        .kind(NodeKind::Hollow)
        .start()?;
    let with_answers = frames_of_a_ping(&lab, true)?;
    ensure!(with_answers > 30, "no loop: forwarded {with_answers} times");
    let without = frames_of_a_ping(&lab, false)?;
    ensure!(without <= 3, "forwarded {without} times");
    Ok(())
}
