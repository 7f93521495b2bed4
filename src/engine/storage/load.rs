//! Loading a state from its tables.

use std::rc::Rc;

use data::Keyspace;
use host::{Disk, IoClass};
use lsm::Content;
use lsm::manifest::Seal;
use lsm::read::{Progress, Reader, Target, VersionCursor};
use lsm::table::{self, StoredRow, Value};
use lsm::version::Version;
use types::{GroupId, Index, Term};
use wire::Membership;

use super::sealed::Sealed;
use crate::load_error::LoadError;

/// A state in memory, as it was sealed.
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

/// Loads what the tables of a group hold. `hash_seed` is that of the keyspace. Once that takes up more than `rows_bytes_max` bytes, the rest
/// is only looked at, and stays on the disk.
///
/// # Errors
/// See [`LoadError`].
pub async fn load<D: Disk>(
    reader: &Reader<D>,
    version: &Rc<Version>,
    group: GroupId,
    seal: &Seal,
    (hash_seed, rows_bytes_max): (u64, usize),
    class: IoClass,
) -> Result<Loaded, LoadError> {
    let Sealed { membership, map } = Sealed::of(seal)?;
    let mut keyspace = Keyspace::with_hash_seed(hash_seed);
    keyspace.advance_time(seal.time_ms);
    let mut cursor = VersionCursor::of_version(version);
    cursor.seek(Target::First);
    loop {
        match cursor.poll() {
            Progress::Busy => continue,
            Progress::Need(need) => {
                cursor.supply(reader.unit_once(&need, class).await?);
                continue;
            }
            Progress::Arrived => {}
        }
        let Some(row) = cursor.row() else { break };
        load_row(reader, version, &mut keyspace, row, class).await?;
        if keyspace.bytes() > rows_bytes_max && keyspace.is_resident() {
            keyspace.end_residency();
        }
        cursor.next();
    }
    keyspace.set_stored_count(usize::try_from(version.rows_count_about()).unwrap_or(usize::MAX));
    let (last_index, last_term, bytes) = (seal.index, seal.term, version.table_bytes());
    Ok(Loaded { group, last_index, last_term, membership, map, bytes, keyspace })
}

async fn load_row<D: Disk>(
    reader: &Reader<D>,
    version: &Version,
    keyspace: &mut Keyspace,
    row: StoredRow<'_>,
    class: IoClass,
) -> Result<(), LoadError> {
    let table::Content::Put(put) = row.content else { return Ok(()) };
    if put.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= keyspace.time_ms()) {
        return Ok(());
    }
    let (slot, _, key) =
        table::stored_row::head_parts(row.key).ok_or(LoadError::Row("a row that is none of a key"))?;
    let content = |value| Content { kind: put.value_type, expiry_ms: put.expiry_ms, value: [value, b""] };
    let is_resident = keyspace.is_resident();
    let is_new = match put.value {
        Value::Inline(_) if !is_resident => true,
        Value::Inline(value) => keyspace.load(slot, key, &content(value)),
        Value::Blob(blob) => {
            let bytes = reader.blob(version, blob, row.key, class).await?;
            let value = bytes.record().and_then(|record| record.value().map(<[u8]>::to_vec));
            let value = value.map_err(|source| reader.damaged_blob(version, blob, source))?;
            !is_resident || keyspace.load(slot, key, &content(&value))
        }
    };
    if is_new { Ok(()) } else { Err(LoadError::Row("a key twice")) }
}
