//! The reference walk on real nodes: images, helm and containers as a user has them. What is proved
//! is seen from the client on the LAN; kube-proxy answers nodes and pods by itself.

mod plugin {
    pub(super) mod answers;
    pub(super) mod outage;
}

use std::net::Ipv4Addr;

use anyhow::Result;
use ferrolb_tests::command::stdout_of;
use ferrolb_tests::daemon::program;
use ferrolb_tests::lab::Lab;
use ferrolb_tests::net::CONTROL_PLANE;
use ferrolb_tests::observe::FrameObserver;
use ferrolb_tests::walk::{answering_macs, external_ip, page_from_the_lan};
use ferrolb_tests::{demo, walk};
use serde_json::Value;

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
        let why = told(lab, &["explain", "svc/test-lb"])?;
        assert!(
            why.contains(
                "192.168.64.240 is announced by minikube.\n  \
                 no better node is available: excluded_node\n"
            ),
            "{why}"
        );
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
        the_plugin_tells_the_same(lab)
    })
}

/// It finds the daemons and asks them through a port-forward.
fn the_plugin_tells_the_same(lab: &Lab) -> Result<()> {
    let status = told(lab, &["status", "--wait"])?;
    assert!(status.ends_with("all is well\n"), "{status}");
    assert!(status.contains(" leads\n"), "{status}");
    assert!(status.contains("addresses: 1 of 1 in use"), "{status}");
    let pools: Value = serde_json::from_str(&told(lab, &["pools", "-o", "json"])?)?;
    assert_eq!(pools["pools"][0]["used"], 1, "{pools}");
    let services = told(lab, &["services", "-A"])?;
    assert!(services.contains(&NODE_ADDRESS.to_string()), "{services}");
    let why = told(lab, &["explain", "svc/test-lb"])?;
    assert!(
        why.starts_with("Service default/test-lb: 192.168.64.4, from pool default"),
        "{why}"
    );
    assert!(
        why.contains("not by minikube: node_address: ") && why.contains("No problems found"),
        "{why}"
    );
    assert!(
        why.contains("Normal NodeAddressGiven: 192.168.64.4 is node minikube's own address"),
        "{why}"
    );
    Ok(())
}

/// What `kubectl ferrolb` prints; it fails if that is no good news.
fn told(lab: &Lab, args: &[&str]) -> Result<String> {
    let program = program("kubectl-ferrolb")?;
    let mut command = lab.host(CONTROL_PLANE)?.command(&program.to_string_lossy());
    command.env("KUBECONFIG", lab.kubeconfig());
    stdout_of(command.args(args), "")
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

        let why = told(lab, &["explain", "svc/test-local"])?;
        let announced = format!("{local} is announced by {}.\n", announcer.name);
        assert!(why.contains(&announced), "{why}");
        assert!(
            why.contains(": no_local_endpoint: with externalTrafficPolicy: Local"),
            "{why}"
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
        plugin::answers::have_the_documented_keys(lab, cluster)?;
        plugin::outage::other_peoples_text_and_pods_do_no_harm(lab)?;
        plugin::outage::what_is_wanted_and_what_is_wrong_are_told_apart(lab)?;
        plugin::outage::without_rights_nothing_is_called_well(lab)?;
        plugin::outage::a_first_configuration_leaves_out_hosts_that_are_there(lab)?;
        plugin::outage::the_live_view_draws_on_a_terminal(lab)?;
        plugin::outage::a_node_that_cannot_be_heard_is_not_called_dead(lab, cluster)?;
        plugin::outage::a_node_that_is_cut_off_is_named_at_once(lab)?;
        plugin::outage::an_api_server_that_hangs_or_is_down_is_one_line(lab)
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
