//! A node that has lost its data comes back to its cluster, with a token that an operator got there (`CORACLE REPLACE`).
//!
//! It draws an incarnation, writes it down, and asks the gateways of the others, one after the other and again and again, to be admitted
//! under it (`CORACLE JOIN`), until one says that the cluster's map names it. A crash at any step leaves a node that asks again, under
//! the same incarnation: the token is good for that one alone, so a directory that is lost once more cannot pass for the one before.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use meta::{ClusterId, ClusterMap, JoinToken};
use types::NodeId;

use crate::formation::asking::connect_from;
use crate::formation::config_print;
use crate::identity::{Identity, IdentityError, Stage};
use crate::signals::StopRequests;

/// How long to wait behind a round in which nobody has admitted the node.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often a node that waits says for what.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a node cannot come back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node file cannot be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory holds something.
    #[error(
        "--join is for a node whose data directory is empty, and this one is not: a node that has its data needs no token. If it is to \
         be given up, empty the directory first"
    )]
    HasData,
    /// The cluster refuses it.
    #[error("{addr} says: {answer}")]
    Refused {
        /// Who says so.
        addr: SocketAddr,
        /// What it says.
        answer: String,
    },
    /// It had begun to come back.
    #[error(
        "this node had begun to come back to its cluster: start it with the token again (--join), or empty its directory"
    )]
    NoToken,
}

/// What a node answers.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The map names this node under its incarnation.
    Admitted(ClusterId),
    /// Ask again.
    Wait(String),
    /// No other answer will come.
    Refused(String),
}

/// Comes back, and returns the identity of this node; `None` if asked to stop before. `map` is the configured one.
///
/// # Errors
/// See [`Error`].
pub fn run(
    dir: &Path,
    map: &ClusterMap,
    mut identity: Identity,
    token: JoinToken,
    stop: &StopRequests,
) -> Result<Option<(Identity, ClusterId)>, Error> {
    match identity.stage {
        Stage::Empty => identity.store(dir, Stage::Joining)?,
        Stage::Joining => {}
        Stage::Formed(id) if identity.has_come_back => return Ok(Some((identity, id))),
        Stage::Forming(_) | Stage::Formed(_) => return Err(Error::HasData),
    }
    let me = identity.node_id;
    let own = map.node(me).expect("a checked configuration holds its own node");
    let others: Vec<SocketAddr> =
        map.nodes.iter().filter(|node| node.id != me).map(|node| node.gateway_addr()).collect();
    let line = question(me, identity.incarnation, token, map);
    tracing::info!(node = me.0, dir = %dir.display(), "this node has no data and asks its cluster to let it come back");
    let mut told_at = Instant::now();
    while stop.count() == 0 {
        let mut heard = Vec::new();
        for addr in &others {
            match ask(own.host, *addr, &line) {
                Ok(Answer::Admitted(id)) => {
                    identity.store(dir, Stage::Formed(id))?;
                    tracing::info!(node = me.0, cluster = %id, "this node has come back, and receives what it has lost");
                    return Ok(Some((identity, id)));
                }
                Ok(Answer::Refused(answer)) => return Err(Error::Refused { addr: *addr, answer }),
                Ok(Answer::Wait(answer)) => heard.push(format!("{addr}: {answer}")),
                Err(error) => heard.push(format!("{addr}: {error}")),
            }
        }
        if told_at.elapsed() >= TELL_EVERY {
            told_at = Instant::now();
            tracing::info!(answers = heard.join("; "), "this node is not admitted yet");
        }
        std::thread::sleep(ASK_EVERY);
    }
    Ok(None)
}

/// The command, as it is sent.
fn question(me: NodeId, incarnation: u64, token: JoinToken, map: &ClusterMap) -> String {
    let map: String = config_print(map).map.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("CORACLE JOIN {me} {incarnation:016x} {token} {map}\r\n")
}

fn ask(from: IpAddr, to: SocketAddr, line: &str) -> io::Result<Answer> {
    let mut stream = connect_from(from, to)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(understood(&answer))
}

fn understood(answer: &str) -> Answer {
    let answer = answer.trim_end();
    let admitted = answer.strip_prefix("+OK ").and_then(|id| u128::from_str_radix(id, 16).ok());
    match admitted {
        Some(id) => Answer::Admitted(ClusterId(id)),
        None if answer.starts_with("-ERR the token was used")
            || answer.starts_with("-ERR the node is configured") =>
        {
            Answer::Refused(answer.trim_start_matches("-ERR ").to_owned())
        }
        None if answer == "+WAIT" => {
            Answer::Wait("it does not know of the token yet, or of the change of the map".to_owned())
        }
        None => Answer::Wait(answer.trim_start_matches("-ERR ").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        assert_eq!(understood("+OK 000000000000000000000000000000ab\r\n"), Answer::Admitted(ClusterId(0xab)));
        assert!(matches!(understood("+WAIT\r\n"), Answer::Wait(_)));
        assert_eq!(understood("-ERR node 3 is there\r\n"), Answer::Wait("node 3 is there".to_owned()));
        assert_eq!(understood("-LOADING soon\r\n"), Answer::Wait("-LOADING soon".to_owned()));
        for refused in ["-ERR the token was used with another", "-ERR the node is configured otherwise"] {
            assert_eq!(understood(refused), Answer::Refused(refused.trim_start_matches("-ERR ").to_owned()));
        }
    }
}
