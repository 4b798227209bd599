//! Watches against an API server that fails over HTTP.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::*;
use crate::scripted::{ApiServer, Fault};

const SOON: Duration = Duration::from_secs(30);
const MAPS: &str = "/api/v1/configmaps";
const WATCHED: &str = "watch=true";

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/shop/configmaps/{name}")
}

struct Bench {
    api: ApiServer,
    told: BoxStream<'static, Event<String>>,
}

impl Bench {
    /// A watch with the daemons' back-off, of a server that has the map `a`.
    async fn new() -> Self {
        let api = ApiServer::start().await.unwrap();
        api.set(&path("a"), json!({}));
        let maps: Api<ConfigMap> = Api::all(api.client().await.unwrap());
        let read = |key: &ServiceKey, map: Option<&ConfigMap>| {
            let text = map
                .and_then(|map| map.data.as_ref())
                .and_then(|data| data.get("text"));
            format!("{} {}", key.name, text.map_or("", |text| text))
        };
        let told = told("ConfigMaps", watch(maps, None, read)).boxed();
        Self { api, told }
    }

    async fn next(&mut self) -> Event<String> {
        let next = timeout(SOON, self.told.next()).await;
        next.expect("it tells something").expect("it never ends")
    }

    /// What a list tells, to its end; whatever comes before a list that succeeds is passed over.
    async fn listed(&mut self) -> Vec<String> {
        let mut listed = Vec::new();
        loop {
            match self.next().await {
                Event::Init => listed.clear(),
                Event::InitApply(name) => listed.push(name.trim().to_owned()),
                Event::InitDone => return listed,
                other => panic!("{other:?}"),
            }
        }
    }

    fn lists(&self) -> usize {
        self.api.asked(&format!("{MAPS}?")).len() - self.watches()
    }

    fn watches(&self) -> usize {
        self.api.asked(WATCHED).len()
    }

    /// Lets it go on, without anything that it would tell.
    async fn goes_on(&mut self, time: Duration) {
        let told = timeout(time, self.told.next()).await;
        assert!(told.is_err(), "{told:?}");
    }

    async fn watches_again(&mut self, before: usize) {
        let began = Instant::now();
        while self.watches() == before {
            assert!(began.elapsed() < SOON, "it never watches again");
            self.goes_on(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_list_that_is_refused_late_broken_off_or_lost_is_asked_for_again_and_told_whole() {
    for fault in [
        Fault::Refused(500),
        Fault::Refused(429),
        Fault::Late(Duration::from_millis(200)),
        Fault::BrokenOff,
        Fault::AnswerLost,
    ] {
        let mut bench = Bench::new().await;
        bench
            .api
            .set(&path("b"), json!({ "data": { "text": "two" } }));
        bench.api.script(MAPS, fault);
        assert_eq!(bench.listed().await, ["a", "b two"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_watch_that_is_refused_late_broken_off_or_lost_misses_nothing() {
    for fault in [
        Fault::Refused(500),
        Fault::Late(Duration::from_millis(200)),
        Fault::BrokenOff,
        Fault::AnswerLost,
        Fault::Ended(500),
    ] {
        let mut bench = Bench::new().await;
        bench.api.script(WATCHED, fault);
        assert_eq!(bench.listed().await, ["a"]);
        bench.api.set(&path("b"), json!({}));
        bench
            .api
            .set(&path("a"), json!({ "data": { "text": "new" } }));
        bench.api.delete(&path("b"));
        assert_eq!(
            bench.next().await,
            Event::Apply("b ".to_owned()),
            "{fault:?}"
        );
        assert_eq!(
            bench.next().await,
            Event::Apply("a new".to_owned()),
            "{fault:?}"
        );
        assert_eq!(
            bench.next().await,
            Event::Delete("b ".to_owned()),
            "{fault:?}"
        );
        assert_eq!(
            bench.lists(),
            1,
            "{fault:?}: nothing has to be listed again"
        );
    }
}

#[tokio::test]
async fn what_is_gone_is_listed_again_whether_the_request_is_refused_or_the_watch_ended() {
    for by_event in [false, true] {
        let mut bench = Bench::new().await;
        assert_eq!(bench.listed().await, ["a"]);
        bench.watches_again(0).await;
        if by_event {
            bench.api.script(WATCHED, Fault::Ended(410));
        }
        let before = bench.watches();
        bench.api.hang_up();
        bench.api.delete(&path("a"));
        bench.api.set(&path("c"), json!({}));
        if !by_event {
            bench.api.compact();
        }
        assert_eq!(
            bench.listed().await,
            ["c"],
            "what was deleted meanwhile is not in it"
        );
        assert!(bench.watches() > before);
        assert_eq!(bench.lists(), 2);
    }
}

#[tokio::test]
async fn from_a_bookmark_on_nothing_is_listed_again_however_much_is_forgotten() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.listed().await, ["a"]);
    bench.watches_again(0).await;
    bench.api.bookmark();
    bench.api.set(&path("b"), json!({}));
    // It has read the bookmark, which comes first.
    assert_eq!(bench.next().await, Event::Apply("b ".to_owned()));
    bench.api.bookmark();
    let asks = |bench: &Bench| bench.api.asked(WATCHED).last().cloned().unwrap_or_default();
    let before = bench.watches();
    bench.goes_on(Duration::from_millis(200)).await;
    bench.api.compact();
    bench.api.hang_up();
    let (api, watches) = (bench.api.clone(), before);
    let changed = async {
        while api.asked(WATCHED).len() == watches {
            sleep(Duration::from_millis(5)).await;
        }
        api.set(&path("d"), json!({}));
    };
    let (next, ()) = tokio::join!(bench.next(), changed);
    assert_eq!(next, Event::Apply("d ".to_owned()), "{}", asks(&bench));
    assert_eq!(bench.lists(), 1);
}

#[tokio::test]
async fn a_watch_is_long_where_bookmarks_come_and_short_where_none_do() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.listed().await, ["a"]);
    bench.watches_again(0).await;
    bench.api.hang_up();
    bench.watches_again(1).await;
    bench.api.bookmark();
    bench.api.set(&path("b"), json!({}));
    assert_eq!(bench.next().await, Event::Apply("b ".to_owned()));
    bench.api.hang_up();
    bench.watches_again(2).await;
    let asked = bench.api.asked(WATCHED);
    let seconds = |line: &String| {
        let (_, rest) = line.split_once("timeoutSeconds=").unwrap();
        let number = rest.split('&').next().unwrap();
        number.parse::<u32>().unwrap()
    };
    let lengths: Vec<_> = asked.iter().map(seconds).collect();
    assert!(lengths[..2].iter().all(|one| *one <= 60), "{lengths:?}");
    assert!((300..=600).contains(&lengths[2]), "{lengths:?}");
    assert!(
        asked
            .iter()
            .all(|line| line.contains("allowWatchBookmarks=true"))
    );
}

#[tokio::test]
async fn while_the_server_stalls_nothing_is_told_and_nothing_is_taken_back() {
    let mut bench = Bench::new().await;
    bench.api.script(WATCHED, Fault::Stalled);
    assert_eq!(bench.listed().await, ["a"]);
    bench.watches_again(0).await;
    bench.goes_on(Duration::from_millis(500)).await;
    assert_eq!((bench.lists(), bench.watches()), (1, 1));
}
