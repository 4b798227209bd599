//! Watches of the API server: objects in, what is read of them out.
//!
//! ```text
//!  Begin ──Init──▶ Listing ──InitApply…──▶ Listed ──▶ Watching ──Apply, Delete…
//!    ▲               │ page after page       ▲          │ its time is over, or the connection
//!    └── refused, or the version is too old ─┴──────────┘
//! ```
//!
//! One object at a time is decoded as its bytes come in, and dropped at once: neither a page nor a
//! whole object is ever kept. One that cannot be decoded is told as such, and blinds nobody.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use ferrolb_core::Reason;
use ferrolb_core::text::shortened;
use ferrolb_core::view::ServiceKey;
use futures::stream::{Stream, unfold};
use futures::{AsyncBufRead, AsyncBufReadExt as _};
use http::Request;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::backoff::spread;
use crate::pieces::{ListBody, Piece};

mod lasting;
mod length;

use self::length::{Length, SILENCE};
pub use lasting::{NOT_SELECTABLE, NOT_THERE, Told, Watched, or_else, or_none, renewed, told};

/// A watch that ends sooner by a fault of the connection has failed.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// Objects of the first page, and the most of a later one.
const FIRST_PAGE: usize = 20;
const LARGEST_PAGE: usize = 500;
/// What a page should have, in bytes: the API server makes all of it at once.
const PAGE_BYTES: usize = 2 << 20;
/// The longest error that is told.
const LONGEST_ERROR: usize = 300;
/// Objects that were said to be undecodable, so that each is said once.
const SAID: usize = 1_000;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<T> {
    /// A list is about to be asked for.
    Init,
    /// It is in the list.
    InitApply(T),
    /// The list is complete: what is not in it is gone.
    InitDone,
    /// It was created or changed.
    Apply(T),
    /// It was deleted, or is selected no longer.
    Delete(T),
    /// It is there, and cannot be decoded: what is known of it stays.
    Unreadable(T),
}

impl<T> Event<T> {
    /// The same about something else.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Event<U> {
        match self {
            Self::Init => Event::Init,
            Self::InitApply(object) => Event::InitApply(f(object)),
            Self::InitDone => Event::InitDone,
            Self::Apply(object) => Event::Apply(f(object)),
            Self::Delete(object) => Event::Delete(f(object)),
            Self::Unreadable(object) => Event::Unreadable(f(object)),
        }
    }

    /// Whether it tells of an object that cannot be decoded.
    #[must_use]
    pub const fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

/// Why a watch cannot go on. It is tried again when it is polled again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server does not list.
    #[error("cannot list: {0}")]
    List(#[source] kube::Error),
    /// The API server does not watch.
    #[error("cannot watch: {0}")]
    Watch(#[source] kube::Error),
    /// It ended the watch with this word.
    #[error("the watch was ended: {}", .0.message)]
    Ended(Box<Status>),
    /// What it said is no list, or no event.
    #[error("cannot decode the response: {0}")]
    Unintelligible(String),
    /// The connection broke.
    #[error("the response was cut short: {0}")]
    Broken(#[source] io::Error),
}

impl Error {
    /// The status code with which the API server refused the request.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::List(kube::Error::Api(status)) | Self::Watch(kube::Error::Api(status)) => {
                Some(status.code)
            }
            _ => None,
        }
    }

    /// Whether the API server refused the request with one of these status codes.
    fn is_one_of(&self, codes: &[u16]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }
}

/// The objects of `api` that `fields` selects, each as what `read` makes of it: of its namespace and
/// name, and of the object unless it was deleted or cannot be decoded.
pub fn watch<K, T, F>(
    api: Api<K>,
    fields: Option<String>,
    read: F,
) -> impl Stream<Item = Result<Event<T>, Error>> + Send + use<K, T, F>
where
    K: Resource<DynamicType = ()> + Debug + DeserializeOwned + Send + 'static,
    T: Send,
    F: Fn(&ServiceKey, Option<&K>) -> T + Send + 'static,
{
    watch_kind(api, K::kind(&()).into_owned(), fields, read)
}

/// The same of the objects that `labels` selects.
pub fn watch_labelled<K, T, F>(
    api: Api<K>,
    labels: Option<String>,
    read: F,
) -> impl Stream<Item = Result<Event<T>, Error>> + Send + use<K, T, F>
where
    K: Resource<DynamicType = ()> + Debug + DeserializeOwned + Send + 'static,
    T: Send,
    F: Fn(&ServiceKey, Option<&K>) -> T + Send + 'static,
{
    let kind = K::kind(&()).into_owned();
    let fields = None;
    watch_selected(api, kind, Selected { fields, labels }, read)
}

/// The same of objects whose kind is known while the program runs. `kind` is its name, for the log.
pub fn watch_kind<K, T, F>(
    api: Api<K>,
    kind: String,
    fields: Option<String>,
    read: F,
) -> impl Stream<Item = Result<Event<T>, Error>> + Send + use<K, T, F>
where
    K: Resource + Debug + DeserializeOwned + Send + 'static,
    T: Send,
    F: Fn(&ServiceKey, Option<&K>) -> T + Send + 'static,
{
    let labels = None;
    watch_selected(api, kind, Selected { fields, labels }, read)
}

/// Selectors, in the API server's words.
struct Selected {
    fields: Option<String>,
    labels: Option<String>,
}

fn watch_selected<K, T, F>(
    api: Api<K>,
    kind: String,
    selected: Selected,
    read: F,
) -> impl Stream<Item = Result<Event<T>, Error>> + Send + use<K, T, F>
where
    K: Resource + Debug + DeserializeOwned + Send + 'static,
    T: Send,
    F: Fn(&ServiceKey, Option<&K>) -> T + Send + 'static,
{
    let watch = Watch {
        request: kube::core::Request::new(api.resource_url()),
        client: api.into_client(),
        selected,
        reader: Reader {
            read,
            kind,
            unreadable: BTreeSet::new(),
            object: std::marker::PhantomData,
        },
        state: State::Begin,
        length: Length::new(spread()),
    };
    unfold(watch, |mut watch| async move {
        let event = watch.next().await;
        Some((event, watch))
    })
}

struct Watch<K, F> {
    client: Client,
    request: kube::core::Request,
    selected: Selected,
    reader: Reader<K, F>,
    state: State,
    length: Length,
}

enum State {
    Begin,
    /// Between two pages.
    Paging {
        from: Option<String>,
        limit: usize,
    },
    Listing(Page),
    /// Known up to this version.
    Listed(String),
    Watching(Lines),
}

struct Page {
    body: Body,
    list: ListBody,
    objects: usize,
    bytes: usize,
}

struct Lines {
    body: Body,
    line: Piece,
    /// Known up to this version.
    version: String,
    since: Instant,
}

/// The body of an answer.
struct Body(Pin<Box<dyn AsyncBufRead + Send>>);

impl Body {
    /// What has come in; empty at the end.
    async fn fill(&mut self) -> io::Result<&[u8]> {
        match timeout(SILENCE, self.0.fill_buf()).await {
            Ok(bytes) => bytes,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.0.as_mut().consume(bytes);
    }
}

impl<K, T, F> Watch<K, F>
where
    K: Resource + DeserializeOwned,
    F: Fn(&ServiceKey, Option<&K>) -> T,
{
    async fn next(&mut self) -> Result<Event<T>, Error> {
        loop {
            let told = match &mut self.state {
                State::Begin => {
                    let limit = FIRST_PAGE;
                    self.state = State::Paging { from: None, limit };
                    return Ok(Event::Init);
                }
                State::Paging { .. } => self.ask_for_page().await,
                State::Listing(_) => self.list().await,
                State::Listed(_) => self.ask_for_watch().await,
                State::Watching(_) => self.watch().await,
            };
            if let Some(event) = told? {
                return Ok(event);
            }
        }
    }

    async fn ask_for_page(&mut self) -> Result<Option<Event<T>>, Error> {
        let State::Paging { from, limit } = std::mem::replace(&mut self.state, State::Begin) else {
            return Ok(None);
        };
        let params = ListParams {
            field_selector: self.selected.fields.clone(),
            label_selector: self.selected.labels.clone(),
            limit: u32::try_from(limit).ok(),
            continue_token: from,
            ..ListParams::default()
        };
        let request = self.request.list(&params);
        let body = send(&self.client, request).await.map_err(Error::List)?;
        self.state = State::Listing(Page {
            body,
            list: ListBody::default(),
            objects: 0,
            bytes: 0,
        });
        Ok(None)
    }

    async fn list(&mut self) -> Result<Option<Event<T>>, Error> {
        let State::Listing(page) = &mut self.state else {
            return Ok(None);
        };
        let failed = match page.next().await {
            Ok(true) => {
                let (_, event) = self.reader.read(page.list.item(), Event::InitApply);
                page.list.clear();
                return Ok(Some(event));
            }
            Ok(false) => match page.list.metadata() {
                Ok(metadata) => {
                    let more = metadata.continue_.filter(|more| !more.is_empty());
                    let version = metadata.resource_version.filter(|one| !one.is_empty());
                    if more.is_some() {
                        let limit = page.next_limit();
                        self.state = State::Paging { from: more, limit };
                        return Ok(None);
                    }
                    if let Some(version) = version {
                        self.state = State::Listed(version);
                        return Ok(Some(Event::InitDone));
                    }
                    Error::Unintelligible("a list without a version".to_owned())
                }
                Err(error) => Error::Unintelligible(shortened(&error, LONGEST_ERROR)),
            },
            Err(error) => Error::Broken(error),
        };
        self.state = State::Begin;
        Err(failed)
    }

    async fn ask_for_watch(&mut self) -> Result<Option<Event<T>>, Error> {
        let State::Listed(version) = &self.state else {
            return Ok(None);
        };
        let version = version.clone();
        let params = WatchParams {
            field_selector: self.selected.fields.clone(),
            label_selector: self.selected.labels.clone(),
            timeout: Some(self.length.next()),
            ..WatchParams::default()
        };
        let request = self.request.watch(&params, &version);
        match send(&self.client, request).await.map_err(Error::Watch) {
            Ok(body) => {
                self.state = State::Watching(Lines {
                    body,
                    line: Piece::default(),
                    version,
                    since: Instant::now(),
                });
                Ok(None)
            }
            Err(error) => {
                if error.code() == Some(410) {
                    self.state = State::Begin;
                }
                Err(error)
            }
        }
    }

    async fn watch(&mut self) -> Result<Option<Event<T>>, Error> {
        let State::Watching(lines) = &mut self.state else {
            return Ok(None);
        };
        match lines.next().await {
            Ok(true) => {
                let told = self.reader.read_event(&lines.line, &mut lines.version);
                lines.line.clear();
                match told {
                    Err(Error::Ended(status)) if status.code == 410 => {
                        self.state = State::Begin;
                        Err(Error::Ended(status))
                    }
                    Err(error) => {
                        self.go_on();
                        Err(error)
                    }
                    // Of a bookmark alone nothing is told.
                    Ok(None) => {
                        self.length.handle_bookmark();
                        Ok(None)
                    }
                    told => told,
                }
            }
            Ok(false) => {
                self.go_on();
                Ok(None)
            }
            Err(error) => {
                let is_short = lines.since.elapsed() < SHORT_LIFE;
                self.go_on();
                if is_short {
                    return Err(Error::Broken(error));
                }
                if error.kind() == io::ErrorKind::TimedOut {
                    self.length.handle_silence();
                }
                info!(%error, "watch interrupted, resuming");
                Ok(None)
            }
        }
    }

    /// From where the watch has ended.
    fn go_on(&mut self) {
        if let State::Watching(lines) = &mut self.state {
            self.state = State::Listed(std::mem::take(&mut lines.version));
        }
    }
}

async fn send(
    client: &Client,
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> kube::Result<Body> {
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    // Nobody here would expand a compressed answer.
    let plain = http::HeaderValue::from_static("identity");
    request
        .headers_mut()
        .insert(http::header::ACCEPT_ENCODING, plain);
    match timeout(SILENCE, client.request_stream(request)).await {
        Ok(body) => Ok(Body(Box::pin(body?))),
        Err(late) => Err(kube::Error::Service(late.into())),
    }
}

impl Page {
    /// Whether there is one more object.
    async fn next(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.body.fill().await?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let (taken, complete) = self.list.take(bytes);
            self.body.consume(taken);
            self.bytes += taken;
            if complete {
                self.objects += 1;
                return Ok(true);
            }
        }
    }

    /// How many objects the next page should have, if they are like these.
    fn next_limit(&self) -> usize {
        let each = self.bytes / self.objects.max(1);
        (PAGE_BYTES / each.max(1)).clamp(1, LARGEST_PAGE)
    }
}

impl Lines {
    /// Whether there is one more event.
    async fn next(&mut self) -> io::Result<bool> {
        loop {
            let bytes = self.body.fill().await?;
            if bytes.is_empty() {
                // What is left is half an event.
                return Ok(false);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            self.line
                .push(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
            let taken = end.map_or(bytes.len(), |end| end + 1);
            self.body.consume(taken);
            if end.is_some() && !self.line.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Makes of objects what is read of them.
struct Reader<K, F> {
    read: F,
    kind: String,
    /// What was said to be undecodable.
    unreadable: BTreeSet<ServiceKey>,
    object: std::marker::PhantomData<fn() -> K>,
}

impl<K, T, F> Reader<K, F>
where
    K: Resource + DeserializeOwned,
    F: Fn(&ServiceKey, Option<&K>) -> T,
{
    /// The object in `piece`, as `event`; with its version.
    fn read(&mut self, piece: &Piece, event: fn(T) -> Event<T>) -> (Option<String>, Event<T>) {
        match piece.read::<K>() {
            Ok(object) => self.understood(&object, event),
            Err(error) => {
                let head = piece.head();
                let key = key(head.namespace.as_deref(), head.name.as_deref());
                self.not_understood(&key, &error);
                let told = Event::Unreadable((self.read)(&key, None));
                (head.resource_version, told)
            }
        }
    }

    fn understood(&mut self, object: &K, event: fn(T) -> Event<T>) -> (Option<String>, Event<T>) {
        let meta = object.meta();
        let key = key(meta.namespace.as_deref(), meta.name.as_deref());
        self.unreadable.remove(&key);
        let told = event((self.read)(&key, Some(object)));
        (meta.resource_version.clone(), told)
    }

    fn not_understood(&mut self, key: &ServiceKey, error: &str) {
        let error = shortened(error, LONGEST_ERROR);
        let (kind, reason) = (&self.kind, Reason::Unreadable);
        let is_news = self.unreadable.len() < SAID && self.unreadable.insert(key.clone());
        if is_news {
            warn!(kind, object = %key, %reason, error, "cannot decode an object, keeping what was known of it");
        } else {
            debug!(kind, object = %key, %reason, error, "still cannot decode an object");
        }
    }

    /// One event of a watch; `version` is that up to which all is known.
    fn read_event(
        &mut self,
        line: &Piece,
        version: &mut String,
    ) -> Result<Option<Event<T>>, Error> {
        let (known, event) = match line.read::<WatchEvent<K>>() {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                self.understood(&object, Event::Apply)
            }
            Ok(WatchEvent::Deleted(object)) => self.understood(&object, Event::Delete),
            Ok(WatchEvent::Bookmark(bookmark)) => {
                *version = bookmark.metadata.resource_version;
                return Ok(None);
            }
            Ok(WatchEvent::Error(status)) => return Err(Error::Ended(status)),
            Err(error) => self.read_head(line, error)?,
        };
        if let Some(known) = known.filter(|known| !known.is_empty()) {
            *version = known;
        }
        Ok(Some(event))
    }

    /// The same of an event whose object cannot be decoded.
    fn read_head(
        &mut self,
        line: &Piece,
        error: String,
    ) -> Result<(Option<String>, Event<T>), Error> {
        let head = line.head();
        let key = key(head.namespace.as_deref(), head.name.as_deref());
        let event = match head.event.as_deref() {
            Some("ADDED" | "MODIFIED") => {
                self.not_understood(&key, &error);
                Event::Unreadable((self.read)(&key, None))
            }
            Some("DELETED") => {
                self.unreadable.remove(&key);
                Event::Delete((self.read)(&key, None))
            }
            _ => return Err(Error::Unintelligible(shortened(&error, LONGEST_ERROR))),
        };
        Ok((head.resource_version, event))
    }
}

fn key(namespace: Option<&str>, name: Option<&str>) -> ServiceKey {
    ServiceKey::new(namespace.unwrap_or_default(), name.unwrap_or_default())
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
