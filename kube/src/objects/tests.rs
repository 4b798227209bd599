use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ferrolb_core::config::objects::Spec;
use http::{Request, Response, StatusCode};
use kube::client::Body as Sent;
use serde_json::json;
use tokio::time::sleep;

use super::*;

/// An API server with these pages, each by the end of its path; all others are not found.
#[derive(Clone, Default)]
struct Server {
    pages: Arc<Mutex<BTreeMap<&'static str, (u16, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn page(&self, path: &'static str, code: u16, page: Value) {
        self.pages.lock().unwrap().insert(path, (code, page));
    }

    fn kinds(&self, version: &'static str, names: &[&str], verbs: &[&str]) {
        let of = |name: &&str| json!({ "name": name, "kind": "", "namespaced": true, "singularName": "", "verbs": verbs });
        let kinds: Vec<_> = names.iter().map(of).collect();
        let list =
            json!({ "kind": "APIResourceList", "groupVersion": version, "resources": kinds });
        self.page(version, 200, list);
    }

    fn objects(&self, plural: &'static str, items: Value) {
        let list = json!({ "metadata": { "resourceVersion": "7" }, "items": items });
        self.page(plural, 200, list);
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Sent>| {
            let path = request.uri().path().to_owned();
            let is_watch = request
                .uri()
                .query()
                .is_some_and(|query| query.contains("watch="));
            let end = path.rsplit('/').next().unwrap_or_default().to_owned();
            server.asked.lock().unwrap().push(path);
            let page = server.pages.lock().unwrap().get(end.as_str()).cloned();
            let (code, page) = page.unwrap_or((404, Value::Null));
            async move {
                // A watch that never tells anything.
                if is_watch {
                    std::future::pending::<()>().await;
                }
                let text = match code {
                    // As the API server says it of a group that it does not know.
                    404 => "404 page not found\n".to_owned(),
                    200 => page.to_string(),
                    code => json!({ "kind": "Status", "code": code, "message": "no" }).to_string(),
                };
                let mut answer = Response::new(Sent::from(text.into_bytes()));
                *answer.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok::<_, std::convert::Infallible>(answer)
            }
        });
        Client::new(service, "default")
    }

    fn asked(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
            .into_iter()
            .collect()
    }
}

fn all() -> Vec<&'static str> {
    Kind::ALL.iter().map(|kind| kind.plural()).collect()
}

const VERBS: [&str; 3] = ["create", "list", "watch"];

fn watched(server: &Server) -> (latest::Sender<u64>, BoxStream<'static, Told<ObjectView>>) {
    let (want, wanted) = latest::channel(0);
    let objects = watch_objects(server.client(), "metallb-system", wanted, object_view);
    (want, objects)
}

/// The kinds that are told next.
async fn kinds(objects: &mut BoxStream<'static, Told<ObjectView>>) -> Vec<(Kind, Presence)> {
    loop {
        if let Told::Kinds(kinds, _) = objects.next().await.unwrap() {
            return kinds.into_iter().collect();
        }
    }
}

#[tokio::test]
async fn where_there_are_no_kinds_none_is_asked_for_and_they_are_found_when_they_come() {
    let server = Server::default();
    let (want, mut objects) = watched(&server);
    assert_eq!(kinds(&mut objects).await, []);
    assert_eq!(
        server.asked(),
        ["/apis/metallb.io/v1beta1".to_owned()].into()
    );
    server.kinds("v1beta1", &all(), &VERBS);
    server.kinds("v1beta2", &["bgppeers"], &VERBS);
    for plural in all() {
        server.objects(plural, json!([]));
    }
    let labels = json!({ "site": "a" });
    server.objects(
        "ipaddresspools",
        json!([{ "metadata": { "name": "lan", "namespace": "metallb-system", "uid": "u", "resourceVersion": "5",
                               "generation": 3, "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z",
                               "annotations": { "ferrolb.io/exclude": "10.0.0.1", "other": "x" } },
                 "spec": { "addresses": ["10.0.0.0/24"] }, "status": { "assignedIPv4": 1 } },
               { "metadata": { "name": "empty", "namespace": "metallb-system" } }]),
    );
    want.send_replace(1);
    assert_eq!(
        kinds(&mut objects).await,
        Kind::ALL.map(|kind| (kind, Presence::Served))
    );
    let (mut listed, mut views) = (BTreeSet::new(), Vec::new());
    while listed.len() < Kind::ALL.len() {
        match objects.next().await.unwrap() {
            Told::Object(kind, Event::InitDone) => drop(listed.insert(kind)),
            Told::Object(_, Event::InitApply((_, view))) => views.extend(view),
            _ => {}
        }
    }
    let lan = &views[0];
    assert_eq!((lan.generation, lan.created), (3, 1_767_225_600));
    assert_eq!(lan.labels.get("site"), Some("a"));
    let exclude = ("ferrolb.io/exclude".to_owned(), "10.0.0.1".to_owned());
    assert_eq!(lan.annotations, [exclude].into(), "others are not kept");
    assert_eq!(lan.spec, Spec::of(json!({ "addresses": ["10.0.0.0/24"] })));
    assert_eq!(views[1].spec, Spec::of(Value::Null));
    let asked = server.asked();
    let path = |version: &str, plural: &str| {
        format!("/apis/metallb.io/{version}/namespaces/metallb-system/{plural}")
    };
    assert!(asked.contains(&path("v1beta2", "bgppeers")), "{asked:?}");
    assert!(
        asked.contains(&path("v1beta1", "ipaddresspools")),
        "{asked:?}"
    );
    assert!(!asked.contains(&path("v1beta1", "bgppeers")), "{asked:?}");
}

#[tokio::test]
async fn of_kinds_that_come_one_after_the_other_none_is_told_before_the_last_or_a_pause() {
    for comes in [&all()[..], &all()[..4]] {
        let server = Server::default();
        for plural in all() {
            server.objects(plural, json!([]));
        }
        let (want, mut objects) = watched(&server);
        assert_eq!(kinds(&mut objects).await, []);
        server.kinds("v1beta1", &all()[..2], &VERBS);
        server.asked();
        want.send_replace(1);
        let others = async {
            while server.asked().is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            server.kinds("v1beta1", comes, &VERBS);
        };
        // In this order: they come before the next look, also if both are due at once.
        let ((), told) = futures::join!(others, kinds(&mut objects));
        let expected = &Kind::ALL[..comes.len()];
        let expected: Vec<_> = expected
            .iter()
            .map(|kind| (*kind, Presence::Served))
            .collect();
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn a_kind_that_is_about_to_go_and_one_that_is_forbidden_are_told() {
    let server = Server::default();
    server.kinds("v1beta1", &all(), &["list", "watch"]);
    for plural in all() {
        server.objects(plural, json!([]));
    }
    server.page("communities", 403, Value::Null);
    let (_want, mut objects) = watched(&server);
    assert_eq!(
        kinds(&mut objects).await,
        Kind::ALL.map(|kind| (kind, Presence::Terminating))
    );
    let told = kinds(&mut objects).await;
    let without = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Community);
    let without: Vec<_> = without.map(|kind| (kind, Presence::Terminating)).collect();
    assert_eq!(told, without);
}

#[tokio::test]
async fn an_old_set_of_kinds_has_routers_in_the_first_version_alone() {
    let server = Server::default();
    server.kinds(
        "v1beta1",
        &["ipaddresspools", "bgppeers", "bgppeers/status"],
        &VERBS,
    );
    let served = served(&server.client()).await.unwrap();
    let entry = |kind| (kind, ("v1beta1".to_owned(), Presence::Served));
    let kinds = [entry(Kind::IpAddressPool), entry(Kind::BgpPeer)];
    assert_eq!(served.kinds, kinds.into());
    server.page("v1beta1", 403, Value::Null);
    assert!(super::served(&server.client()).await.unwrap().is_forbidden);
    server.page("v1beta1", 500, Value::Null);
    assert!(
        super::served(&server.client()).await.is_err(),
        "that says nothing"
    );
}

#[test]
fn a_password_is_not_shown() {
    let router = json!({ "metadata": { "name": "r" }, "spec": { "password": "s3cret" } });
    let router: Untyped = serde_json::from_value(router).unwrap();
    let view = object_view(Kind::BgpPeer, "v1beta2", &router);
    assert_eq!(view.api_version, "metallb.io/v1beta2");
    assert!(!format!("{router:?} {view:?}").contains("s3cret"));
}
