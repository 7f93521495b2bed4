//! Another node, and what it has said.

use std::net::SocketAddr;

use types::NodeId;
use wire::AnswerCode;

/// Another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// The peer port of its core 0.
    pub addr: SocketAddr,
}

/// What a question to another node has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An answer.
    Said(AnswerCode),
    /// None, and why.
    Nothing(String),
}

impl Heard {
    /// The answer.
    pub fn code(&self) -> Option<AnswerCode> {
        match self {
            Heard::Said(code) => Some(*code),
            Heard::Nothing(_) => None,
        }
    }

    /// What is in the way, if anything is.
    pub fn obstacle(&self) -> Option<String> {
        let words = match self {
            Heard::Nothing(why) => return Some(format!("cannot be asked ({why})")),
            Heard::Said(AnswerCode::OtherName) => {
                "is of a cluster with another name: check cluster_id and the peers' addresses"
            }
            Heard::Said(AnswerCode::OtherMap) => {
                "is configured otherwise: give all nodes the same list of peers, groups and settings"
            }
            Heard::Said(AnswerCode::OtherNode) => "is another node: check the peers' addresses",
            Heard::Said(AnswerCode::UnknownNode) => "does not list this node among its peers",
            Heard::Said(AnswerCode::OtherVersion) => "runs another release: run the same one on all nodes",
            Heard::Said(_) => return None,
        };
        Some(words.to_owned())
    }
}
