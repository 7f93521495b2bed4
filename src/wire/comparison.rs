//! Comparing the replicas of a group: what the entry says at which they are compared, and what they tell each other of it.
//!
//! Every replica digests its live rows as of a *compare* entry into [`LEAVES_COUNT`] sums, each over a range of the group's keys, and
//! sends them to the leader. The entry says how: its payload is
//!
//! ```text
//! u32 format: what is digested, and which rows make up which leaf
//! u64 the leader's clock, in milliseconds since 1970: whoever comes across it much later has nobody to tell      little-endian
//! ```
//!
//! A digest travels as its leaves, with the number of rows in front:
//!
//! ```text
//! u64 rows, u64 leaves[LEAVES_COUNT]      little-endian
//! ```

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;
use types::{GroupId, Index, Term};

/// Leaves of a digest: ranges of the keys of a group.
pub const LEAVES_COUNT: usize = 1_024;
/// Length of an encoded [`RowsDigest`].
pub const DIGEST_BYTES: usize = 8 + 8 * LEAVES_COUNT;

/// The only format that there is of a compare entry.
const FORMAT: u32 = 1;

/// Why a payload is not that of a compare entry, or bytes are not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ComparisonError {
    /// Another length.
    #[error("what is compared with a state has {0} bytes")]
    Length(usize),
    /// Digests of another release.
    #[error("states are to be compared in format {0}, which this release does not know")]
    Format(u32),
}

/// The payload of a compare entry that is made at this time, in milliseconds since 1970.
pub fn compare_payload(unix_ms: u64) -> Bytes {
    let mut payload = FORMAT.to_le_bytes().to_vec();
    payload.extend_from_slice(&unix_ms.to_le_bytes());
    Bytes::from(payload)
}

/// When a compare entry was made, by its leader's clock, in milliseconds since 1970.
///
/// # Errors
/// It asks for something that this release cannot do.
pub fn compare_time_ms(payload: &[u8]) -> Result<u64, ComparisonError> {
    let wrong = ComparisonError::Length(payload.len());
    let (format, time) = payload.split_first_chunk().ok_or(wrong)?;
    let time = time.try_into().map_err(|_| wrong)?;
    match u32::from_le_bytes(*format) {
        FORMAT => Ok(u64::from_le_bytes(time)),
        other => Err(ComparisonError::Format(other)),
    }
}

/// A digest of the live rows of a group. Replicas that agree in rows have the same one, whatever files these lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsDigest {
    /// How many rows there are.
    pub rows: u64,
    /// A sum over the rows of each range. Invariant: [`LEAVES_COUNT`] of them.
    pub leaves: Vec<u64>,
}

impl RowsDigest {
    /// The bytes.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(DIGEST_BYTES);
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        self.leaves.iter().for_each(|leaf| bytes.extend_from_slice(&leaf.to_le_bytes()));
        Bytes::from(bytes)
    }

    /// The digest that these bytes are.
    ///
    /// # Errors
    /// They are too few or too many.
    pub fn decode(bytes: &[u8]) -> Result<RowsDigest, ComparisonError> {
        let wrong = ComparisonError::Length(bytes.len());
        let (numbers, rest) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let rows = numbers.next().ok_or(wrong)?;
        let leaves: Vec<u64> = numbers.collect();
        if leaves.len() == LEAVES_COUNT && rest.is_empty() { Ok(RowsDigest { rows, leaves }) } else { Err(wrong) }
    }
}

/// Why a replica has no digest of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(u8)]
pub enum NoDigest {
    /// Another flush of its core went on for too long.
    #[error("its core was busy flushing")]
    Busy = 1,
    /// Its tables could not be written, or the rows were removed meanwhile.
    #[error("its state could not be flushed")]
    NotFlushed = 2,
    /// It is about to take over another replica's state, or its node stops.
    #[error("it is about to change its state")]
    Leaving = 3,
    /// Its tables could not be read.
    #[error("its tables could not be read")]
    NotRead = 4,
}

impl NoDigest {
    fn from_u8(number: u8) -> Option<NoDigest> {
        [NoDigest::Busy, NoDigest::NotFlushed, NoDigest::Leaving, NoDigest::NotRead]
            .into_iter()
            .find(|reason| *reason as u8 == number)
    }
}

/// What a replica tells another one of its group about a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComparisonNote {
    /// The group.
    pub group: GroupId,
    /// The compare entry that it is about, by its index; in a [`NoteBody::Left`] the last entry that the sender has applied, in a
    /// [`NoteBody::Rebuild`] the last one that the snapshot holds.
    pub index: Index,
    /// Its term.
    pub term: Term,
    /// What is said.
    pub body: NoteBody,
}

/// What a [`ComparisonNote`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteBody {
    /// To the leader: the sender's digest as of the entry.
    Digest(RowsDigest),
    /// To the leader: there is none.
    NoDigest(NoDigest),
    /// Of the leader: most replicas agree, and the receiver differs from them.
    Differs,
    /// To all others: the sender differs, takes no part any more, and needs a snapshot that reaches beyond what it has applied.
    Left,
    /// Of the leader: its snapshot of this index is there.
    Rebuild,
}

/// The kinds of notes, as frames number them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Digest = 1,
    NoDigest = 2,
    Differs = 3,
    Left = 4,
    Rebuild = 5,
}

impl NoteBody {
    /// Number of its kind, and its bytes, as they stand in a frame.
    pub(crate) fn encode(&self) -> (u8, Bytes) {
        let (kind, bytes) = match self {
            NoteBody::Digest(digest) => (Kind::Digest, digest.encode()),
            NoteBody::NoDigest(reason) => (Kind::NoDigest, Bytes::copy_from_slice(&[*reason as u8])),
            NoteBody::Differs => (Kind::Differs, Bytes::new()),
            NoteBody::Left => (Kind::Left, Bytes::new()),
            NoteBody::Rebuild => (Kind::Rebuild, Bytes::new()),
        };
        (kind as u8, bytes)
    }

    /// The body of this kind in these bytes, if there is one.
    pub(crate) fn decode(kind: u8, bytes: &[u8]) -> Option<NoteBody> {
        let kinds = [Kind::Digest, Kind::NoDigest, Kind::Differs, Kind::Left, Kind::Rebuild];
        match (kinds.into_iter().find(|known| *known as u8 == kind)?, bytes) {
            (Kind::Digest, bytes) => RowsDigest::decode(bytes).ok().map(NoteBody::Digest),
            (Kind::NoDigest, [reason]) => NoDigest::from_u8(*reason).map(NoteBody::NoDigest),
            (Kind::Differs, []) => Some(NoteBody::Differs),
            (Kind::Left, []) => Some(NoteBody::Left),
            (Kind::Rebuild, []) => Some(NoteBody::Rebuild),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compare_entry_says_how_and_nothing_else_is_one() {
        let payload = compare_payload(0x0102);
        assert_eq!(&payload[..], [1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0], "it stands in logs");
        assert_eq!(compare_time_ms(&payload), Ok(0x0102));
        assert_eq!(compare_time_ms(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(ComparisonError::Format(2)));
        for len in [0, 3, 4, 11] {
            assert_eq!(compare_time_ms(&payload[..len]), Err(ComparisonError::Length(len)));
        }
        assert_eq!(compare_time_ms(&[&payload[..], &[0]].concat()), Err(ComparisonError::Length(13)));
    }

    #[test]
    fn a_digest_survives_the_journey_and_has_one_length() {
        let digest = RowsDigest { rows: 7, leaves: (0..LEAVES_COUNT as u64).collect() };
        let bytes = digest.encode();
        assert_eq!(bytes.len(), DIGEST_BYTES);
        assert_eq!(RowsDigest::decode(&bytes), Ok(digest));
        for len in [0, 7, 8, DIGEST_BYTES - 8, DIGEST_BYTES - 1] {
            assert_eq!(RowsDigest::decode(&bytes[..len]), Err(ComparisonError::Length(len)));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(RowsDigest::decode(&longer), Err(ComparisonError::Length(DIGEST_BYTES + 1)));
    }

    #[test]
    fn notes_keep_what_they_say() {
        let digest = RowsDigest { rows: 1, leaves: [9; LEAVES_COUNT].to_vec() };
        let reasons = [NoDigest::Busy, NoDigest::NotFlushed, NoDigest::Leaving, NoDigest::NotRead];
        let bodies = reasons.map(NoteBody::NoDigest).into_iter().chain([
            NoteBody::Digest(digest),
            NoteBody::Differs,
            NoteBody::Left,
            NoteBody::Rebuild,
        ]);
        for body in bodies {
            let (kind, bytes) = body.encode();
            assert_eq!(NoteBody::decode(kind, &bytes), Some(body));
            assert_eq!(NoteBody::decode(kind, &[&bytes[..], &[0]].concat()), None);
            assert_eq!(NoteBody::decode(9, &bytes), None);
        }
        assert_eq!(NoteBody::decode(2, &[0]), None);
        assert_eq!(NoteBody::decode(2, &[5]), None);
    }
}
