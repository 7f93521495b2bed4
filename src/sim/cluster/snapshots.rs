//! Snapshots read back: every file that gets the name of a group's snapshot is loaded at once, by the engine's own code, as a
//! start would, and the digest of what it holds is told to the checkers.

use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use engine::snapshot::{self, Loaded, Paths};
use host::{AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};
use types::{GroupId, Index};

use super::config::DATA_DIR;
use crate::disk::File;
use crate::world::Shared;

/// Whose snapshot a file of this name is, if it is one that is in use.
pub(crate) fn group_of(path: &Path) -> Option<GroupId> {
    let number = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    let group = GroupId(number);
    (Paths::new(Path::new(DATA_DIR), group).snapshot == path).then_some(group)
}

/// The last entry that the snapshot of a group on a node holds, and the digest of the state.
///
/// # Errors
/// Says why it cannot be loaded.
pub(crate) fn read_back(world: &Shared, node: usize, group: GroupId) -> std::result::Result<(Index, u128), String> {
    let disk = DiskView { world: world.clone(), node };
    let path = Paths::new(Path::new(DATA_DIR), group).snapshot;
    let loaded = pin!(snapshot::load(&disk, &path, group, 0));
    let Poll::Ready(loaded) = loaded.poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("what is read here is there at once")
    };
    match loaded {
        Ok(Some(loaded)) => Ok((loaded.file.last_index, digest(&loaded))),
        Ok(None) => Err("it is gone".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The digest that a replica tells of the same state, see [`engine::Event::Digest`].
fn digest(loaded: &Loaded) -> u128 {
    let mut state = loaded.header.membership.clone();
    state.extend_from_slice(&loaded.keyspace.digest().to_le_bytes());
    state.extend_from_slice(&loaded.header.time_ms.to_le_bytes());
    state.extend_from_slice(&loaded.file.last_index.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&state)
}

/// A disk as it is, to be looked at: no operation takes time, and none changes anything.
#[derive(Clone)]
struct DiskView {
    world: Shared,
    node: usize,
}

fn read_only<T>() -> Result<T> {
    Err(Error::from(ErrorKind::ReadOnlyFilesystem))
}

impl Disk for DiskView {
    type File = File;

    fn write_begin(&self, _: &File, _: u64, _: AlignedBuf, _: WriteToken) {
        unreachable!("loading a snapshot writes nothing")
    }

    fn write_end(&self) -> Option<WriteDone> {
        None
    }

    async fn create_zeroed(&self, _: &Path, _: u64) -> Result<File> {
        read_only()
    }

    async fn create(&self, _: &Path, _: u64) -> Result<File> {
        read_only()
    }

    async fn open(&self, path: &Path) -> Result<File> {
        self.world.borrow().nodes[self.node].disk.open(path)
    }

    async fn len(&self, file: &File) -> Result<u64> {
        self.world.borrow().nodes[self.node].disk.len(*file)
    }

    async fn set_len(&self, _: &File, _: u64) -> Result<()> {
        read_only()
    }

    async fn read(&self, file: &File, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        self.world.borrow().nodes[self.node].disk.read(*file, offset, len).map(ReadBuf::from)
    }

    async fn write(&self, _: &File, _: u64, _: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        read_only()
    }

    async fn sync(&self, _: &File, _: IoClass) -> Result<()> {
        read_only()
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        read_only()
    }

    async fn create_dir_all(&self, _: &Path) -> Result<()> {
        read_only()
    }

    async fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.world.borrow().nodes[self.node].disk.list(path)
    }

    async fn rename(&self, _: &Path, _: &Path) -> Result<()> {
        read_only()
    }

    async fn remove(&self, _: &Path) -> Result<()> {
        read_only()
    }
}
