//! Whether a node answers the controller itself.
//!
//! A TCP connection to the kubelet's port: whatever comes back, be it a refusal, was sent by a kernel
//! that lives. Nothing is said over it, so no credentials and no certificates are needed. It counts only
//! if a node that does live answers there in the same moment: behind a firewall all nodes look dead.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ferrolb_core::dead::{Look, Looked};
use futures::future::{join, join_all};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The kubelet's port.
const PORT: u16 = 10_250;
/// An answer on a LAN takes a millisecond; each 0.1 s costs users a share of their connections.
const PATIENCE: Duration = Duration::from_millis(150);
/// A lost segment is sent again only after a second: a second connection is begun instead.
const SECOND: Duration = Duration::from_millis(50);

/// Looks.
pub(super) async fn look(look: &Look) -> Looked {
    at_port(look, PORT).await
}

async fn at_port(look: &Look, port: u16) -> Looked {
    // A voter on another family proves nothing about this one.
    let is_of_its = |voter: &&IpAddr| look.at.iter().any(|at| at.is_ipv4() == voter.is_ipv4());
    let voters: Vec<_> = look.voters.iter().filter(is_of_its).copied().collect();
    let (answers, sees) = join(any_answers(&look.at, port), any_answers(&voters, port)).await;
    match (answers, sees) {
        (true, _) => Looked::Answers,
        (false, true) => Looked::Silent,
        (false, false) => Looked::Blind,
    }
}

async fn any_answers(hosts: &[IpAddr], port: u16) -> bool {
    let answers = hosts
        .iter()
        .map(|host| answers(SocketAddr::new(*host, port)));
    join_all(answers).await.contains(&true)
}

async fn answers(at: SocketAddr) -> bool {
    let later = async {
        sleep(SECOND).await;
        connects(at).await
    };
    let either = async {
        tokio::pin!(later);
        let first = connects(at);
        tokio::pin!(first);
        tokio::select! {
            // One that ends without an answer leaves it to the other.
            true = &mut first => true,
            true = &mut later => true,
            else => false,
        }
    };
    timeout(PATIENCE, either).await.unwrap_or(false)
}

/// Whether the host's kernel said anything. That it cannot be reached is said by others.
async fn connects(at: SocketAddr) -> bool {
    match TcpStream::connect(at).await {
        Ok(_) => true,
        Err(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
        ),
    }
}

#[cfg(test)]
mod tests {
    use ferrolb_core::dead::Process;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn of(at: &str, voters: &str) -> Look {
        let parse = |text: &str| {
            text.split_whitespace()
                .map(|one| one.parse().unwrap())
                .collect()
        };
        Look {
            node: "n2".to_owned(),
            process: Process {
                boot: 1,
                incarnation: 0,
            },
            at: parse(at),
            voters: parse(voters),
        }
    }

    /// Says nothing from now on: its queue of connections is full, and the kernel drops what would be one more.
    async fn silent(at: &str) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(at.parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let at = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(PATIENCE, TcpStream::connect(at)).await {
            queued.push(stream.unwrap());
        }
        (listener, queued)
    }

    /// Nobody waits so long for it.
    const LONG: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn an_answer_or_a_refusal_is_a_living_kernel_and_silence_counts_beside_a_voter_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let _silent = [
            silent(&format!("127.0.0.3:{port}")).await,
            silent(&format!("127.0.0.4:{port}")).await,
        ];
        for (at, voters, expected) in [
            ("127.0.0.1", "127.0.0.1", Looked::Answers),
            // Nobody listens there: refused.
            ("127.0.0.2", "127.0.0.1", Looked::Answers),
            ("127.0.0.3", "127.0.0.1", Looked::Silent),
            ("127.0.0.3", "127.0.0.4 127.0.0.1", Looked::Silent),
            ("127.0.0.3 127.0.0.1", "127.0.0.1", Looked::Answers),
            ("127.0.0.3", "127.0.0.4", Looked::Blind),
            ("127.0.0.3", "", Looked::Blind),
            ("127.0.0.3", "::1", Looked::Blind),
            ("", "127.0.0.1", Looked::Blind),
        ] {
            // Another round where this process was stopped.
            let mut took = LONG;
            for _ in 0..3 {
                let begin = tokio::time::Instant::now();
                let looked = at_port(&of(at, voters), port).await;
                assert_eq!(looked, expected, "{at:?}, voters {voters:?}");
                took = took.min(begin.elapsed());
                if took < LONG {
                    break;
                }
            }
            assert!(took < LONG, "{at}");
        }
    }
}
