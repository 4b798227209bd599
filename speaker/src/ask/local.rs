//! What the speaker of this node announces: nobody hears the answers of the own machine.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use ferrolb_core::report::SpeakerStatus;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// It answers at once, or hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The addresses that are announced from here.
pub(super) async fn announced_here(port: u16) -> anyhow::Result<BTreeSet<IpAddr>> {
    let status = timeout(PATIENCE, status(port)).await;
    let status = status.context("it does not answer")??;
    let here = status.vips.iter().filter(|vip| vip.announced_here);
    Ok(here.map(|vip| vip.address).collect())
}

async fn status(port: u16) -> anyhow::Result<SpeakerStatus> {
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
    serde_json::from_slice(&body).context("its response is not a status")
}
