//! Who is let in, what is answered, and within which bounds: over real connections.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use http::{Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::door::{Ask, Door};
use super::feed::Feed;
use super::page::POLICY;
use super::serve::{LARGEST, Plans, serve};
use super::*;
use crate::fixtures::{controller, said};
use crate::picture::tests::{picture_of, speakers_on};
use crate::plan::Told;

const PORT: u16 = 8099;
const SOON: Duration = Duration::from_secs(20);

fn door() -> Door {
    Door::new(PORT).unwrap()
}

/// `/TOKEN/` of a door.
fn root(door: &Door) -> String {
    let url = door.url();
    let (_, behind) = url.split_once("://").unwrap();
    let (_, path) = behind.split_once('/').unwrap();
    format!("/{path}")
}

fn asked(
    door: &Door,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
) -> Result<Ask, StatusCode> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    door.admit(&parts).map_err(|refused| refused.0)
}

const OURS: (&str, &str) = ("host", "127.0.0.1:8099");

#[test]
fn each_door_has_a_token_of_its_own_that_nobody_guesses() {
    let (one, other) = (root(&door()), root(&door()));
    assert_ne!(one, other);
    assert_eq!(one.len(), "/".len() + 32 + "/".len());
    assert!(
        one.trim_matches('/').bytes().all(|c| c.is_ascii_hexdigit()),
        "{one}"
    );
}

#[test]
fn whoever_comes_by_another_name_is_refused_whatever_else_they_know() {
    let door = door();
    let page = root(&door);
    for host in ["127.0.0.1:8099", "localhost:8099"] {
        assert_eq!(
            asked(&door, "GET", &page, &[("host", host)]),
            Ok(Ask::Page),
            "{host}"
        );
    }
    for host in [
        "evil.example:8099",
        "evil.example",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:80",
        "127.0.0.1:8099.evil.example",
        "127.0.0.1:80990",
        "localhost.:8099",
        "[::1]:8099",
        "user@127.0.0.1:8099",
        "",
    ] {
        let refused = asked(&door, "GET", &page, &[("host", host)]);
        assert_eq!(refused, Err(StatusCode::FORBIDDEN), "{host:?}");
    }
    let none = asked(&door, "GET", &page, &[]);
    let two = asked(&door, "GET", &page, &[OURS, ("host", "evil.example")]);
    let proxied = asked(&door, "GET", &format!("http://evil.example{page}"), &[OURS]);
    assert_eq!(
        [none, two, proxied],
        [const { Err(StatusCode::FORBIDDEN) }; 3]
    );
    // Browsers leave out the usual port.
    let usual = Door::new(80).unwrap();
    assert!(asked(&usual, "GET", &root(&usual), &[("host", "localhost")]).is_ok());
}

#[test]
fn without_the_token_there_is_nothing_not_even_the_style() {
    let door = door();
    let page = root(&door);
    let token = page.trim_matches('/');
    let longer = format!("/{token}0/");
    let shorter = format!("/{}/", &token[1..]);
    let flipped = format!(
        "/{}{}/",
        if token.starts_with('0') { '1' } else { '0' },
        &token[1..]
    );
    for path in [
        "/",
        "//",
        "/feed",
        "/page.css",
        "/0/page.js",
        &longer,
        &shorter,
        &flipped,
        &format!("/?token={token}"),
        &format!("/{token}"),
    ] {
        let refused = asked(&door, "GET", path, &[OURS]);
        assert_eq!(refused, Err(StatusCode::FORBIDDEN), "{path}");
    }
}

#[test]
fn it_is_read_only_but_for_a_configuration_that_our_own_page_sends() {
    let door = door();
    let at = |path: &str| format!("{}{path}", root(&door));
    let is = |method: &str, path: &str| asked(&door, method, &at(path), &[OURS]);
    for (path, ask) in [
        ("", Ask::Page),
        ("page.css", Ask::Style),
        ("page.js", Ask::Script),
        ("icon.svg", Ask::Icon),
        ("feed", Ask::Feed),
        ("plan/drain?node=n1", Ask::Drain("n1".to_owned())),
        (
            "plan/node-down?node=n1",
            Ask::NodeDown(vec!["n1".to_owned()]),
        ),
        (
            "plan/node-down?node=n1&node=n-2.lan",
            Ask::NodeDown(vec!["n1".to_owned(), "n-2.lan".to_owned()]),
        ),
    ] {
        assert_eq!(is("GET", path), Ok(ask), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"] {
            assert_eq!(
                is(method, path),
                Err(StatusCode::METHOD_NOT_ALLOWED),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        is("GET", "plan/config"),
        Err(StatusCode::METHOD_NOT_ALLOWED)
    );
    for path in [
        "page.html",
        "../page.css",
        "feed/",
        "plan",
        "plan/move?node=n1",
    ] {
        assert_eq!(is("GET", path), Err(StatusCode::NOT_FOUND), "{path}");
    }
    let posted = |origin: &[(&str, &str)]| {
        let headers = [&[OURS][..], origin].concat();
        asked(&door, "POST", &at("plan/config"), &headers)
    };
    assert_eq!(posted(&[]), Ok(Ask::Config), "curl sends no Origin");
    assert_eq!(
        posted(&[("origin", "http://127.0.0.1:8099")]),
        Ok(Ask::Config)
    );
    for origin in [
        "https://127.0.0.1:8099",
        "http://evil.example",
        "null",
        "http://127.0.0.1",
    ] {
        let refused = posted(&[("origin", origin)]);
        assert_eq!(refused, Err(StatusCode::FORBIDDEN), "{origin}");
    }
}

#[test]
fn what_is_no_name_of_a_node_is_asked_of_nobody() {
    let door = door();
    let long = "a".repeat(254);
    let many = vec!["node=n1"; 201].join("&");
    for query in [
        "",
        "node=",
        "n1",
        "node=N1",
        "node=n1&x=1",
        "node=%3Cb%3E",
        "node=n1/../n2",
        &format!("node={long}"),
        &many,
    ] {
        for plan in ["node-down", "drain"] {
            let uri = format!("{}plan/{plan}?{query}", root(&door));
            let refused = asked(&door, "GET", &uri, &[OURS]);
            assert_eq!(refused, Err(StatusCode::BAD_REQUEST), "{plan} {query}");
        }
    }
    let two = format!("{}plan/drain?node=n1&node=n2", root(&door));
    assert_eq!(
        asked(&door, "GET", &two, &[OURS]),
        Err(StatusCode::BAD_REQUEST)
    );
}

/// Says what it was asked.
struct Echo;

impl Plans for Echo {
    async fn node_down(&self, nodes: &[String]) -> anyhow::Result<Told> {
        Ok(Told {
            plan: json!({ "nodes": nodes }),
            costs: vec!["<b>nothing</b>".to_owned()],
        })
    }

    async fn drain(&self, node: &str) -> anyhow::Result<Told> {
        bail!("there is no node {node}; there are n1, n2")
    }

    async fn config(&self, text: Vec<u8>) -> anyhow::Result<Told> {
        Ok(Told {
            plan: json!({ "bytes": text.len() }),
            costs: Vec::new(),
        })
    }
}

/// Does `work` while pages are served; it gets where, and the path with the token.
async fn served<T>(work: impl AsyncFnOnce(SocketAddr, String) -> T) -> T {
    let page = Dashboard::listen(0).await.unwrap();
    let at = page.listener.local_addr().unwrap();
    assert!(at.ip().is_loopback());
    let feed = Feed::default();
    tokio::select! {
        () = serve(&page.listener, &page.door, &feed, &Echo) => unreachable!("it never ends"),
        done = timeout(SOON, work(at, root(&page.door))) => done.unwrap(),
    }
}

/// The whole answer to one request; what cannot be sent any more is not wanted any more.
async fn get(at: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!("{head}\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn every_answer_has_the_policy_a_refusal_too() {
    served(async |at, root| {
        for (path, status, kind) in [
            ("", "200", "text/html; charset=utf-8"),
            ("page.js", "200", "text/javascript; charset=utf-8"),
            ("page.css", "200", "text/css; charset=utf-8"),
            ("icon.svg", "200", "image/svg+xml"),
            ("plan/node-down?node=n1", "200", "application/json"),
            ("plan/drain?node=n9", "422", "application/json"),
            ("nothing", "404", "text/plain; charset=utf-8"),
        ] {
            let answer = get(at, &format!("GET {root}{path} HTTP/1.1"), b"").await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{path}: {head}"
            );
            for line in [
                &format!("content-type: {kind}"),
                &format!("content-security-policy: {POLICY}"),
                "cache-control: no-store",
                "referrer-policy: no-referrer",
                "x-content-type-options: nosniff",
                "x-frame-options: DENY",
                "cross-origin-resource-policy: same-origin",
            ] {
                assert!(
                    head.lines().any(|one| one == line),
                    "{path}: {line}: {head}"
                );
            }
            assert!(!head.contains("access-control"), "{head}");
            assert!(!body.is_empty(), "{path}");
        }
        let stranger = get(at, "GET /0/page.js HTTP/1.1", b"").await;
        assert!(stranger.starts_with("HTTP/1.1 403 "), "{stranger}");
        assert!(stranger.contains(POLICY), "{stranger}");
    })
    .await;
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(POLICY.contains(part), "{part}");
    }
    assert!(!POLICY.contains("unsafe"));
}

#[tokio::test]
async fn plans_are_answered_as_data_and_what_they_refuse_in_words() {
    served(async |at, root| {
        let answer = get(
            at,
            &format!("GET {root}plan/node-down?node=n2&node=n1 HTTP/1.1"),
            b"",
        )
        .await;
        assert!(
            answer.contains(r#"{"plan":{"nodes":["n2","n1"]},"costs":["<b>nothing</b>"]}"#),
            "{answer}"
        );
        let answer = get(at, &format!("GET {root}plan/drain?node=n9 HTTP/1.1"), b"").await;
        assert!(
            answer.ends_with(r#"{"error":"there is no node n9; there are n1, n2"}"#),
            "{answer}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_configuration_has_at_most_one_mebibyte_whether_it_says_its_length_or_not() {
    served(async |at, root| {
        let path = format!("POST {root}plan/config HTTP/1.1");
        let all = vec![b'#'; LARGEST + 1];
        let sized = |length: usize| format!("{path}\r\nContent-Length: {length}");
        let fits = get(at, &sized(LARGEST), &all[1..]).await;
        assert!(fits.contains(&format!(r#""bytes":{LARGEST}"#)), "{fits}");
        let large = get(at, &sized(LARGEST + 1), &all).await;
        assert!(
            large.starts_with("HTTP/1.1 413 ") && large.contains("at most 1 MiB"),
            "{large}"
        );
        // Refused before any of it came.
        let larger = get(at, &sized(1 << 40), b"").await;
        assert!(larger.starts_with("HTTP/1.1 413 "), "{larger}");
        let chunked = format!("{path}\r\nTransfer-Encoding: chunked");
        let mut body = format!("{:x}\r\n", all.len()).into_bytes();
        body.extend(&all);
        body.extend(b"\r\n0\r\n\r\n");
        let unsized_one = get(at, &chunked, &body).await;
        assert!(unsized_one.starts_with("HTTP/1.1 413 "), "{unsized_one}");
    })
    .await;
}

#[tokio::test]
async fn who_connects_and_is_silent_keeps_nobody_out_for_long() {
    served(async |at, root| {
        let mut silent = Vec::new();
        for _ in 0..40 {
            silent.push(TcpStream::connect(at).await.unwrap());
        }
        let answer = get(at, &format!("GET {root}icon.svg HTTP/1.1"), b"").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_viewer_gets_pictures_as_they_come_and_one_that_goes_away_is_noticed() {
    let page = Dashboard::listen(0).await.unwrap();
    let at = page.listener.local_addr().unwrap();
    let feed = Feed::default();
    let looks = Cell::new(0);
    let look = async || {
        looks.set(looks.get() + 1);
        let nodes = ["n1", "n2"];
        let told = [("n1", None), ("n2", Some("not_owner"))];
        Ok(picture_of(
            speakers_on(&nodes),
            Ok(controller()),
            said(&told),
        ))
    };
    let each = Duration::from_millis(5);
    let work = async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!(
            "GET {}feed HTTP/1.1\r\nHost: {at}\r\n\r\n",
            root(&page.door)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut seen = String::new();
        let mut part = [0; 4096];
        while !seen.contains(r#""name":"n2""#) {
            let length = stream.read(&mut part).await.unwrap();
            assert!(length > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        assert!(seen.contains("content-type: text/event-stream"), "{seen}");
        assert!(
            seen.contains("event: picture\ndata: {\"now\":1795629600000,"),
            "{seen}"
        );
        drop(stream);
        loop {
            let before = looks.get();
            tokio::time::sleep(20 * each).await;
            if looks.get() == before {
                break;
            }
        }
    };
    tokio::select! {
        () = feed.run(each, look) => unreachable!("it never ends"),
        () = serve(&page.listener, &page.door, &feed, &Echo) => unreachable!("it never ends"),
        done = timeout(SOON, work) => done.unwrap(),
    }
}
