//! Whole speakers: the API server over HTTP, the LAN in memory; what the two do wrong, and SIGTERM at each
//! stage.

use ferrolb_core::announce::Settings;
use ferrolb_core::conflict::Report;
use ferrolb_core::elect::ExcludeLabel;
use ferrolb_core::ownership::{FAST, PORT};
use ferrolb_kube::scripted::{ApiServer, Fault, ends_within};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::peers::Start;
use crate::port::memory::{Lan, address};
use crate::pulse::Pulse;
use crate::watch;

const SOON: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "metallb-system";
const WEB: &str = "/api/v1/namespaces/shop/services/web";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1";
const CONFIG: &str = "/api/v1/namespaces/metallb-system/configmaps/config";

struct Running {
    number: u8,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<anyhow::Result<()>>,
    peers: Peers,
    wire: Wire,
    questions: mpsc::Sender<oneshot::Sender<SpeakerStatus>>,
    gateways: latest::Sender<Vec<IpAddr>>,
    metrics: Arc<Metrics>,
}

fn vip() -> IpAddr {
    address(200)
}

fn node_path(number: u8) -> String {
    format!("/api/v1/nodes/n{number}")
}

fn node(number: u8, unschedulable: bool) -> Value {
    let address = address(number).to_string();
    json!({
        "spec": { "unschedulable": unschedulable },
        "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
    })
}

/// A cluster of these nodes with the ready Service shop/web.
async fn api(nodes: &[u8]) -> ApiServer {
    let api = ApiServer::start().await.unwrap();
    for number in nodes {
        api.set(&node_path(*number), node(*number, false));
    }
    api.set(
        WEB,
        json!({
            "metadata": { "uid": "u" },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
            "status": { "loadBalancer": { "ingress": [{ "ip": vip().to_string() }] } },
        }),
    );
    api.set(
        SLICE,
        json!({
            "metadata": { "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["10.1.0.1"], "conditions": { "ready": true } }],
        }),
    );
    let pool = "address-pools:\n- {name: lan, protocol: layer2, addresses: [192.168.64.200/29]}\n";
    api.set(CONFIG, json!({ "data": { "config": pool } }));
    api
}

impl Running {
    async fn new(lan: &Lan, api: &ApiServer, number: u8) -> Self {
        let running = Self::without_keys(lan, api, number).await;
        running.peers.set_keys(BTreeMap::new());
        running
    }

    /// As `run.rs` connects everything, but for the signals, the keys' files and netlink.
    async fn without_keys(lan: &Lan, api: &ApiServer, number: u8) -> Self {
        let me = format!("n{number}");
        let host = lan.host(number);
        let client = api.client().await.unwrap();
        let (clock, pulse) = (Clock::start(), Pulse::default());
        let metrics = Arc::new(Metrics::new());
        let (wire, heard) = Wire::spawn(
            host.clone(),
            Settings::default(),
            clock,
            pulse.clone(),
            Arc::clone(&metrics),
        )
        .unwrap();
        let (peers, notices) = Peers::spawn(Start {
            network: host.clone(),
            me: me.clone(),
            port: PORT,
            settings: FAST,
            wire: wire.clone(),
            clock,
            pulse,
            metrics: Arc::clone(&metrics),
            keeper: None,
        })
        .unwrap();
        peers.set_interfaces(host.interfaces());
        let events = Events::spawn(client.clone(), me.clone());
        let conflicts = Conflicts::spawn(
            client.clone(),
            NAMESPACE,
            me.clone(),
            events.clone(),
            Arc::clone(&metrics),
        );
        let (monitored_at, _) = latest::channel(None);
        let (steering, steered) = Steering::channel();
        let (questions, asked) = mpsc::channel(1);
        let (gateways, told_gateways) = latest::channel(Vec::new());
        let source = format!("{NAMESPACE}/config");
        let view = View::new(me.clone(), None, source, ExcludeLabel::Prefer);
        let ways = Ways {
            peers: peers.clone(),
            wire: wire.clone(),
            events,
            conflicts,
            l2_statuses: L2Statuses::default(),
            votes: None,
            metrics: Arc::clone(&metrics),
            readiness: Readiness::waiting_for("the API server"),
            steering,
            monitored_at,
        };
        let sources = Sources {
            inputs: watch::all(&client, NAMESPACE, ("config", "ferrolb-config"), steered),
            notices,
            heard,
            questions: asked,
            gateways: told_gateways,
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let speaker = Speaker::new(me, clock, view, ways);
        Self {
            number,
            stop: Some(stop),
            ended: tokio::spawn(speaker.run(sources, stopped)),
            peers,
            wire,
            questions,
            gateways,
            metrics,
        }
    }

    async fn status(&self) -> SpeakerStatus {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.unwrap();
        answer.await.unwrap()
    }

    async fn announces(&self) -> bool {
        let status = self.status().await;
        status.vip(vip()).is_some_and(|vip| vip.announced_here)
    }

    fn has_series(&self) -> bool {
        let series = format!(
            "metallb_speaker_announced{{service=\"shop/web\",protocol=\"layer2\",node=\"n{}\"",
            self.number
        );
        self.metrics.text().contains(&series)
    }

    /// SIGTERM: how long the loop took to end.
    async fn terminate(&mut self) -> Duration {
        let began = Instant::now();
        drop(self.stop.take());
        let ended = timeout(SOON, &mut self.ended).await;
        ended.expect("it ends").expect("no panic").unwrap();
        self.wire.stop();
        began.elapsed()
    }
}

/// Waits until exactly one of them announces the address, and each says the same of it.
async fn settle(speakers: &[&Running]) -> u8 {
    let began = Instant::now();
    loop {
        let mut owners = Vec::new();
        let mut said = BTreeSet::new();
        for speaker in speakers {
            let status = speaker.status().await;
            let vip = status.vip(vip());
            if vip.is_some_and(|vip| vip.announced_here) {
                owners.push(speaker.number);
            }
            let by = vip.iter().flat_map(|vip| &vip.announcements);
            let by: Vec<_> = by.map(|one| format!("{} {}", one.by, one.node)).collect();
            said.insert(by);
        }
        if let [owner] = owners[..]
            && said == [vec![format!("layer2 n{owner}")]].into()
        {
            return owner;
        }
        assert!(
            began.elapsed() < SOON,
            "announced by {owners:?}, said to be by {said:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < SOON, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whatever_the_api_server_does_at_first_the_address_is_announced_and_one_event_says_so() {
    let lan = Lan::default();
    let api = api(&[1]).await;
    api.script("GET /api/v1/services", Fault::Refused(500));
    api.script("endpointslices?", Fault::BrokenOff);
    api.script("GET /api/v1/nodes", Fault::Late(Duration::from_millis(200)));
    api.script("configmaps?", Fault::AnswerLost);
    let speaker = Running::new(&lan, &api, 1).await;
    assert_eq!(settle(&[&speaker]).await, 1);
    until("the Event is written", async || {
        api.all("/events/").len() == 1
    })
    .await;
    assert_eq!(api.all("/events/")[0]["reason"], "nodeAssigned");
    until("its series", async || speaker.has_series()).await;
    assert_eq!(speaker.status().await.waiting_for, None);
}

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

fn slice_of(service: &str) -> Value {
    json!({
        "metadata": { "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.1.0.1"], "conditions": { "ready": true } }],
    })
}

#[tokio::test]
async fn only_slices_of_services_of_ours_are_asked_for_and_a_new_service_is_served_at_once() {
    let lan = Lan::default();
    let api = api(&[1]).await;
    api.set(&format!("{SLICES}/foreign-1"), slice_of("foreign"));
    let speaker = Running::new(&lan, &api, 1).await;
    assert_eq!(settle(&[&speaker]).await, 1);
    let asked = async |count| api.asked("endpointslices?").len() >= count;
    until("a list and a watch", async || asked(2).await).await;
    let mut second = api.get(WEB).unwrap();
    second["status"]["loadBalancer"]["ingress"][0]["ip"] = address(201).to_string().into();
    api.set(&WEB.replace("/web", "/new"), second);
    api.set(&format!("{SLICES}/new-1"), slice_of("new"));
    until("the new one is announced", async || {
        let status = speaker.status().await;
        status
            .vip(address(201))
            .is_some_and(|vip| vip.announced_here)
    })
    .await;
    until("a list and a watch for each", async || asked(4).await).await;
    let asked = api.asked("endpointslices?");
    assert_eq!(asked.len(), 4, "a list and a watch for each: {asked:?}");
    for (request, name) in asked.iter().zip(["web", "web", "new", "new"]) {
        let selector = format!("service-name+in+%28{name}%29&");
        assert!(request.contains(&selector), "{request}");
    }
    // Nothing is missed on either.
    api.delete(SLICE);
    until("the first one has no endpoint", async || {
        let status = speaker.status().await;
        let line = status.vip(vip());
        line.and_then(|line| line.reason.clone()) == Some(Reason::NoEndpoint.into())
    })
    .await;
}

#[tokio::test]
async fn where_slices_are_forbidden_endpoints_are_read() {
    let lan = Lan::default();
    let api = api(&[1]).await;
    for _ in 0..8 {
        api.script("endpointslices?", Fault::Refused(403));
    }
    api.set(
        "/api/v1/namespaces/shop/endpoints/web",
        json!({ "subsets": [{ "addresses": [{ "ip": "10.1.0.1", "nodeName": "n1" }] }] }),
    );
    let speaker = Running::new(&lan, &api, 1).await;
    assert_eq!(settle(&[&speaker]).await, 1);
    until("a list and a watch", async || {
        api.asked("endpoints?").len() == 2
    })
    .await;
    assert_eq!(api.asked("endpointslices?").len(), 1);
}

/// The pool has 192.168.64.200 to .207.
#[tokio::test]
async fn the_gateways_that_are_in_a_pool_are_reported_and_no_others() {
    let lan = Lan::default();
    let api = api(&[1]).await;
    let speaker = Running::new(&lan, &api, 1).await;
    let gateways = vec![address(1), address(201), "fe80::1".parse().unwrap()];
    speaker.gateways.send_replace(gateways);
    until("it is reported", async || {
        !api.all(CONFLICTS_NAME).is_empty()
    })
    .await;
    let object = &api.all(CONFLICTS_NAME)[0];
    let entries = object["data"].as_object().unwrap();
    assert_eq!(entries.len(), 1, "{object}");
    let text = entries["192.168.64.201"].as_str().unwrap();
    let report = Report::decode("192.168.64.201", text).unwrap();
    assert_eq!(
        report.finding().which(address(201)),
        "which is the gateway of node n1"
    );
    // It keeps nobody silent.
    assert_eq!(settle(&[&speaker]).await, 1);
}

#[tokio::test]
async fn what_changes_while_the_server_is_away_or_forgets_is_followed_when_it_is_back() {
    let lan = Lan::default();
    let api = api(&[1]).await;
    let speaker = Running::new(&lan, &api, 1).await;
    settle(&[&speaker]).await;
    // Away: what was said last stays.
    for _ in 0..3 {
        api.script("services?", Fault::Refused(503));
    }
    api.hang_up();
    sleep(Duration::from_millis(100)).await;
    assert!(speaker.announces().await);
    // It is back, and has forgotten what happened: 410, and a list without the Service.
    api.delete(WEB);
    api.compact();
    until("the address is given up", async || {
        !lan.frames_of(1).is_empty() && speaker.wire.progress().await.is_empty()
    })
    .await;
    until("its series is gone", async || !speaker.has_series()).await;
}

#[tokio::test]
async fn while_the_server_stalls_what_is_announced_stays_and_status_is_answered() {
    let lan = Lan::default();
    let api = api(&[1]).await;
    let speaker = Running::new(&lan, &api, 1).await;
    settle(&[&speaker]).await;
    for _ in 0..8 {
        api.script("watch=true", Fault::Stalled);
    }
    api.hang_up();
    api.delete(WEB);
    for _ in 0..20 {
        sleep(Duration::from_millis(50)).await;
        assert!(speaker.announces().await);
    }
}

#[tokio::test]
async fn told_to_stop_before_anything_is_listed_it_ends_at_once_and_has_said_nothing() {
    let round = async || {
        let lan = Lan::default();
        let api = api(&[1]).await;
        for _ in 0..8 {
            api.script("GET ", Fault::Stalled);
        }
        let mut speaker = Running::new(&lan, &api, 1).await;
        sleep(Duration::from_millis(200)).await;
        (speaker.terminate().await, lan)
    };
    let lan = ends_within(LEAVING / 2, round).await;
    assert!(lan.frames_of(1).is_empty());
}

#[tokio::test]
async fn told_to_stop_while_it_gathers_what_it_has_to_know_it_ends_at_once_and_has_said_nothing() {
    let round = async || {
        let lan = Lan::default();
        let api = api(&[1]).await;
        // Listed, and without a look at the keys it may not join.
        let mut speaker = Running::without_keys(&lan, &api, 1).await;
        until("all is listed", async || {
            speaker.status().await.waiting_for.as_deref() == Some("the other speakers")
        })
        .await;
        let status = speaker.status().await;
        let line = status.vip(vip()).unwrap();
        assert_eq!(line.reason, Some(Reason::Joining.into()));
        assert_eq!(line.announcements, []);
        (speaker.terminate().await, lan)
    };
    let lan = ends_within(LEAVING / 2, round).await;
    assert!(lan.frames_of(1).is_empty());
}

/// Two speakers: the one that announces, and the other one.
async fn owner_and_other(lan: &Lan, api: &ApiServer) -> (Running, Running) {
    let first = Running::new(lan, api, 1).await;
    let second = Running::new(lan, api, 2).await;
    match settle(&[&first, &second]).await {
        1 => (first, second),
        _ => (second, first),
    }
}

#[tokio::test]
async fn told_to_stop_while_it_holds_an_address_it_leaves_that_to_its_kernel_and_nobody_takes_it() {
    let round = async || {
        let lan = Lan::default();
        let api = api(&[1, 2]).await;
        let (mut goes, stays) = owner_and_other(&lan, &api).await;
        (goes.terminate().await, (api, goes, stays))
    };
    let (_api, _goes, stays) = ends_within(LEAVING, round).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(100)).await;
        assert!(!stays.announces().await);
    }
}

#[tokio::test]
async fn told_to_stop_during_a_hand_over_it_ends_once_the_other_one_announces() {
    let round = async || {
        let lan = Lan::default();
        let api = api(&[1, 2]).await;
        let (mut goes, stays) = owner_and_other(&lan, &api).await;
        // Cordoned: it hands over, and is told to stop as soon as it has heard of that.
        api.set(&node_path(goes.number), node(goes.number, true));
        let asked = async || {
            let status = goes.status().await;
            let line = status.vip(vip());
            line.is_none_or(|line| !line.announced_here || line.drawback.is_some())
        };
        until("it has heard", asked).await;
        (goes.terminate().await, (api, goes, stays))
    };
    let (_api, goes, stays) = ends_within(LEAVING, round).await;
    until("the other one announces", async || stays.announces().await).await;
    assert!(
        !goes.has_series(),
        "its silence was told on the way out, too"
    );
}
