//! A state as its tables hold it: loaded from them, or to be read when rows of it are needed.

use std::rc::Rc;

use data::Keyspace;
use host::{Disk, IoClass};
use lsm::Content;
use lsm::manifest::{GroupState, Seal};
use lsm::read::{Reader, Scan, ScanSettings, ScannedRow};
use lsm::table::stored_row;
use lsm::version::Version;
use lsm::write::Pace;
use types::{GroupId, Index, Term};
use wire::Membership;

use super::sealed::Sealed;
use crate::load_error::LoadError;

/// A state as it was sealed, with as much of it in memory as the keyspace says.
pub struct Loaded {
    /// The group.
    pub group: GroupId,
    /// The last entry that the state holds.
    pub last_index: Index,
    /// Its term.
    pub last_term: Term,
    /// The members as of that entry.
    pub membership: Membership,
    /// The cluster map, encoded; empty in all groups but one.
    pub map: Vec<u8>,
    /// Bytes of the tables.
    pub bytes: u64,
    /// The keys.
    pub keyspace: Keyspace,
}

/// The state of a group of which nothing is in memory, and nothing was read.
///
/// # Errors
/// What is sealed beside the tables cannot be read.
pub(super) fn unread(state: &GroupState, group: GroupId, hash_seed: u64) -> Result<Loaded, LoadError> {
    let (seal, version) = (&state.seal, &state.version);
    let Sealed { membership, map } = Sealed::of(seal)?;
    let mut keyspace = Keyspace::with_hash_seed(hash_seed);
    keyspace.advance_time(seal.time_ms);
    if version.tables().next().is_some() {
        keyspace.end_residency();
    }
    note_stored(&mut keyspace, version);
    let (last_index, last_term, bytes) = (seal.index, seal.term, version.table_bytes());
    Ok(Loaded { group, last_index, last_term, membership, map, bytes, keyspace })
}

/// Notes about how many rows a version has, and when the first of them expires.
pub(super) fn note_stored(keyspace: &mut Keyspace, version: &Version) {
    let rows_count = usize::try_from(version.rows_count_about()).unwrap_or(usize::MAX);
    keyspace.set_stored(rows_count, version.earliest_expiry_ms());
}

/// Loads what the tables of a group hold, reading them ahead. `hash_seed` is that of the keyspace. Once that takes up more than
/// `rows_bytes_max` bytes, the rest is only looked at, and stays on the disk.
///
/// # Errors
/// See [`LoadError`].
pub async fn load<D: Disk, P: Pace>(
    reader: &Reader<D>,
    version: &Rc<Version>,
    group: GroupId,
    seal: &Seal,
    (hash_seed, rows_bytes_max): (u64, usize),
    (class, pace): (IoClass, &P),
) -> Result<Loaded, LoadError> {
    let Sealed { membership, map } = Sealed::of(seal)?;
    let mut keyspace = Keyspace::with_hash_seed(hash_seed);
    keyspace.advance_time(seal.time_ms);
    // All types are single rows for now.
    let settings = ScanSettings { class, time_ms: seal.time_ms, is_single_row: |_| true };
    let mut scan = Scan::new(reader, Rc::clone(version), settings);
    while let Some(row) = scan.next(pace).await? {
        load_row(&mut keyspace, &row)?;
        if keyspace.bytes() > rows_bytes_max && keyspace.is_resident() {
            keyspace.end_residency();
        }
    }
    note_stored(&mut keyspace, version);
    let (last_index, last_term, bytes) = (seal.index, seal.term, version.table_bytes());
    Ok(Loaded { group, last_index, last_term, membership, map, bytes, keyspace })
}

fn load_row(keyspace: &mut Keyspace, row: &ScannedRow<'_>) -> Result<(), LoadError> {
    let (slot, _, key) = stored_row::head_parts(row.key).ok_or(LoadError::Row("a row that is none of a key"))?;
    let content = Content { kind: row.value_type, expiry_ms: row.expiry_ms, value: [row.value, b""] };
    if !keyspace.is_resident() || keyspace.load(slot, key, &content) {
        return Ok(());
    }
    Err(LoadError::Row("a key twice"))
}
