use std::collections::BTreeMap;

use super::{NEEDED, USUAL};
use crate::Reason;
use crate::alloc::tests::{address, at_node, configured, ensure, pool, service, told};
use crate::alloc::{Allocator, Config};
use crate::config::Pool;
use crate::view::{Protocol, ServiceView};

fn only_nodes(allow_node_ports: bool) -> Pool {
    Pool {
        allow_node_ports,
        ..pool("default", &[("10.0.0.4", "10.0.0.4")])
    }
}

fn of_nodes(allow_node_ports: bool) -> Allocator {
    let mut allocator = configured(vec![only_nodes(allow_node_ports)]);
    at_node(&mut allocator, "10.0.0.4");
    allocator
}

fn with(ports: &[(Protocol, u16)], insists: bool) -> ServiceView {
    ServiceView {
        ports: ports.to_vec().into(),
        allow_node_ports: insists,
        ..service("a")
    }
}

#[test]
fn a_port_that_the_node_needs_is_refused_unless_service_and_pool_say_so() {
    for port in NEEDED {
        for (pool_allows, insists, given) in [
            (true, false, false),
            (true, true, true),
            (false, false, false),
            (false, true, false),
        ] {
            let view = with(&[(Protocol::Tcp, 80), port], insists);
            let decision = of_nodes(pool_allows).ensure(&view);
            let what = format!("{port:?}, pool {pool_allows}, Service {insists}");
            if given {
                assert_eq!(told(&decision), "10.0.0.4", "{what}");
                continue;
            }
            let refusal = decision.refusal().unwrap();
            assert_eq!(told(&decision), "port_shadows_node", "{what}");
            let way_out = refusal.text.contains("annotate the Service");
            assert_eq!(way_out, pool_allows, "{what}: {refusal}");
        }
    }
    for port in [179, 10_256, 10_257, 10_259] {
        assert!(NEEDED.contains(&(Protocol::Tcp, port)));
    }
}

#[test]
fn a_port_that_many_nodes_have_for_themselves_is_given_with_a_word() {
    for (protocol, port, what) in USUAL {
        assert!(!NEEDED.contains(&(protocol, port)), "{what}");
        let view = with(&[(Protocol::Tcp, 80), (protocol, port)], false);
        let decision = of_nodes(true).ensure(&view);
        assert_eq!(told(&decision), "10.0.0.4 port_usual_on_nodes");
        let text = &decision.refusal().unwrap().text;
        let port = format!("port {port}/{protocol} ");
        for part in ["node n1", &port, what, "ferrolb.io/allow-node-ports"] {
            assert!(text.contains(part), "{text}");
        }
        // Whoever means it is told nothing, where the pool hears that.
        let means_it = ServiceView {
            allow_node_ports: true,
            ..view.clone()
        };
        assert_eq!(ensure(&mut of_nodes(true), &means_it), "10.0.0.4");
        let decision = of_nodes(false).ensure(&means_it);
        let text = &decision.refusal().unwrap().text;
        assert!(text.ends_with("change the port or the address"), "{text}");
        // Elsewhere they are ports like any other.
        let mut elsewhere = configured(vec![pool("default", &[("10.0.0.5", "10.0.0.5")])]);
        at_node(&mut elsewhere, "10.0.0.4");
        assert_eq!(ensure(&mut elsewhere, &view), "10.0.0.5");
    }
    let other = with(&[(Protocol::Tcp, 80), (Protocol::Tcp, 8472)], false);
    assert_eq!(ensure(&mut of_nodes(true), &other), "10.0.0.4");
}

#[test]
fn a_pool_that_forbids_it_later_takes_such_a_port_back_for_the_node() {
    let mut allocator = of_nodes(true);
    let insists = with(&[(Protocol::Tcp, 22)], true);
    assert_eq!(ensure(&mut allocator, &insists), "10.0.0.4");
    allocator.set_config(Config {
        pools: vec![only_nodes(false)],
        ..Config::default()
    });
    let views = BTreeMap::from([(
        insists.key.clone(),
        ServiceView {
            assigned: vec![address("10.0.0.4")],
            ..insists
        },
    )]);
    let decisions = allocator.settle(views.keys().cloned().collect(), |key| views.get(key));
    let decision = decisions.values().next().unwrap();
    assert!(decision.addresses().is_empty());
    assert_eq!(decision.refusal().unwrap().reason, Reason::PortShadowsNode);
}
