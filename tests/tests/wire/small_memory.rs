//! A kernel that gives sockets little memory for filters and memberships (`net.core.optmem_max`;
//! 20,480 bytes up to Linux 6.7, less where somebody set it so).

use crate::*;

const SERVICES: u8 = 60;

fn vips(n: u8) -> [IpAddr; 2] {
    // With gaps, so that a filter that is exact needs a range for each.
    let last = 4 * n;
    let v6 = Ipv6Addr::new(0xfd00, 0x64, 0, 0, 0, 0, 1, last.into());
    [[10, 64, 0, last].into(), v6.into()]
}

#[test]
fn with_little_memory_for_sockets_every_address_is_still_heard_and_answered() -> Result<()> {
    let cluster = start("optmem", 1, "10.64.0.0/24, fd00:64::1:0/120")?;
    let node = cluster.lab.host("n1")?;
    // Some 30 memberships of a socket, or a filter of 200 instructions.
    node.enter(|| set_sysctls(&[("core/optmem_max", "2048")]))??;
    let client = cluster.lab.client()?;
    let to_vips = "route add 10.64.0.0/24 dev eth0".to_owned();
    ip_batch(&client.namespace, &[to_vips])?;
    for n in 0..SERVICES {
        create_service(&cluster, &format!("web-{n}"), &vips(n))?;
    }
    cluster.wait_until_announced(2 * u32::from(SERVICES))?;
    for n in [0, SERVICES / 2, SERVICES - 1] {
        let [IpAddr::V4(v4), v6] = vips(n) else {
            unreachable!("one of each family")
        };
        assert_eq!(Cluster::stations(client, "eth0", v4)?, [node.mac], "{v4}");
        let page = cluster.page(v6)?;
        assert!(page.starts_with("pod=web-"), "{v6}: {page}");
    }
    let groups = node.enter(|| std::fs::read_to_string("/proc/thread-self/net/igmp6"))??;
    // The solicited-node groups of ours, ff02::1:ff01:0 and on.
    let joined = groups.matches("ff0200000000000000000001ff01").count();
    assert_eq!(joined, usize::from(SERVICES), "{groups}");
    let log = cluster.lab.log(&Daemon::speaker("n1").process_name())?;
    assert!(!log.contains("cannot "), "{log}");
    Ok(())
}
