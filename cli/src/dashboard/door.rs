//! Who is let in, and what is asked.

use std::fmt::Write as _;

use anyhow::anyhow;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};

/// Bytes of the token: nobody guesses 128 bits.
const TOKEN: usize = 16;
/// A question about more nodes than this is none that somebody asked by clicking.
const NODES: usize = 200;
/// Of a Node's name (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

/// The way in.
pub(super) struct Door {
    /// The first part of every path, in hexadecimal: relative links of the page carry it on.
    token: String,
    port: u16,
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Page,
    Style,
    Script,
    Icon,
    Feed,
    NodeDown(Vec<String>),
    Drain(String),
    Config,
}

/// Why somebody is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str);

const FOREIGN: Refused = Refused(
    StatusCode::FORBIDDEN,
    "open the address that kubectl ferrolb dashboard printed\n",
);
const NOT_THERE: Refused = Refused(StatusCode::NOT_FOUND, "there is no such page\n");
const NO_NODE: Refused = Refused(StatusCode::BAD_REQUEST, "name the node: ?node=NAME\n");
const METHOD: Refused = Refused(StatusCode::METHOD_NOT_ALLOWED, "this page is read-only\n");

impl Door {
    /// With a token that is new.
    pub(super) fn new(port: u16) -> anyhow::Result<Self> {
        let mut bytes = [0; TOKEN];
        getrandom::fill(&mut bytes).map_err(|error| anyhow!("no random numbers: {error}"))?;
        let mut token = String::new();
        for byte in bytes {
            write!(token, "{byte:02x}")?;
        }
        Ok(Self { token, port })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// What is asked, if whoever asks may.
    pub(super) fn admit(&self, request: &Parts) -> Result<Ask, Refused> {
        // A name of somebody else's that leads here (DNS rebinding), or a proxy's form of a path.
        if !self.is_for_us(&request.headers) || request.uri.authority().is_some() {
            return Err(FOREIGN);
        }
        let path = request.uri.path();
        let (token, path) = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .ok_or(FOREIGN)?;
        if !is_same(token, &self.token) {
            return Err(FOREIGN);
        }
        let query = request.uri.query().unwrap_or_default();
        let ask = match path {
            "" => Ask::Page,
            "page.css" => Ask::Style,
            "page.js" => Ask::Script,
            "icon.svg" => Ask::Icon,
            "feed" => Ask::Feed,
            "plan/node-down" => Ask::NodeDown(nodes(query)?),
            "plan/drain" => match <[String; 1]>::try_from(nodes(query)?) {
                Ok([node]) => Ask::Drain(node),
                Err(_) => return Err(NO_NODE),
            },
            "plan/config" => Ask::Config,
            _ => return Err(NOT_THERE),
        };
        let method = match ask {
            Ask::Config => Method::POST,
            _ => Method::GET,
        };
        if request.method != method {
            return Err(METHOD);
        }
        if ask == Ask::Config && !self.is_from_us(&request.headers) {
            return Err(FOREIGN);
        }
        Ok(ask)
    }

    /// `Host`, just once.
    fn is_for_us(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        self.names().iter().any(|name| host == name.as_str())
    }

    /// `Origin`, which browsers send with whatever is no GET.
    fn is_from_us(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let is_ours = |origin: &http::HeaderValue| {
            let names = self.names();
            names
                .iter()
                .any(|name| *origin == format!("http://{name}").as_str())
        };
        origins.all(is_ours)
    }

    fn names(&self) -> Vec<String> {
        let names = ["127.0.0.1", "localhost"];
        let mut all: Vec<_> = names.map(|name| format!("{name}:{}", self.port)).into();
        if self.port == 80 {
            // Browsers leave that one out.
            all.extend(names.map(str::to_owned));
        }
        all
    }
}

/// In a time that does not tell where they differ.
fn is_same(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    let differ = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differ) == 0
}

/// `node=NAME`, once or more. Names of Nodes need no escapes.
fn nodes(query: &str) -> Result<Vec<String>, Refused> {
    let names: Option<Vec<_>> = query
        .split('&')
        .map(|part| part.strip_prefix("node=").filter(|name| is_name(name)))
        .collect();
    let names = names.filter(|names| names.len() <= NODES).ok_or(NO_NODE)?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    (1..=LONGEST_NAME).contains(&name.len())
        && characters
            .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || "-.".contains(one))
}
