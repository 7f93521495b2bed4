//! Where snapshots lie, and loading them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use data::Keyspace;
use host::{ALIGNMENT, Disk, IoClass};
use types::{GroupId, Slot};

use super::format::{BLOCK_HEADER_BYTES, FileHeader, FileId, Record};
use super::reader::Verifier;
use crate::load_error::{Corrupt, LoadError};

/// How much is read at a time; a longer block is read as a whole.
const READ_BYTES: usize = 1 << 20;

/// The files of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The directory, `DATA/groups/NNNN`.
    pub dir: PathBuf,
    /// The snapshot, complete and durable.
    pub snapshot: PathBuf,
    /// One that is being written.
    pub new: PathBuf,
    /// One that is being received from another replica.
    pub part: PathBuf,
}

impl Paths {
    /// Of a group of the node with this data directory.
    pub fn new(data_dir: &Path, group: GroupId) -> Paths {
        let dir = data_dir.join("groups").join(format!("{:04}", group.0));
        Paths {
            snapshot: dir.join("checkpoint"),
            new: dir.join("checkpoint.new"),
            part: dir.join("checkpoint.part"),
            dir,
        }
    }
}

/// A snapshot in memory.
pub struct Loaded {
    /// Group and last index.
    pub file: FileId,
    /// What else the file says of the state.
    pub header: FileHeader,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// The keys.
    pub keyspace: Keyspace,
}

/// Loads and checks a snapshot of `group`, reading a part at a time; `None` if there is none. `hash_seed` is that of the
/// keyspace.
///
/// # Errors
/// [`LoadError::Io`] if the disk refuses, [`LoadError::Corrupt`] if any byte of the file is not as it was written.
pub async fn load<D: Disk>(
    disk: &D,
    path: &Path,
    group: GroupId,
    hash_seed: u64,
) -> Result<Option<Loaded>, LoadError> {
    let failed = |source| LoadError::Io { path: path.to_owned(), source };
    let file = match disk.open(path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let mut keyspace = Keyspace::with_hash_seed(hash_seed);
    let (file, header, bytes) = read_through(disk, path, &file, group, |record| {
        let slot = Slot::new(record.slot).ok_or("a slot that does not exist")?;
        if keyspace.restore(slot, record.key, &record.content) { Ok(()) } else { Err("a key occurs twice") }
    })
    .await?;
    keyspace.advance_time(header.time_ms);
    Ok(Some(Loaded { file, header, bytes, keyspace }))
}

/// Checks an open file, which has or had the name `path`: whether it is the snapshot `expected`, byte for byte.
///
/// # Errors
/// As [`load`].
pub(crate) async fn verify<D: Disk>(
    disk: &D,
    path: &Path,
    file: &D::File,
    expected: FileId,
) -> Result<(), LoadError> {
    let (found, ..) = read_through(disk, path, file, expected.group, |_| Ok(())).await?;
    if found == expected {
        Ok(())
    } else {
        Err(LoadError::Corrupt { path: path.to_owned(), source: Corrupt::Content("it is another snapshot") })
    }
}

/// Reads a snapshot of `group` and hands each key to `found`. Returns which it is, what it says of the state, and its
/// length in bytes.
async fn read_through<D: Disk>(
    disk: &D,
    path: &Path,
    file: &D::File,
    group: GroupId,
    mut found: impl FnMut(Record<'_>) -> Result<(), &'static str>,
) -> Result<(FileId, FileHeader, u64), LoadError> {
    let failed = |source| LoadError::Io { path: path.to_owned(), source };
    let corrupt = |source| LoadError::Corrupt { path: path.to_owned(), source };
    let len = disk.len(file).await.map_err(failed)?;
    if !len.is_multiple_of(ALIGNMENT as u64) {
        return Err(corrupt(Corrupt::Truncated { offset: len }));
    }
    let mut verifier = Verifier::new(group);
    let mut wanted = READ_BYTES;
    while verifier.offset() < len {
        let left = usize::try_from(len - verifier.offset()).unwrap_or(usize::MAX);
        if wanted > READ_BYTES && wanted > left {
            return Err(corrupt(Corrupt::Truncated { offset: verifier.offset() }));
        }
        let before = verifier.offset();
        let window = disk.read(file, before, wanted.min(left), IoClass::Log).await.map_err(failed)?;
        wanted = take_blocks(&mut verifier, &window, &mut found).map_err(corrupt)?;
        if verifier.offset() == before && window.len() == left {
            // All that there is does not make a whole block, and reading it again would not either.
            return Err(corrupt(Corrupt::Truncated { offset: before }));
        }
    }
    let (file, header) = verifier.finish().map_err(corrupt)?;
    Ok((file, header, len))
}

/// Takes in the whole blocks of a window. Returns how much to read next, from where the first block begins that was
/// not whole.
fn take_blocks(
    verifier: &mut Verifier,
    window: &[u8],
    mut found: impl FnMut(Record<'_>) -> Result<(), &'static str>,
) -> Result<usize, Corrupt> {
    let mut rest = window;
    while rest.len() >= BLOCK_HEADER_BYTES {
        let block_bytes = verifier.block_bytes(rest)?;
        let Some((block, behind)) = rest.split_at_checked(block_bytes) else {
            return Ok(block_bytes.max(READ_BYTES).next_multiple_of(ALIGNMENT));
        };
        verifier.block(block, &mut found)?;
        rest = behind;
    }
    Ok(READ_BYTES)
}

/// Removes what was never finished in the group's directory, if there is one.
pub(crate) async fn tidy<D: Disk>(disk: &D, paths: &Paths) -> std::io::Result<()> {
    let names = match disk.list(&paths.dir).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    for name in names {
        if name.starts_with("checkpoint.") {
            disk.remove(&paths.dir.join(name)).await?;
        }
    }
    Ok(())
}

/// Makes an empty file in place of whatever has this name. What is written at its end makes it longer.
pub(crate) async fn create<D: Disk>(disk: &D, path: &Path) -> std::io::Result<D::File> {
    match disk.remove(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.create_zeroed(path, 0).await
}
