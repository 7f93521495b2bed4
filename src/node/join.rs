//! A node without data comes to a cluster that is formed, with a token that an operator got there: as a new node (`CORACLE TOKEN`), or as one
//! that has lost its data (`CORACLE REPLACE`).
//!
//! It draws an incarnation, writes it down, and asks the gateways of the nodes that its configuration lists, one after the other and again
//! and again, to be admitted under it (`CORACLE JOIN`), until one says that the cluster's map names it. The answer holds its id, the map with
//! which the cluster was formed and the latest one: these are kept, and with them the node starts like any other. A crash at any step leaves a
//! node that asks again, under the same incarnation: the token is good for that one alone, so a directory that is lost once more cannot pass
//! for the one before.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use meta::{ClusterMap, JoinToken, Node};
use types::NodeId;

use crate::config::Config;
use crate::formation::asking::connect_from;
use crate::formation::config_print;
use crate::identity::{Identity, IdentityError, Stage};
use crate::kept_map::KeptMap;
use crate::signals::StopRequests;

/// How long to wait behind a round in which nobody has admitted the node.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often a node that waits says for what.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest map that is taken from another node, in bytes.
const MAP_BYTES_MAX: u64 = 64 << 20;
/// How an error begins to which no better answer will come.
const REFUSED: &str = "REFUSED ";

/// Why a node cannot come to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the node cannot be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory holds something.
    #[error(
        "--join is for a node whose data directory is empty, and this one is not: a node that has its data needs no token. If it is to \
         be given up, empty the directory first"
    )]
    HasData,
    /// Nobody can be asked.
    #[error("--join needs nodes of the cluster to ask: list at least one besides this one as [[peers]]")]
    NoSeeds,
    /// The cluster refuses it.
    #[error("{addr} says: {answer}")]
    Refused {
        /// Who says so.
        addr: SocketAddr,
        /// What it says.
        answer: String,
    },
    /// The token is another node's.
    #[error("the token is that of node {admitted}, and `node_id` is {configured}: correct it, or leave it out")]
    OtherNode {
        /// Whom the cluster has admitted.
        admitted: NodeId,
        /// The configured id.
        configured: NodeId,
    },
    /// It had begun to come to the cluster.
    #[error(
        "this node had begun to come to a cluster: start it with the token again (--join), or empty its directory"
    )]
    NoToken,
    /// It has no id.
    #[error(
        "`node_id` is missing: a node that forms a cluster has one. A node that is to join a cluster needs a token, which CORACLE TOKEN \
         prints on the gateway of any node of it: --join TOKEN"
    )]
    NoId,
}

/// What a node answers.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The map names this node under its incarnation.
    Admitted(NodeId, Box<KeptMap>),
    /// Ask again.
    Wait(String),
    /// No other answer will come.
    Refused(String),
}

/// Comes to the cluster, and returns the identity of this node with the maps; `None` if asked to stop before. `kept` is what an earlier start
/// has left, `name` the configured map.
///
/// # Errors
/// See [`Error`].
pub fn run(
    config: &Config,
    name: &ClusterMap,
    mut identity: Identity,
    kept: Option<KeptMap>,
    token: JoinToken,
    stop: &StopRequests,
) -> Result<Option<(Identity, KeptMap)>, Error> {
    let dir = &config.data_dir;
    match (identity.stage, kept) {
        (Stage::Empty, _) => identity.store(dir, Stage::Joining)?,
        (Stage::Joining, _) => {}
        (Stage::Formed(_), Some(kept)) if identity.has_come_back => return Ok(Some((identity, kept))),
        (Stage::Forming(_) | Stage::Formed(_), _) => return Err(Error::HasData),
    }
    let own = config.node();
    let seeds = config.bootstrap.nodes.iter().map(Node::gateway_addr).filter(|addr| *addr != own.gateway_addr());
    let seeds: Vec<SocketAddr> = seeds.collect();
    if seeds.is_empty() {
        return Err(Error::NoSeeds);
    }
    let question = question(own, identity.incarnation, token, name);
    tracing::info!(dir = %dir.display(), "this node has no data and asks a cluster to let it in");
    let mut told_at = Instant::now();
    while stop.count() == 0 {
        let mut heard = Vec::new();
        for addr in &seeds {
            match ask(own.host, *addr, &question) {
                Ok(Answer::Admitted(id, kept)) => {
                    if let Some(configured) = config.node_id.filter(|configured| *configured != id) {
                        return Err(Error::OtherNode { admitted: id, configured });
                    }
                    kept.store(dir)?;
                    identity.node_id = id;
                    identity.store(dir, Stage::Formed(kept.first.cluster_id))?;
                    tracing::info!(node = id.0, cluster = %kept.first.cluster_id, "this node was let in");
                    return Ok(Some((identity, *kept)));
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
fn question(own: &Node, incarnation: u64, token: JoinToken, name: &ClusterMap) -> String {
    let name: String = config_print(name).name.iter().map(|byte| format!("{byte:02x}")).collect();
    let words = [
        "CORACLE".to_owned(),
        "JOIN".to_owned(),
        token.to_string(),
        format!("{incarnation:016x}"),
        name,
        own.host.to_string(),
        own.gateway_port.to_string(),
        own.core_port.to_string(),
        own.peer_port.to_string(),
        own.admin_port.to_string(),
        own.cores.to_string(),
    ];
    let words: Vec<String> = words.into_iter().chain(own.rack.clone()).collect();
    let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}

fn ask(from: IpAddr, to: SocketAddr, question: &str) -> io::Result<Answer> {
    let mut stream = connect_from(from, to)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(question.as_bytes())?;
    understood(&mut BufReader::new(stream.take(2 * MAP_BYTES_MAX)))
}

/// Reads an answer: `+WAIT`, an error, or an array of an id and two maps.
fn understood(answer: &mut impl BufRead) -> io::Result<Answer> {
    let head = line_of(answer)?;
    if let Some(error) = head.strip_prefix('-') {
        return Ok(match error.strip_prefix(REFUSED) {
            Some(why) => Answer::Refused(why.to_owned()),
            None => Answer::Wait(error.trim_start_matches("ERR ").to_owned()),
        });
    }
    if head != "*3" {
        let why = "it does not know the token, which may be on its way, mistyped, or forgotten since it has expired";
        return Ok(Answer::Wait(if head == "+WAIT" { why.to_owned() } else { format!("it says {head}") }));
    }
    let id = line_of(answer)?.strip_prefix(':').and_then(|digits| digits.parse().ok()).map(NodeId);
    let id = id.ok_or_else(|| io::Error::other("the id of this node is no number"))?;
    let (first, latest) = (bulk_of(answer)?, bulk_of(answer)?);
    let kept = KeptMap::of_bytes(&first, &latest).map_err(io::Error::other)?;
    Ok(Answer::Admitted(id, Box::new(kept)))
}

fn line_of(answer: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    answer.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn bulk_of(answer: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let len = line_of(answer)?.strip_prefix('$').and_then(|digits| digits.parse::<u64>().ok());
    let len = len.filter(|len| *len <= MAP_BYTES_MAX).ok_or_else(|| io::Error::other("a map has no length"))?;
    let mut bytes = Vec::new();
    answer.take(len + 2).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != len + 2 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(len as usize);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use meta::{Bootstrap, ClusterId, Settings};

    use super::*;

    fn node(rack: Option<&str>) -> Node {
        Node {
            id: NodeId(4),
            host: [127, 0, 0, 4].into(),
            gateway_port: 7_000,
            core_port: 7_001,
            peer_port: 8_000,
            admin_port: 9_000,
            cores: 2,
            rack: rack.map(str::to_owned),
        }
    }

    fn map() -> ClusterMap {
        let (cluster_id, settings) = (ClusterId(0xab << 120), Settings::default());
        let bootstrap = Bootstrap { cluster_id, nodes: vec![node(None)], groups_count: 1, settings };
        ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap")
    }

    fn answer(bytes: &[u8]) -> io::Result<Answer> {
        understood(&mut &bytes[..])
    }

    #[test]
    fn the_question_is_a_command_of_words() {
        let asked = question(&node(None), 0xfe, JoinToken::new(7), &map());
        let words: Vec<&str> = asked.split("\r\n").skip(2).step_by(2).collect();
        let (token, incarnation, name) =
            ("00000000000000000000000000000007", "00000000000000fe", "000000000000000000000000");
        let expected =
            ["CORACLE", "JOIN", token, incarnation, name, "127.0.0.4", "7000", "7001", "8000", "9000", "2"];
        assert_eq!(words, expected);
        let with_rack = question(&node(Some("r 1")), 1, JoinToken::new(7), &map());
        assert!(with_rack.starts_with("*12\r\n$7\r\nCORACLE\r\n") && with_rack.ends_with("$1\r\n2\r\n$3\r\nr 1\r\n"));
    }

    #[test]
    fn answers_are_understood() {
        let bytes = map().to_bytes();
        let bulk = [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
        let admitted = [b"*3\r\n:4\r\n", &bulk[..], &bulk].concat();
        let expected = Answer::Admitted(NodeId(4), Box::new(KeptMap::of_first(map())));
        assert_eq!(answer(&admitted).expect("whole"), expected);
        for len in 5..admitted.len() {
            answer(&admitted[..len]).expect_err("cut short");
        }
        for wait in [
            "+WAIT\r\n",
            "-ERR node 3 is there with other data: stop it first\r\n",
            "-LOADING soon\r\n",
            "-ERR no\r\n",
            "",
        ] {
            assert!(matches!(answer(wait.as_bytes()), Ok(Answer::Wait(_))), "{wait}");
        }
        let refused = answer(b"-REFUSED the token has expired\r\n").expect("an answer");
        assert_eq!(refused, Answer::Refused("the token has expired".to_owned()));
        for nonsense in ["*3\r\n+x\r\n", "*3\r\n:4\r\n$99999999999\r\n", "*3\r\n:4\r\n$1\r\nx\r\n$1\r\nx\r\n"] {
            answer(nonsense.as_bytes()).expect_err("no maps");
        }
    }
}
