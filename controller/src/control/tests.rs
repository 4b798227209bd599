//! The loop against an API server that fails over HTTP, and SIGTERM at each stage.

use clap::Parser as _;
use ferrolb_kube::scripted::{ApiServer, Fault, ends_within};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use serde_json::{Value, json};

use super::*;
use crate::rights::Rights;

const SOON: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "metallb-system";
const CONFIG: &str = "/api/v1/namespaces/metallb-system/configmaps/config";

fn service(name: &str) -> String {
    format!("/api/v1/namespaces/shop/services/{name}")
}

fn pending() -> Value {
    json!({
        "metadata": { "uid": "u" },
        "spec": { "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
                  "ipFamilies": ["IPv4"], "ports": [{ "port": 80, "protocol": "TCP" }] },
        "status": { "loadBalancer": {} },
    })
}

/// With a pool of two addresses and the pending Service shop/a.
async fn api() -> ApiServer {
    let api = ApiServer::start().await.unwrap();
    let pool = "address-pools:\n- {name: lan, protocol: layer2, addresses: [192.168.64.200/31]}\n";
    api.set(CONFIG, json!({ "data": { "config": pool } }));
    api.set(&service("a"), pending());
    api
}

fn address_of(api: &ApiServer, name: &str) -> Option<String> {
    let service = api.get(&service(name))?;
    let address = &service["status"]["loadBalancer"]["ingress"][0]["ip"];
    address.as_str().map(str::to_owned)
}

/// The controller, and how it is told to stop.
struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Running {
    async fn new(api: &ApiServer) -> Self {
        let client = api.client().await.unwrap();
        let args = Args::parse_from(["controller", "--namespace", NAMESPACE]);
        let rights = Rights::read(&client, NAMESPACE, &args.lease_name, "ferrolb-config");
        let rights = rights.await.unwrap();
        assert!(rights.patch_status && rights.create_events && !rights.elect);
        let (_, asked) = mpsc::channel(1);
        let readiness = Readiness::waiting_for("start");
        let mut control = Control::new(
            &args,
            NAMESPACE,
            client,
            rights,
            Metrics::default(),
            (readiness, asked),
        );
        let (stop, stopped) = oneshot::channel();
        // As `run.rs` does it.
        let ended = tokio::spawn(async move {
            tokio::select! {
                never = control.run() => match never {},
                _ = stopped => {}
            }
            control.drain().await;
        });
        Self { stop, ended }
    }

    /// SIGTERM: how long it took.
    async fn terminate(self) -> Duration {
        let began = Instant::now();
        drop(self.stop);
        let ended = timeout(SOON, self.ended).await;
        ended.expect("it ends").expect("no panic");
        began.elapsed()
    }
}

async fn gets_an_address(api: &ApiServer, name: &str) -> String {
    let given = async {
        loop {
            if let Some(address) = address_of(api, name) {
                return address;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let given = timeout(SOON, given).await;
    given.unwrap_or_else(|_| panic!("{name} got none: {:?}", api.asked("")))
}

async fn asked_to_write(api: &ApiServer) {
    let asked = async {
        while api.asked("PATCH").is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, asked).await.expect("it writes");
}

#[tokio::test]
async fn whatever_the_api_server_does_at_first_a_service_gets_its_address_and_one_event() {
    let api = api().await;
    api.script("services?", Fault::Refused(500));
    api.script("services?", Fault::BrokenOff);
    api.script("configmaps?", Fault::AnswerLost);
    api.script("nodes?", Fault::Late(Duration::from_millis(200)));
    let running = Running::new(&api).await;
    assert_eq!(gets_an_address(&api, "a").await, "192.168.64.200");
    let told = async {
        let is_told = |event: &Value| event["reason"] == "IPAllocated";
        while api
            .all("/events/")
            .iter()
            .filter(|one| is_told(one))
            .count()
            != 1
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, told).await.expect("one Event says so");
    running.terminate().await;
}

#[tokio::test]
async fn a_write_that_is_refused_late_lost_or_broken_off_ends_with_one_address_for_each() {
    for fault in [
        Fault::Refused(500),
        Fault::Refused(429),
        Fault::Late(Duration::from_millis(200)),
        Fault::AnswerLost,
        Fault::BrokenOff,
    ] {
        let api = api().await;
        api.script("PATCH ", fault);
        let running = Running::new(&api).await;
        let first = gets_an_address(&api, "a").await;
        api.set(&service("b"), pending());
        let second = gets_an_address(&api, "b").await;
        assert_eq!(
            [&*first, &*second],
            ["192.168.64.200", "192.168.64.201"],
            "{fault:?}"
        );
        // Whatever it has heard since, it stays with that.
        sleep(Duration::from_millis(100)).await;
        assert_eq!(address_of(&api, "a"), Some(first), "{fault:?}");
        running.terminate().await;
    }
}

#[tokio::test]
async fn a_write_that_a_change_overtakes_is_decided_anew() {
    let api = api().await;
    api.script("PATCH ", Fault::Late(Duration::from_millis(300)));
    let running = Running::new(&api).await;
    asked_to_write(&api).await;
    // Meanwhile somebody asks for the other address: what was decided is out of date, and refused.
    let mut changed = pending();
    changed["spec"]["loadBalancerIP"] = "192.168.64.201".into();
    api.set(&service("a"), changed);
    assert_eq!(gets_an_address(&api, "a").await, "192.168.64.201");
    assert!(api.asked("PATCH").len() > 1);
    running.terminate().await;
}

#[tokio::test]
async fn what_happens_while_the_server_is_away_and_is_forgotten_is_made_up_for() {
    let api = api().await;
    let running = Running::new(&api).await;
    assert_eq!(gets_an_address(&api, "a").await, "192.168.64.200");
    // Ended watches, and 410 for who asks from before.
    api.script("services?", Fault::Refused(503));
    api.hang_up();
    api.delete(&service("a"));
    api.set(&service("b"), pending());
    api.bookmark();
    api.compact();
    assert_eq!(
        gets_an_address(&api, "b").await,
        "192.168.64.200",
        "it is free again"
    );
    running.terminate().await;
}

#[tokio::test]
async fn a_write_that_stalls_keeps_no_other_service_from_its_address() {
    let round = async || {
        let api = api().await;
        api.script("services/a/status", Fault::Stalled);
        let running = Running::new(&api).await;
        api.set(&service("b"), pending());
        assert_eq!(gets_an_address(&api, "b").await, "192.168.64.201");
        // What was decided for the first one stays its.
        assert_eq!(address_of(&api, "a"), None);
        (running.terminate().await, ())
    };
    ends_within(DRAIN * 2, round).await;
}

#[tokio::test]
async fn told_to_stop_before_anything_is_listed_it_ends_at_once_and_has_written_nothing() {
    let round = async || {
        let api = api().await;
        // What the server serves is asked for together with the rights.
        api.script("GET /apis/networking", Fault::Refused(404));
        for _ in 0..16 {
            api.script("GET ", Fault::Stalled);
        }
        let running = timeout(SOON, Running::new(&api)).await;
        let running = running.expect("rights are asked for by POST");
        sleep(Duration::from_millis(200)).await;
        (running.terminate().await, api)
    };
    let api = ends_within(DRAIN / 2, round).await;
    assert_eq!(address_of(&api, "a"), None);
    assert!(api.asked("PATCH").is_empty());
}

#[tokio::test]
async fn told_to_stop_with_a_write_under_way_it_waits_for_that_and_no_longer_than_it_may() {
    let round = async || {
        let api = api().await;
        api.script("PATCH ", Fault::Late(Duration::from_millis(400)));
        let running = Running::new(&api).await;
        asked_to_write(&api).await;
        (running.terminate().await, api)
    };
    let api = ends_within(DRAIN, round).await;
    assert_eq!(address_of(&api, "a").as_deref(), Some("192.168.64.200"));
}
