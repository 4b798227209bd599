//! What the speaker of this node announces: nobody hears the answers of the own machine.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// It answers at once, or hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses that are announced from here.
pub(super) async fn announced_here(port: u16) -> anyhow::Result<BTreeSet<IpAddr>> {
    let status = timeout(PATIENCE, status(port)).await;
    let status = status.context("it does not answer")??;
    let vips = status["vips"].as_array().context("no vips")?;
    let here = vips.iter().filter(|vip| vip["announcedHere"] == true);
    here.map(|vip| {
        let address = vip["address"].as_str().context("no address")?;
        address.parse().context("no address")
    })
    .collect()
}

async fn status(port: u16) -> anyhow::Result<Value> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/status")
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == StatusCode::OK, "{status}");
    serde_json::from_slice(&body).context("its answer is no status")
}
