//! The reference walk on real nodes: images, helm and containers as a user has them. What is proved
//! is seen from the client on the LAN; kube-proxy answers nodes and pods by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::MacAddress;
use ferrolb_tests::observe::{FrameObserver, Page, arp_ask, http_get};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::{demo, walk};

/// Long enough for a machine with two busy cores; nothing waits that long when all is well.
const PATIENCE: Duration = Duration::from_secs(120);
const LOWEST_OF_THE_RANGE: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 240);
/// The only node of a lab like minikube has this address.
const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 64, 4);

#[test]
fn the_demo_walks_the_reference_walk_to_its_end() -> Result<()> {
    demo::run()
}

#[test]
fn a_node_like_minikubes_announces_an_address_of_a_range_in_spite_of_the_exclude_label()
-> Result<()> {
    on_a_lab_like_minikube(|lab| {
        walk::apply(lab, &["config-range.yaml"])?;
        assert_eq!(external_ip(lab, "test-lb")?, LOWEST_OF_THE_RANGE);
        let page = page_from_the_lan(lab, LOWEST_OF_THE_RANGE, 30_000)?;
        assert_eq!(page.status, 200, "{}", page.body);
        let node = lab.host("minikube")?;
        assert_eq!(answering_macs(lab, LOWEST_OF_THE_RANGE)?, [node.mac]);
        Ok(())
    })
}

#[test]
fn a_nodes_own_address_is_given_answers_and_is_not_announced() -> Result<()> {
    on_a_lab_like_minikube(|lab| {
        let frames = lab.client()?.enter(|| FrameObserver::start("eth0"))??;
        walk::apply(lab, &["config.yaml"])?;
        assert_eq!(external_ip(lab, "test-lb")?, NODE_ADDRESS);
        let page = page_from_the_lan(lab, NODE_ADDRESS, 30_000)?;
        assert_eq!(page.status, 200, "{}", page.body);
        // The node's kernel answers, once: a speaker that answered too would be a second answer.
        let node = lab.host("minikube")?;
        assert_eq!(answering_macs(lab, NODE_ADDRESS)?, [node.mac]);
        let gratuitous = frames
            .seen()
            .into_iter()
            .filter(|frame| frame.is_gratuitous_for(NODE_ADDRESS))
            .count();
        assert_eq!(gratuitous, 0, "{}", frames.transcript());
        Ok(())
    })
}

#[test]
fn policy_local_keeps_the_clients_address_and_only_a_node_with_an_endpoint_announces() -> Result<()>
{
    Lab::builder("policy").nodes(3).run(|lab| {
        walk::install(lab)?;
        walk::deploy(lab)?;
        walk::apply(lab, &["config-range.yaml"])?;
        lab.kubectl(&["apply", "-f", &walk::example("02-keep-client-address.yaml")])?;

        let client = lab.client()?.ipv4;
        let local = external_ip(lab, "test-local")?;
        let page = page_from_the_lan(lab, local, 30_000)?;
        assert!(
            page.body.contains(&format!("client: {client}\n")),
            "{}",
            page.body
        );
        let pod_node = [
            "get",
            "pods",
            "-l",
            "tier=app",
            "-o",
            "jsonpath={.items[0].spec.nodeName}",
        ];
        let with_endpoint = lab.kubectl(&pod_node)?;
        let announcer = lab.host(with_endpoint.trim())?;
        assert_eq!(
            answering_macs(lab, local)?,
            [announcer.mac],
            "{with_endpoint} has the endpoint"
        );

        let cluster = external_ip(lab, "test-lb")?;
        let page = page_from_the_lan(lab, cluster, 30_000)?;
        let nodes = lab.nodes();
        assert!(
            nodes.iter().any(|node| {
                page.body.contains(&format!("client: {}\n", node.ipv4))
                    || node.pods.is_some_and(|pods| {
                        page.body.contains(&format!("client: {}\n", pods.ipv4(1)))
                    })
            }),
            "with policy Cluster the backend sees a node: {}",
            page.body
        );
        Ok(())
    })
}

/// The application runs, and test-lb waits.
fn on_a_lab_like_minikube(test: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    Lab::builder("minikube").like_minikube(true).run(|lab| {
        walk::install(lab)?;
        walk::deploy(lab)?;
        let status = [
            "get",
            "service",
            "test-lb",
            "-o",
            "jsonpath={.status.loadBalancer}",
        ];
        assert_eq!(
            lab.kubectl(&status)?.trim(),
            "{}",
            "there is no configuration yet"
        );
        test(lab)
    })
}

fn external_ip(lab: &Lab, service: &str) -> Result<Ipv4Addr> {
    let object = format!("service/{service}");
    let path = "{.status.loadBalancer.ingress[0].ip}";
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    lab.kubectl(&["wait", &format!("--for=jsonpath={path}"), &object, &timeout])?;
    let ip = lab.kubectl(&["get", &object, "-o", &format!("jsonpath={path}")])?;
    ip.trim()
        .parse()
        .with_context(|| format!("{service} has no address: {ip:?}"))
}

/// kube-proxy programs a new address up to a second after it stands in the status, and an endpoint
/// of redis as late.
fn page_from_the_lan(lab: &Lab, address: Ipv4Addr, port: u16) -> Result<Page> {
    let to = SocketAddr::new(IpAddr::V4(address), port);
    lab.client()?.enter(|| {
        let answers = || {
            let page = http_get(to, "/readyz", Duration::from_millis(300));
            Ok(page.is_ok_and(|page| page.status == 200))
        };
        wait_until(PATIENCE, answers, || Ok(()))?;
        Ok(http_get(to, "/", Duration::from_secs(10))?)
    })?
}

/// The stations that answer for an address, as the client hears them.
fn answering_macs(lab: &Lab, address: Ipv4Addr) -> Result<Vec<MacAddress>> {
    let ask = || arp_ask("eth0", address, Duration::from_millis(500));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answers = lab.client()?.enter(ask)??;
        if !answers.is_empty() || Instant::now() > deadline {
            return Ok(answers.iter().map(|answer| answer.mac).collect());
        }
    }
}
