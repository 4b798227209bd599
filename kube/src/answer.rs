//! Answers to writes. They carry the whole object, with all that a tenant put into it, and nobody
//! looks at more than its version.

use std::pin::pin;

use futures::AsyncBufReadExt as _;
use http::Request;
use kube::{Client, Error};

use crate::pieces::Piece;

/// An object's version comes within its first few hundred bytes.
const ENOUGH: usize = 16 << 10;

/// Sends a write; the version that the object has by it, if the answer says so.
///
/// # Errors
/// The API server's, or the connection's.
pub async fn version_after(
    client: &Client,
    request: Request<Vec<u8>>,
) -> kube::Result<Option<String>> {
    let mut body = pin!(client.request_stream(request).await?);
    let (mut head, mut length) = (Piece::default(), 0);
    loop {
        let bytes = body.fill_buf().await.map_err(Error::ReadEvents)?;
        let taken = bytes.len();
        if taken == 0 {
            return Ok(head.head().resource_version);
        }
        if length < ENOUGH {
            head.push(bytes.get(..ENOUGH - length).unwrap_or(bytes));
        }
        length += taken;
        // To the end: the connection is used again.
        body.consume_unpin(taken);
    }
}
