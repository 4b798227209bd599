//! As much of HTTP as the daemons' client speaks: one request for each connection.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The first line without its version, and the body. `None` if there was no request.
pub(super) async fn read_request(stream: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let head = loop {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).await?;
        if length == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&part[..length]);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            break end;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut body = bytes.split_off(head + 4);
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default();
    let line = line.strip_suffix(" HTTP/1.1").unwrap_or(line).to_owned();
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    while body.len() < length.unwrap_or_default() {
        let mut part = [0; 4096];
        match stream.read(&mut part).await? {
            0 => return Ok(None),
            length => body.extend_from_slice(&part[..length]),
        }
    }
    Ok(Some((line, body)))
}

pub(super) fn head(code: u16, length: Option<usize>) -> String {
    let length = length.map_or_else(String::new, |it| format!("Content-Length: {it}\r\n"));
    format!(
        "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nConnection: close\r\n{length}\r\n"
    )
}

pub(super) async fn answer(stream: &mut TcpStream, code: u16, object: &Value) -> io::Result<()> {
    let text = object.to_string();
    let head = head(code, Some(text.len()));
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

pub(super) fn status(code: u16) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("scripted: {reason}"),
    })
}

pub(super) fn already_exists() -> Value {
    let mut status = status(409);
    status["reason"] = "AlreadyExists".into();
    status
}
