//! An API server for tests, on the loopback interface: it lists, watches and takes writes over HTTP, and
//! fails as a script says. The daemons' own client, watches and loops run against it.

mod http;
mod paths;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch as latest;
use tokio::time::sleep;

use self::http::{already_exists, answer, head, read_request, status};
use self::paths::{has_labels, is_collection, is_in, names, parameter};

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this status code; 410 is `Gone`.
    Refused(u16),
    /// A watch is accepted, and its first event is an error of this code.
    Ended(u16),
    /// The answer comes after this time.
    Late(Duration),
    /// No answer ever comes, and the connection stays.
    Stalled,
    /// The request is carried out, and the connection ends before a word of the answer.
    AnswerLost,
    /// The answer ends in the middle.
    BrokenOff,
}

/// The API server. It ends with the runtime that it was started in.
#[derive(Clone)]
pub struct ApiServer {
    at: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    version: u64,
    /// By path, such as `/api/v1/namespaces/shop/services/web`.
    objects: BTreeMap<String, Value>,
    /// What has happened: version, path, type and object.
    history: Vec<(u64, String, &'static str, Value)>,
    /// What is known no more: a watch from an earlier version is `Gone`.
    forgotten: u64,
    /// For the next requests whose line contains this text.
    script: VecDeque<(String, Fault)>,
    /// The first line of each request.
    asked: Vec<String>,
    changed: latest::Sender<u64>,
    /// How often all watches were ended.
    hung_up: u64,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "API server at {}", self.at)
    }
}

impl ApiServer {
    /// Without any object.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (changed, _) = latest::channel(0);
        let server = Self {
            at: listener.local_addr()?,
            state: Arc::new(Mutex::new(State {
                version: 1,
                objects: BTreeMap::new(),
                history: Vec::new(),
                forgotten: 0,
                script: VecDeque::new(),
                asked: Vec::new(),
                changed,
                hung_up: 0,
            })),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move {
                    // Whoever hangs up has its reasons.
                    let _ = server.serve(stream).await;
                });
            }
        });
        Ok(server)
    }

    /// A client of it, made as the daemons make theirs.
    ///
    /// # Errors
    /// The kubeconfig cannot be written or read.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let name = format!("ferrolb-scripted-{}-{}", std::process::id(), self.at.port());
        let path: PathBuf = std::env::temp_dir().join(name);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.at) } }],
            "users": [{ "name": "test", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        std::fs::write(&path, config.to_string()).context("cannot write a kubeconfig")?;
        let client = crate::client::connect(Some(&path), crate::client::Patience::USUAL).await;
        std::fs::remove_file(&path).context("cannot remove the kubeconfig")?;
        client
    }

    /// The next request whose first line contains `line` goes wrong like this; after those that were
    /// scripted before.
    pub fn script(&self, line: &str, fault: Fault) {
        self.state().script.push_back((line.to_owned(), fault));
    }

    /// Creates or changes an object.
    pub fn set(&self, path: &str, object: Value) {
        self.state().set(path, object);
    }

    /// Deletes an object.
    pub fn delete(&self, path: &str) {
        self.state().delete(path);
    }

    /// Forgets what has happened so far: whoever watches from before has to list again.
    pub fn compact(&self) {
        let mut state = self.state();
        state.forgotten = state.version;
        state.history.clear();
    }

    /// Ends all watches, as a server does that restarts.
    pub fn hang_up(&self) {
        let mut state = self.state();
        state.hung_up += 1;
        let version = state.version;
        state.changed.send_replace(version);
    }

    /// Tells all watches the newest version, without an object.
    pub fn bookmark(&self) {
        let mut state = self.state();
        let version = state.next_version();
        let object = json!({
            "kind": "Bookmark", "apiVersion": "v1",
            "metadata": { "resourceVersion": version.to_string() },
        });
        state.tell(String::new(), "BOOKMARK", object);
    }

    /// The object as it is now.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// The objects whose path contains this text.
    #[must_use]
    pub fn all(&self, part: &str) -> Vec<Value> {
        let state = self.state();
        let objects = state.objects.iter();
        let found = objects.filter(|(path, _)| path.contains(part));
        found.map(|(_, object)| object.clone()).collect()
    }

    /// The first lines of the requests that contain this text.
    #[must_use]
    pub fn asked(&self, part: &str) -> Vec<String> {
        let state = self.state();
        let asked = state.asked.iter().filter(|line| line.contains(part));
        asked.cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request of one connection.
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some((line, body)) = read_request(&mut stream).await? else {
            return Ok(());
        };
        let fault = self.state().fault_of(&line);
        let (method, target) = line.split_once(' ').unwrap_or((&line, "/"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match fault {
            Some(Fault::Refused(code)) => return answer(&mut stream, code, &status(code)).await,
            Some(Fault::Late(time)) => sleep(time).await,
            Some(Fault::Stalled) => std::future::pending().await,
            _ => {}
        }
        if method == "GET" && query.contains("watch=true") {
            return self.watch(&mut stream, path, query, fault).await;
        }
        let (code, object) = self.state().carry_out(method, path, query, &body);
        match fault {
            Some(Fault::AnswerLost) => Ok(()),
            Some(Fault::BrokenOff) => {
                let text = object.to_string();
                let head = head(code, Some(text.len()));
                let half = text.len() / 2;
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&text.as_bytes()[..half]).await
            }
            _ => answer(&mut stream, code, &object).await,
        }
    }

    async fn watch(
        &self,
        stream: &mut TcpStream,
        path: &str,
        query: &str,
        fault: Option<Fault>,
    ) -> io::Result<()> {
        let mut from: u64 = parameter(query, "resourceVersion")
            .and_then(|version| version.parse().ok())
            .unwrap_or_default();
        if from < self.state().forgotten {
            return answer(stream, 410, &status(410)).await;
        }
        stream.write_all(head(200, None).as_bytes()).await?;
        if let Some(Fault::Ended(code)) = fault {
            let event = json!({ "type": "ERROR", "object": status(code) });
            stream.write_all(format!("{event}\n").as_bytes()).await?;
            return Ok(());
        }
        let (mut changed, hung_up) = {
            let state = self.state();
            (state.changed.subscribe(), state.hung_up)
        };
        loop {
            if self.state().hung_up != hung_up {
                return Ok(());
            }
            let events = self.state().since(from, path, query);
            for (version, kind, object) in events {
                from = version;
                let text = format!("{}\n", json!({ "type": kind, "object": object }));
                if fault == Some(Fault::BrokenOff) {
                    return stream.write_all(&text.as_bytes()[..text.len() / 2]).await;
                }
                stream.write_all(text.as_bytes()).await?;
            }
            if changed.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}

impl State {
    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn tell(&mut self, path: String, kind: &'static str, object: Value) {
        self.history.push((self.version, path, kind, object));
        self.changed.send_replace(self.version);
    }

    fn set(&mut self, path: &str, mut object: Value) -> Value {
        let version = self.next_version();
        let [namespace, name] = names(path);
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        metadata["resourceVersion"] = version.to_string().into();
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        let before = self.objects.insert(path.to_owned(), object.clone());
        let kind = if before.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.tell(path.to_owned(), kind, object.clone());
        object
    }

    fn delete(&mut self, path: &str) {
        if let Some(mut object) = self.objects.remove(path) {
            let version = self.next_version();
            object["metadata"]["resourceVersion"] = version.to_string().into();
            self.tell(path.to_owned(), "DELETED", object);
        }
    }

    fn fault_of(&mut self, line: &str) -> Option<Fault> {
        self.asked.push(line.to_owned());
        let mut script = self.script.iter();
        let at = script.position(|(part, _)| line.contains(part))?;
        self.script.remove(at).map(|(_, fault)| fault)
    }

    fn since(&self, version: u64, path: &str, query: &str) -> Vec<(u64, &'static str, Value)> {
        let history = self.history.iter();
        let news = history.filter(|(at, one, kind, object)| {
            let is_selected = || is_in(one, path, query) && has_labels(object, query);
            *at > version && (*kind == "BOOKMARK" || is_selected())
        });
        let news = news.map(|(at, _, kind, object)| (*at, *kind, object.clone()));
        news.collect()
    }

    fn carry_out(&mut self, method: &str, path: &str, query: &str, body: &[u8]) -> (u16, Value) {
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        let whose = path.strip_suffix("/status").unwrap_or(path);
        match method {
            "GET" => match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None if is_collection(path) => (200, self.list(path, query)),
                None => (404, status(404)),
            },
            // Reviews are answered and not kept.
            "POST" if path.contains("reviews") => {
                let mut review = sent;
                // All that belongs to the core group: no Lease, so whoever asks leads alone.
                let rule = json!({ "verbs": ["*"], "apiGroups": [""], "resources": ["*"] });
                review["status"] = json!({
                    "allowed": true, "incomplete": false,
                    "resourceRules": [rule], "nonResourceRules": [],
                });
                (201, review)
            }
            "POST" => {
                let name = sent["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{path}/{name}");
                match self.objects.contains_key(&path) {
                    true => (409, already_exists()),
                    false => (201, self.set(&path, sent)),
                }
            }
            "PUT" | "PATCH" => match self.objects.get(whose).cloned() {
                None => (404, status(404)),
                Some(mut object) => {
                    let wants = sent["metadata"]["resourceVersion"].as_str();
                    let is = object["metadata"]["resourceVersion"].as_str();
                    if wants.is_some_and(|wants| Some(wants) != is) {
                        return (409, status(409));
                    }
                    match method {
                        "PUT" => object = sent,
                        _ => merge(&mut object, sent),
                    }
                    (200, self.set(whose, object))
                }
            },
            "DELETE" => {
                self.delete(path);
                (200, json!({ "kind": "Status", "status": "Success" }))
            }
            _ => (405, status(405)),
        }
    }

    fn list(&self, path: &str, query: &str) -> Value {
        let objects = self.objects.iter();
        let items =
            objects.filter(|(one, object)| is_in(one, path, query) && has_labels(object, query));
        let items: Vec<_> = items.map(|(_, object)| object).collect();
        json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": { "resourceVersion": self.version.to_string() },
            "items": items,
        })
    }
}

/// RFC 7386.
fn merge(object: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *object = patch;
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    if let Value::Object(object) = object {
        for (key, value) in patch {
            match value {
                Value::Null => drop(object.remove(&key)),
                value => merge(object.entry(key).or_insert(Value::Null), value),
            }
        }
    }
}

/// What is left of the first round that takes less than `limit`, of three: in another one somebody else may
/// have had the cores.
///
/// # Panics
/// No round does.
pub async fn ends_within<T>(limit: Duration, mut round: impl AsyncFnMut() -> (Duration, T)) -> T {
    let mut all = Vec::new();
    for _ in 0..3 {
        let (took, left) = round().await;
        if took < limit {
            return left;
        }
        all.push(took);
    }
    panic!("it took {all:?}");
}
