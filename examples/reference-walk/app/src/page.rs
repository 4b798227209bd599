//! The HTTP side: one request a connection, four paths.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::log;
use crate::redis::{Redis, Reply};

/// How long a worker waits for a silent visitor.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest request head that is read, in bytes.
const LONGEST_HEAD: u64 = 8 * 1024;

pub(crate) struct Page {
    pub(crate) redis: Redis,
    pub(crate) pod: String,
}

struct Response {
    status: &'static str,
    body: String,
}

impl Page {
    /// Answers connection after connection, for ever.
    pub(crate) fn serve(&self, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let client = peer.ip().to_canonical();
                    if let Err(error) = self.handle_connection(stream, client) {
                        log(format!("{client}: {error}"));
                    }
                }
                Err(error) => log(format!("cannot accept a connection: {error}")),
            }
        }
    }

    fn handle_connection(&self, mut stream: TcpStream, client: IpAddr) -> io::Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let Some(request) = read_request_line(&stream)? else {
            return Ok(());
        };
        let response = self.respond(&request, client);
        log(format!("{client}: {request}: {}", response.status));
        let body = if request.starts_with("HEAD ") {
            ""
        } else {
            &response.body
        };
        write!(
            stream,
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
            response.status,
            response.body.len(),
        )
    }

    fn respond(&self, request: &str, client: IpAddr) -> Response {
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if !matches!(method, "GET" | "HEAD") {
            return Response::new("405 Method Not Allowed", "this page can only be read\n");
        }
        match target.split('?').next().unwrap_or("") {
            "/" => self.count(client),
            "/healthz" => Response::new("200 OK", "ok\n"),
            "/readyz" => self.ready(),
            // Browsers ask for an icon unasked: it must not count as a visit.
            path => Response::new("404 Not Found", &format!("there is no {path} here\n")),
        }
    }

    /// A page that cannot count is not ready: a Service may stand before kube-proxy has carried its
    /// endpoint to every node.
    fn ready(&self) -> Response {
        match self.redis.ask(&["PING"]) {
            Ok(_) => Response::new("200 OK", "ok\n"),
            Err(error) => Response::new(
                "503 Service Unavailable",
                &format!("no redis at {}: {error}\n", self.redis),
            ),
        }
    }

    fn count(&self, client: IpAddr) -> Response {
        let problem = match self.redis.ask(&["INCR", "count"]) {
            Ok(Reply::Integer(count)) => {
                let page = format!("count: {count}\npod: {}\nclient: {client}\n", self.pod);
                return Response::new("200 OK", &page);
            }
            Ok(other) => format!("it says {other}"),
            Err(error) => error.to_string(),
        };
        let page = format!("cannot count in redis {}: {problem}\n", self.redis);
        log(page.trim_end());
        Response::new("503 Service Unavailable", &page)
    }
}

impl Response {
    fn new(status: &'static str, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
        }
    }
}

/// The first line of the request; the other headers are read and not looked at, since a socket
/// that is closed with unread bytes resets the connection before the answer arrives. `None`: the
/// peer went away without a request, as port checks do.
fn read_request_line(stream: &TcpStream) -> io::Result<Option<String>> {
    let mut head = BufReader::new(stream.take(LONGEST_HEAD));
    let mut request = String::new();
    if head.read_line(&mut request)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    while head.read_line(&mut line)? > 0 && line.trim_end() != "" {
        line.clear();
    }
    Ok(Some(request.trim_end().to_owned()))
}
