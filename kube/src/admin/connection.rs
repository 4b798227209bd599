//! One connection: one request, one answer, and an end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::Slot;
use super::pages::{LocalPages, Pages};

/// A client that has not sent its request by then is cut off.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// And one that has not read the answer by then. Prometheus itself waits for 10 s, unless told
/// otherwise.
const TOTAL_TIME: Duration = Duration::from_secs(15);
/// A longer head of a request is refused (431). The least that hyper allows.
const HEAD_SIZE: usize = 8 * 1024;
/// What a client may send after its request. A body means nothing here, but whoever sends a small one
/// should get the answer and not a reset.
const IGNORED: usize = 4 * 1024;

/// Serves the connection until it has ended, or has had its time.
pub(super) async fn serve<P: LocalPages>(
    stream: TcpStream,
    is_local: bool,
    pages: &Pages<P>,
    slot: &Slot,
) {
    let start = Instant::now();
    // Until there is something to read it has no buffers. (Not `readable`: at first that is always so.)
    match timeout(HEAD_TIME, stream.peek(&mut [0])).await {
        Ok(Ok(length)) if length > 0 => {}
        _ => return,
    }
    slot.speaks();
    let service = service_fn(|request| async move {
        slot.asked();
        Ok::<_, Infallible>(pages.answer(&request, is_local).await)
    });
    let io = TokioIo::new(Lingering {
        stream,
        slot,
        is_shut: false,
        ignored: 0,
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME.saturating_sub(start.elapsed()))
        .max_buf_size(HEAD_SIZE)
        // An idle connection holds a place and serves nobody.
        .keep_alive(false)
        .serve_connection(io, service);
    let left = TOTAL_TIME.saturating_sub(start.elapsed());
    // In a box, so that it takes no room before.
    match timeout(left, Box::pin(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "monitoring connection failed"),
        Err(_) => debug!("monitoring connection closed: it took too long"),
    }
}

/// A connection that is shut down once the other end has closed it, too: until then what was written
/// is in the kernel, and counts as memory of this process as long as the other end reads nothing. Out
/// of sight there could be any number of those; so each keeps its place for as long. When it is
/// dropped the kernel forgets it at once (`SO_LINGER` 0).
struct Lingering<'a> {
    stream: TcpStream,
    slot: &'a Slot,
    is_shut: bool,
    ignored: usize,
}

impl AsyncRead for Lingering<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lingering<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.is_shut = true;
            self.slot.answered();
        }
        loop {
            let mut bytes = [0; 1024];
            let mut rest = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut rest))?;
            self.ignored += rest.filled().len();
            if rest.filled().is_empty() || self.ignored > IGNORED {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
