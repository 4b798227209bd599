//! As much of redis' protocol (RESP2) as a counter needs.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Bounds connecting, sending and receiving, each. The page rather says that redis is silent than
/// keep the visitor waiting.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer that is read, in bytes.
const LONGEST_REPLY: usize = 64 * 1024;

/// A redis server, known by its DNS name.
pub(crate) struct Redis {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An answer of redis.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    Text(String),
    Integer(i64),
    Nil,
    Error(String),
}

impl Redis {
    /// Sends one command over a connection of its own. The name is resolved each time: it follows a
    /// Service that was made again with another address.
    pub(crate) fn ask(&self, command: &[&str]) -> io::Result<Reply> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(&encode(command))?;
        read_reply(&mut BufReader::new(stream))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Nil => f.write_str("(nil)"),
            Self::Error(text) => write!(f, "(error) {text}"),
        }
    }
}

/// A command is an array of bulk strings: each word with its length before it.
fn encode(command: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn read_reply(reader: &mut impl BufRead) -> io::Result<Reply> {
    let line = read_line(reader)?;
    let (kind, rest) = line
        .split_at_checked(1)
        .ok_or_else(|| broken("an empty line"))?;
    match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => Ok(Reply::Error(rest.to_owned())),
        ":" => rest.parse().map(Reply::Integer).map_err(|_| broken(&line)),
        "$" if rest == "-1" => Ok(Reply::Nil),
        "$" => read_bulk(reader, rest.parse().map_err(|_| broken(&line))?),
        _ => Err(broken(&line)),
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(LONGEST_REPLY as u64).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(text) => Ok(text.to_owned()),
        None => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the answer breaks off",
        )),
    }
}

fn read_bulk(reader: &mut impl Read, length: usize) -> io::Result<Reply> {
    if length > LONGEST_REPLY {
        return Err(broken("an answer that is too long"));
    }
    let mut bytes = vec![0; length + b"\r\n".len()];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(length);
    Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("cannot understand its answer: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut BufReader::new(bytes))
    }

    #[test]
    fn a_command_carries_the_length_of_each_word() {
        assert_eq!(
            encode(&["GET", "count"]),
            b"*2\r\n$3\r\nGET\r\n$5\r\ncount\r\n"
        );
    }

    #[test]
    fn each_kind_of_answer_is_told_from_the_others() {
        assert_eq!(parse(b"+PONG\r\n").unwrap(), Reply::Text("PONG".to_owned()));
        assert_eq!(parse(b":42\r\n").unwrap(), Reply::Integer(42));
        assert_eq!(
            parse(b"$2\r\n42\r\n").unwrap(),
            Reply::Text("42".to_owned())
        );
        assert_eq!(parse(b"$-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(
            parse(b"-ERR no\r\n").unwrap(),
            Reply::Error("ERR no".to_owned())
        );
    }

    #[test]
    fn an_answer_that_breaks_off_or_makes_no_sense_is_an_error() {
        for bytes in [
            &b""[..],
            b"+PON",
            b"\r\n",
            b":x\r\n",
            b"$5\r\nab",
            b"$99999999\r\n",
            b"*1\r\n",
        ] {
            parse(bytes).expect_err(&format!("{bytes:?} must be refused"));
        }
    }
}
