//! Asking other nodes, from this node's own address.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use wire::{ANSWER_BYTES, Answer, FormationError, Question};

use super::peer::{Heard, Peer};

/// How long connecting may take, and sending.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the answer may take: the other node may have to write a file before.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Nodes that are asked at the same time, each by a thread.
const ASKED_COUNT_MAX: usize = 32;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The connection failed, or nothing came in time.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no answer.
    #[error("what answers there is no node of this release: {0}")]
    Nonsense(#[from] FormationError),
    /// Another node answers than was asked.
    #[error("node {0} answers there: check the peers' addresses")]
    OtherNode(types::NodeId),
}

/// Asks all peers, each its question. What each has said is in the same order.
pub fn ask_all(from: IpAddr, peers: &[Peer], questions: &[Question]) -> Vec<Heard> {
    assert_eq!(peers.len(), questions.len(), "one question per peer");
    let mut heard = Vec::with_capacity(peers.len());
    for (peers, questions) in peers.chunks(ASKED_COUNT_MAX).zip(questions.chunks(ASKED_COUNT_MAX)) {
        std::thread::scope(|scope| {
            let asked: Vec<_> = peers
                .iter()
                .zip(questions)
                .map(|(peer, question)| scope.spawn(move || ask(from, peer.addr, question)))
                .collect();
            heard.extend(asked.into_iter().map(|asked| match asked.join() {
                Ok(Ok(answer)) => Heard::Said(answer.code),
                Ok(Err(error)) => Heard::Nothing(error.to_string()),
                Err(_) => Heard::Nothing("asking failed".to_owned()),
            }));
        });
    }
    heard
}

/// Asks one node.
pub fn ask(from: IpAddr, to: SocketAddr, question: &Question) -> Result<Answer, AskError> {
    let mut stream = connect_from(from, to)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(&question.encode())?;
    let mut bytes = [0; ANSWER_BYTES];
    stream.read_exact(&mut bytes)?;
    let answer = Answer::decode(&bytes)?;
    if answer.from == question.to { Ok(answer) } else { Err(AskError::OtherNode(answer.from)) }
}

/// Connects from a local address; the standard library cannot choose it.
pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // On Linux this bounds connecting, too.
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_TIMEOUT))?;
    if from.is_ipv4() == to.is_ipv4() {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}
