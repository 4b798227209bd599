use super::*;
use crate::fixtures::printed;

const NOON: &str = "2026-11-29T12:00:00Z";

fn view(name: &str, manager: &str, address: &str, more: Value) -> ServiceView {
    let mut service = json!({
        "metadata": {
            "namespace": "shop",
            "name": name,
            "managedFields": [{
                "manager": manager,
                "operation": "Update",
                "subresource": "status",
                "time": NOON,
                "fieldsV1": { "f:status": { "f:loadBalancer": { "f:ingress": {} } } },
            }],
        },
        "spec": { "type": "LoadBalancer" },
        "status": { "loadBalancer": { "ingress": [{ "ip": address }] } },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        service["spec"][field] = value.clone();
    }
    let service: Service = serde_json::from_value(service).unwrap();
    service_view(&service).unwrap()
}

fn k3s(name: &str) -> ServiceView {
    view(name, "k3s", "192.168.64.11", json!({}))
}

fn at(now: &str, views: Vec<ServiceView>, manager: Option<&str>, all: bool) -> Answer {
    let judged = judge(views, manager, all, now.parse().unwrap());
    Answer {
        dry_run: false,
        services: judged.into_iter().map(|(_, adopted)| adopted).collect(),
    }
}

#[test]
fn what_is_taken_over_and_what_is_not_is_said_with_the_reason() {
    let late = "2026-11-29T13:00:00Z";
    let class = json!({ "loadBalancerClass": "example.com/lb" });
    let views = vec![
        k3s("traefik"),
        view("ours", "ferrolb-controller", "192.168.64.20", json!({})),
        view("metallbs", "controller", "192.168.64.21", json!({})),
        view("vip", "kube-vip", "192.168.64.30", class),
        view(
            "plain",
            "k3s",
            "192.168.64.11",
            json!({ "type": "ClusterIP" }),
        ),
    ];
    let answer = at(late, views, None, false);
    insta::assert_snapshot!(printed(|out| text(out, &answer)));
    let dry = Answer {
        dry_run: true,
        ..at(late, vec![k3s("traefik")], None, false)
    };
    insta::assert_snapshot!(printed(|out| text(out, &dry)));
}

#[test]
fn who_wrote_within_ten_minutes_still_runs() {
    let early = at("2026-11-29T12:09:30Z", vec![k3s("traefik")], None, false);
    insta::assert_snapshot!(printed(|out| text(out, &early)));
    assert_eq!(early.services[0].outcome, Outcome::Refused);
    assert_eq!(
        early.services[0].not_before.as_deref(),
        Some("2026-11-29T12:10:00Z")
    );
}

#[test]
fn all_means_all_of_the_manager_and_a_named_one_of_another_is_refused() {
    let late = "2026-11-29T13:00:00Z";
    let vip = || view("vip", "kube-vip", "192.168.64.30", json!({}));
    let all = at(late, vec![k3s("a"), vip(), k3s("b")], Some("k3s"), true);
    let names: Vec<_> = all.services.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let named = at(late, vec![vip()], Some("k3s"), false);
    assert_eq!(named.services[0].outcome, Outcome::Refused);
}

#[test]
fn only_the_annotation_is_written() {
    assert_eq!(
        patch(Some("k3s")),
        json!({ "metadata": { "annotations": { "ferrolb.io/adopt-from": "k3s" } } })
    );
}
