//! `MetalLB`'s objects: kinds that an API server may have or not, and that may come and go while a daemon
//! runs. Which there are is asked first, so that none that is missing is a failure.
//!
//! ```text
//!  GET /apis/metallb.io/v1beta1 ─▶ kinds ─▶ one watch each ─▶ objects
//!         ▲ every 30 s while one is missing, when somebody wants to know, and when a watch finds nothing
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ferrolb_core::config::objects::{Kind, ObjectView};
use ferrolb_core::k8s;
use ferrolb_core::source::Presence;
use ferrolb_core::view::ServiceKey;
use futures::stream::{self, BoxStream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, ObjectMeta};
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch as latest;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::backoff::delay;
use crate::watch::{Error, Event, NOT_THERE, told, watch_kind};

/// Kinds may be installed while a daemon runs.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Some have come, and the others, which refer to them or are referred to, may be on their way.
const COMING: Duration = Duration::from_secs(1);
/// And rights be given.
const FORBIDDEN_FOR: Duration = Duration::from_secs(60);
/// A kind that has just gone may be listed for a moment yet.
const GONE_FOR: Duration = Duration::from_secs(1);
/// An answer to a single question takes no longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// With that an API server answers that forbids to read objects.
const FORBIDDEN: u16 = 403;

/// An object whose kind is known while the program runs.
#[derive(Clone, Deserialize)]
pub struct Untyped {
    /// `metadata`
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `spec`; null if it has none.
    #[serde(default)]
    pub spec: Value,
    /// `status`; null if it has none.
    #[serde(default)]
    pub status: Value,
}

/// A router's password must not get into a log.
impl fmt::Debug for Untyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        f.debug_tuple("Untyped").field(&name).finish()
    }
}

impl Resource for Untyped {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        kind.kind.as_str().into()
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        kind.group.as_str().into()
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        kind.version.as_str().into()
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        kind.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What an object of `MetalLB`'s says.
#[must_use]
pub fn object_view(kind: Kind, version: &str, object: &Untyped) -> ObjectView {
    k8s::object_view(kind, version, &object.metadata, &object.spec)
}

/// The kind, as the API server knows it.
#[must_use]
pub fn resource(kind: Kind, version: &str) -> ApiResource {
    ApiResource {
        group: Kind::GROUP.to_owned(),
        version: version.to_owned(),
        api_version: format!("{}/{version}", Kind::GROUP),
        kind: kind.as_str().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

/// What is told.
#[derive(Debug)]
pub enum Told<V> {
    /// The API server has these kinds, as it said when it was asked at that time.
    Kinds(BTreeMap<Kind, Presence>, Instant),
    /// An object of that kind, as what was read of it.
    Object(Kind, Event<(ServiceKey, Option<V>)>),
}

/// Watches the objects of `namespace`, each as what `read` makes of it, whose second argument is the
/// version. The kinds are looked for whenever `wanted` changes, too.
pub fn watch_objects<V: Send + 'static>(
    client: Client,
    namespace: &str,
    wanted: latest::Receiver<u64>,
    read: fn(Kind, &str, &Untyped) -> V,
) -> BoxStream<'static, Told<V>> {
    let kinds = Kinds {
        client,
        namespace: namespace.to_owned(),
        wanted,
        read,
        watches: BTreeMap::new(),
        away: BTreeMap::new(),
        look_at: Instant::now(),
        served: None,
        failures: 0,
    };
    stream::unfold(kinds, |mut kinds| async move {
        let told = kinds.next().await;
        Some((told, kinds))
    })
    .boxed()
}

/// What a watch tells, and at last with which status code it ended.
type Watch<V> = BoxStream<'static, Result<Event<(ServiceKey, Option<V>)>, u16>>;

struct Kinds<V> {
    client: Client,
    namespace: String,
    wanted: latest::Receiver<u64>,
    read: fn(Kind, &str, &Untyped) -> V,
    /// Each with the version that is watched.
    watches: BTreeMap<Kind, (String, Watch<V>)>,
    /// Kinds that could not be read, each with the time at which that is tried again, and whether it is
    /// forbidden.
    away: BTreeMap<Kind, (Instant, bool)>,
    look_at: Instant,
    /// How many kinds there were at the last look.
    served: Option<usize>,
    failures: u32,
}

impl<V: Send + 'static> Kinds<V> {
    async fn next(&mut self) -> Told<V> {
        loop {
            let watches = self.watches.iter_mut();
            let watches = watches.map(|(kind, (_, watch))| watch.map(|event| (*kind, event)));
            let mut watches = stream::select_all(watches);
            let (kind, event) = tokio::select! {
                () = sleep_until(self.look_at) => {
                    drop(watches);
                    match self.look().await {
                        Some(told) => return told,
                        None => continue,
                    }
                }
                Ok(()) = self.wanted.changed() => {
                    self.look_at = Instant::now();
                    continue;
                }
                Some(event) = watches.next() => event,
            };
            drop(watches);
            match event {
                Ok(event) => return Told::Object(kind, event),
                Err(code) => self.ended(kind, code),
            }
        }
    }

    /// The watch of that kind cannot go on.
    fn ended(&mut self, kind: Kind, code: u16) {
        let is_forbidden = code == FORBIDDEN;
        if is_forbidden {
            info!(kind = kind.plural(), "may not be read, and is done without");
        }
        self.watches.remove(&kind);
        let pause = if is_forbidden {
            FORBIDDEN_FOR
        } else {
            GONE_FOR
        };
        self.away
            .insert(kind, (Instant::now() + pause, is_forbidden));
        self.look_at = Instant::now();
    }

    /// Asks which kinds there are; nothing, if there is no answer.
    async fn look(&mut self) -> Option<Told<V>> {
        let asked = Instant::now();
        let served = match timeout(TIMEOUT, served(&self.client)).await {
            Ok(Ok(served)) => served,
            Ok(Err(error)) => return self.failed(&error.to_string()),
            Err(late) => return self.failed(&late.to_string()),
        };
        self.failures = 0;
        let count = served.kinds.len();
        let before = self.served.replace(count);
        if before.is_some_and(|before| before < count) && count < Kind::ALL.len() {
            self.look_at = asked + COMING;
            return None;
        }
        self.away.retain(|_, (until, _)| *until > asked);
        let Served {
            kinds,
            is_forbidden,
        } = served;
        let mut told = BTreeMap::new();
        for kind in Kind::ALL {
            let Some((version, presence)) = kinds.get(&kind) else {
                self.watches.remove(&kind);
                continue;
            };
            match self.away.get(&kind) {
                Some((_, true)) => continue,
                Some((_, false)) => {}
                None => self.watch(kind, version),
            }
            told.insert(kind, *presence);
        }
        let pause = match (is_forbidden, told.len() < Kind::ALL.len()) {
            (true, _) => FORBIDDEN_FOR,
            (false, true) => LOOK_AGAIN,
            // Each watch notices when its kind goes.
            (false, false) => LOOK_AGAIN * 120,
        };
        let away = self.away.values().map(|(until, _)| *until).min();
        let next = asked + pause;
        self.look_at = away.map_or(next, |until| until.min(next));
        Some(Told::Kinds(told, asked))
    }

    fn failed(&mut self, error: &str) -> Option<Told<V>> {
        if self.failures == 0 {
            warn!(
                error,
                "cannot ask the API server whether it has MetalLB's kinds"
            );
        } else {
            debug!(
                error,
                "still cannot ask the API server whether it has MetalLB's kinds"
            );
        }
        self.failures = self.failures.saturating_add(1);
        self.look_at = Instant::now() + delay(self.failures);
        None
    }

    fn watch(&mut self, kind: Kind, version: &str) {
        let watched = self.watches.get(&kind);
        if watched.is_some_and(|(watched, _)| watched == version) {
            return;
        }
        debug!(kind = kind.plural(), version, "watched");
        let resource = resource(kind, version);
        let api = Api::<Untyped>::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let (read, version) = (self.read, version.to_owned());
        let view = {
            let version = version.clone();
            move |key: &ServiceKey, object: Option<&Untyped>| {
                let object = object.map(|object| read(kind, &version, object));
                (key.clone(), object)
            }
        };
        let events = watch_kind(api, kind.as_str().to_owned(), None, view);
        // The last error says why it ended.
        let (tell, why) = latest::channel(0);
        let events = events.take_while(move |event| {
            let code = event.as_ref().err().and_then(Error::code);
            let code = code.filter(|code| NOT_THERE.contains(code));
            if let Some(code) = code {
                tell.send_replace(code);
            }
            std::future::ready(code.is_none())
        });
        let end = stream::once(async move { Err(*why.borrow()) });
        let events = told(kind.plural(), events).map(Ok).chain(end);
        self.watches.insert(kind, (version, events.boxed()));
    }
}

/// What an API server has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Served {
    /// Each kind with the version to read it in.
    kinds: BTreeMap<Kind, (String, Presence)>,
    /// Whether it does not tell.
    is_forbidden: bool,
}

async fn served(client: &Client) -> kube::Result<Served> {
    let mut served = Served::default();
    // Every kind has the first one. Of two the later one is read.
    for version in ["v1beta1", "v1beta2"] {
        let group = format!("{}/{version}", Kind::GROUP);
        match client.list_api_group_resources(&group).await {
            Ok(list) => served.add(version, &list.resources),
            Err(kube::Error::Api(status)) if NOT_THERE.contains(&status.code) => {
                served.is_forbidden = status.code == FORBIDDEN;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(served)
}

impl Served {
    fn add(&mut self, version: &str, resources: &[APIResource]) {
        for kind in Kind::ALL {
            let resource = resources.iter().find(|one| one.name == kind.plural());
            let Some(resource) = resource.filter(|_| kind.versions().contains(&version)) else {
                continue;
            };
            // Of a kind that is about to be deleted no object can be made.
            let presence = match resource.verbs.iter().any(|verb| verb == "create") {
                true => Presence::Served,
                false => Presence::Terminating,
            };
            self.kinds.insert(kind, (version.to_owned(), presence));
        }
    }
}

#[cfg(test)]
mod tests;
