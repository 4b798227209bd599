//! Two links of a node on one LAN, as a cable and Wi-Fi: one station for each address.

#![expect(clippy::print_stdout, reason = "how long it took is worth reading")]

use serde_json::json;

use crate::*;

const SECOND: MacAddress = MacAddress([2, 0, 0, 0, 0xe1, 1]);

/// Plugs another cable of the node in, with addresses of the same subnets.
fn plug_in(node: &Host) -> Result<()> {
    let lan = node.namespace.replace(&node.name, "lan");
    let netns = &node.namespace;
    ip_batch(
        &lan,
        &[
            format!("link add second type veth peer name eth1 address {SECOND} netns {netns}"),
            "link set second master br0 up".to_owned(),
        ],
    )?;
    ip_batch(
        netns,
        &[
            "addr add 192.168.64.111/24 dev eth1".to_owned(),
            "addr add fd00:64::111/64 dev eth1 nodad".to_owned(),
            "link set eth1 up".to_owned(),
        ],
    )
}

#[test]
fn of_two_links_into_one_subnet_one_answers_and_the_other_one_when_its_carrier_goes() -> Result<()>
{
    // One node: others reach a node by its own address, which is on the link that loses its carrier, and
    // would take over after a while.
    let cluster = start("two", 1, &format!("{VIP}/32, {VIP6}/128"))?;
    create_service(&cluster, "web", &BOTH)?;
    let owner = seen(&cluster, "announcement", |frame| {
        announces(frame, VIP.into())
    })?;
    let node = node_at(&cluster, owner.source)?;
    plug_in(&node)?;
    let links = |carrying: &str, standing_by: &str| -> Result<()> {
        let shown = || -> Result<Vec<Value>> {
            let vips = cluster.status(&node.name)?["vips"].take();
            let vips = vips.as_array().into_iter().flatten();
            Ok(vips
                .map(|vip| json!([vip["links"], vip["standbyLinks"]]))
                .collect())
        };
        let list = |words: &str| words.split_whitespace().map(Value::from).collect::<Value>();
        let want = json!([list(carrying), list(standing_by)]);
        let is_so = || Ok(shown()?.iter().all(|one| *one == want));
        wait_until(SOON, is_so, || Ok(())).with_context(|| format!("{:?}, not {want}", shown()))
    };
    links("eth0", "eth1")?;
    assert_eq!(
        Cluster::stations(cluster.lab.client()?, "eth0", VIP)?,
        [node.mac]
    );

    for (carrier, mac, shown) in [
        (false, SECOND, ("eth1", "")),
        (true, node.mac, ("eth0", "eth1")),
    ] {
        let changed = Instant::now();
        match carrier {
            false => cluster.lab.cut(&node.name, true)?,
            true => cluster.lab.heal(&node.name)?,
        }
        for vip in BOTH {
            let announced =
                |frame: &Frame| frame.at >= changed && announces(frame, vip) && frame.source == mac;
            let frame = seen(&cluster, "announcement on the other link", announced)?;
            println!(
                "carrier {carrier}: {vip} announced after {:?}",
                frame.at - changed
            );
        }
        links(shown.0, shown.1)?;
        assert_eq!(
            Cluster::stations(cluster.lab.client()?, "eth0", VIP)?,
            [mac],
            "carrier {carrier}"
        );
    }
    // Each of them was this node all along: nobody else took the address, or was taken for another host.
    let events = cluster
        .lab
        .kubectl(&["get", "events", "-o", "custom-columns=R:.reason"])?;
    ensure!(!events.contains("addressConflict"), "{events}");
    Ok(())
}
