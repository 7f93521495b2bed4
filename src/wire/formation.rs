//! What nodes say to each other before a cluster exists: fixed-size questions and answers.
//!
//! Whoever has a question connects to the peer port of the other node's core 0, sends one [`Question`] of 64 bytes and
//! is answered with one [`Answer`] of 16 bytes; then the connection ends. A question is as long as a
//! [`Hello`](crate::Hello), so a node whose cluster is formed already can answer on the same port. All numbers are
//! little-endian.
//!
//! ```text
//! Question:  0 [8] magic "CORAFORM"   8 u16 version   10 u16 kind: 1 ask, 2 propose, 3 commit
//!           12 u32 node              16 u32 node meant
//!           20 [12] name: the beginning of the id that the configured name of the cluster stands for
//!           32 [12] map: the beginning of the fingerprint of the configured cluster map
//!           44 [16] cluster id, all zeros if the sender has none
//!           60 u32 crc32 of bytes 0..60
//! Answer:    0 [4] magic "CFAN"       4 u16 version    6 u16 code
//!            8 u32 node              12 u32 crc32 of bytes 0..12
//! ```
//!
//! An answer never carries a cluster id: it says how the answering node's own id relates to the one in the question.
//! So whoever does not know the id of a cluster does not learn it here.

use thiserror::Error;
use types::NodeId;

/// Version of the questions and answers.
pub const FORMATION_VERSION: u16 = 1;
/// Length of an encoded [`Question`].
pub const QUESTION_BYTES: usize = 64;
/// Length of an encoded [`Answer`].
pub const ANSWER_BYTES: usize = 16;

const QUESTION_MAGIC: [u8; 8] = *b"CORAFORM";
const ANSWER_MAGIC: [u8; 4] = *b"CFAN";
const NO_CLUSTER: [u8; 16] = [0; 16];

const _: () = assert!(QUESTION_BYTES == crate::HELLO_BYTES, "one port takes both");

/// What a node's configuration says about the cluster, as far as two nodes compare it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfigPrint {
    /// The beginning of the id that the configured name of the cluster stands for.
    pub name: [u8; 12],
    /// The beginning of the fingerprint of the configured cluster map.
    pub map: [u8; 12],
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum QuestionKind {
    /// How far are you?
    Ask = 1,
    /// Agree to this cluster id, durably.
    Propose = 2,
    /// All nodes have agreed: the cluster with this id is formed.
    Commit = 3,
}

/// A question of one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub kind: QuestionKind,
    /// Who asks.
    pub from: NodeId,
    /// Who is meant.
    pub to: NodeId,
    /// How the sender is configured.
    pub config: ConfigPrint,
    /// The cluster id that the sender has agreed to, if any.
    pub cluster_id: Option<[u8; 16]>,
}

/// What a node says about itself, or why it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum AnswerCode {
    /// It has no data and has agreed to nothing.
    Empty = 0,
    /// It has agreed to the cluster id in the question.
    FormingSame = 1,
    /// It has agreed to another cluster id, or the question has none.
    FormingOther = 2,
    /// It belongs to the formed cluster whose id is in the question.
    FormedSame = 3,
    /// It belongs to a formed cluster with another id, or the question has none.
    FormedOther = 4,
    /// Its cluster has another name.
    OtherName = 5,
    /// It has no data either, and is configured otherwise.
    OtherMap = 6,
    /// It is not the node that was meant.
    OtherNode = 7,
    /// Its configuration does not list the node that asks.
    UnknownNode = 8,
    /// It speaks another version.
    OtherVersion = 9,
}

/// The answer to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub from: NodeId,
    /// What it says.
    pub code: AnswerCode,
}

/// Why bytes are no question or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormationError {
    /// Something else than a Coracle node is talking.
    #[error("not a message of a Coracle node that forms a cluster")]
    Magic,
    /// Damaged on the way.
    #[error("a message whose checksum does not match")]
    Checksum,
    /// Another release.
    #[error("version {0} of formation, this node speaks {FORMATION_VERSION}: run the same release on all nodes")]
    Version(u16),
    /// A kind or code that this version does not know.
    #[error("a message of the unknown kind {0}")]
    Kind(u16),
}

impl Question {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; QUESTION_BYTES] {
        let mut bytes = [0; QUESTION_BYTES];
        bytes[..8].copy_from_slice(&QUESTION_MAGIC);
        bytes[8..10].copy_from_slice(&FORMATION_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(self.kind as u16).to_le_bytes());
        bytes[12..16].copy_from_slice(&self.from.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.to.0.to_le_bytes());
        bytes[20..32].copy_from_slice(&self.config.name);
        bytes[32..44].copy_from_slice(&self.config.map);
        bytes[44..60].copy_from_slice(&self.cluster_id.unwrap_or(NO_CLUSTER));
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Validates what arrived.
    ///
    /// # Errors
    /// [`FormationError::Magic`] for anything that does not begin as a question does, a [`Hello`](crate::Hello) included.
    pub fn decode(bytes: &[u8; QUESTION_BYTES]) -> Result<Question, FormationError> {
        if bytes[..8] != QUESTION_MAGIC {
            return Err(FormationError::Magic);
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(FormationError::Checksum);
        }
        if u16_at(bytes, 8) != FORMATION_VERSION {
            return Err(FormationError::Version(u16_at(bytes, 8)));
        }
        let kind = match u16_at(bytes, 10) {
            1 => QuestionKind::Ask,
            2 => QuestionKind::Propose,
            3 => QuestionKind::Commit,
            other => return Err(FormationError::Kind(other)),
        };
        let config = ConfigPrint { name: array_at(bytes, 20), map: array_at(bytes, 32) };
        let cluster_id = array_at(bytes, 44);
        Ok(Question {
            kind,
            from: NodeId(u32_at(bytes, 12)),
            to: NodeId(u32_at(bytes, 16)),
            config,
            cluster_id: (cluster_id != NO_CLUSTER).then_some(cluster_id),
        })
    }

    /// What a node of a formed cluster answers. It has nothing to agree to, so the kind of the question does not matter.
    pub fn answer_of_formed(&self, me: NodeId, config: &ConfigPrint, cluster_id: [u8; 16]) -> AnswerCode {
        if self.config.name != config.name {
            AnswerCode::OtherName
        } else if self.to != me {
            AnswerCode::OtherNode
        } else if self.cluster_id == Some(cluster_id) {
            AnswerCode::FormedSame
        } else {
            AnswerCode::FormedOther
        }
    }
}

impl Answer {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; ANSWER_BYTES] {
        let mut bytes = [0; ANSWER_BYTES];
        bytes[..4].copy_from_slice(&ANSWER_MAGIC);
        bytes[4..6].copy_from_slice(&FORMATION_VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&(self.code as u16).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.from.0.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Validates what arrived.
    ///
    /// # Errors
    /// See [`FormationError`].
    pub fn decode(bytes: &[u8; ANSWER_BYTES]) -> Result<Answer, FormationError> {
        if bytes[..4] != ANSWER_MAGIC {
            return Err(FormationError::Magic);
        }
        if crc32fast::hash(&bytes[..12]) != u32_at(bytes, 12) {
            return Err(FormationError::Checksum);
        }
        if u16_at(bytes, 4) != FORMATION_VERSION {
            return Err(FormationError::Version(u16_at(bytes, 4)));
        }
        let known = [
            AnswerCode::Empty,
            AnswerCode::FormingSame,
            AnswerCode::FormingOther,
            AnswerCode::FormedSame,
            AnswerCode::FormedOther,
            AnswerCode::OtherName,
            AnswerCode::OtherMap,
            AnswerCode::OtherNode,
            AnswerCode::UnknownNode,
            AnswerCode::OtherVersion,
        ];
        let number = u16_at(bytes, 6);
        let code = known.into_iter().find(|code| *code as u16 == number).ok_or(FormationError::Kind(number))?;
        Ok(Answer { from: NodeId(u32_at(bytes, 8)), code })
    }
}

// The offsets are constants within messages of fixed length.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(cluster_id: Option<[u8; 16]>) -> Question {
        let config = ConfigPrint { name: [3; 12], map: [4; 12] };
        Question { kind: QuestionKind::Propose, from: NodeId(1), to: NodeId(0x0102_0304), config, cluster_id }
    }

    #[test]
    fn messages_survive_and_damage_is_noticed() {
        for sent in [question(None), question(Some([7; 16]))] {
            let bytes = sent.encode();
            assert_eq!(Question::decode(&bytes), Ok(sent));
            for bit in 0..bytes.len() * 8 {
                let mut broken = bytes;
                broken[bit / 8] ^= 1 << (bit % 8);
                assert!(Question::decode(&broken).is_err(), "bit {bit} flipped");
            }
        }
        let answer = Answer { from: NodeId(9), code: AnswerCode::OtherMap };
        let bytes = answer.encode();
        assert_eq!(Answer::decode(&bytes), Ok(answer));
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert!(Answer::decode(&broken).is_err(), "bit {bit} flipped");
        }
    }

    /// Puts bytes into a message and makes its checksum right again.
    fn sealed<const N: usize>(mut bytes: [u8; N], at: usize, part: &[u8]) -> [u8; N] {
        bytes[at..at + part.len()].copy_from_slice(part);
        let crc = crc32fast::hash(&bytes[..N - 4]);
        bytes[N - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn each_wrong_field_is_an_error_with_a_name() {
        let bytes = question(None).encode();
        assert_eq!(Question::decode(&sealed(bytes, 0, b"CORACLE\0")), Err(FormationError::Magic));
        assert_eq!(Question::decode(&sealed(bytes, 8, &[2, 0])), Err(FormationError::Version(2)));
        for kind in [0_u16, 4, 0xffff] {
            assert_eq!(Question::decode(&sealed(bytes, 10, &kind.to_le_bytes())), Err(FormationError::Kind(kind)));
        }
        let bytes = Answer { from: NodeId(9), code: AnswerCode::Empty }.encode();
        assert_eq!(Answer::decode(&sealed(bytes, 0, b"HTTP")), Err(FormationError::Magic));
        assert_eq!(Answer::decode(&sealed(bytes, 4, &[0, 0])), Err(FormationError::Version(0)));
        assert_eq!(Answer::decode(&sealed(bytes, 6, &[10, 0])), Err(FormationError::Kind(10)));
        for code in 0..10_u16 {
            let answer = Answer::decode(&sealed(bytes, 6, &code.to_le_bytes())).expect("a known code");
            assert_eq!(answer.code as u16, code);
        }
    }

    #[test]
    fn a_formed_node_tells_no_id_and_names_the_first_difference() {
        let config = ConfigPrint { name: [3; 12], map: [4; 12] };
        let answer = |question: Question, config| question.answer_of_formed(NodeId(0x0102_0304), &config, [7; 16]);
        assert_eq!(answer(question(Some([7; 16])), config), AnswerCode::FormedSame);
        assert_eq!(answer(question(Some([8; 16])), config), AnswerCode::FormedOther);
        assert_eq!(answer(question(None), config), AnswerCode::FormedOther);
        let otherwise = ConfigPrint { map: [5; 12], ..config };
        assert_eq!(answer(question(None), otherwise), AnswerCode::FormedOther, "that it is formed counts for more");
        assert_eq!(answer(question(None), ConfigPrint { name: [0; 12], ..config }), AnswerCode::OtherName);
        assert_eq!(answer(Question { to: NodeId(5), ..question(None) }, config), AnswerCode::OtherNode);
    }
}
