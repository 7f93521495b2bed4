//! Tables read back: whenever those of a group have changed, they are loaded at once, by the engine's own code, as a
//! start would, and the digest of what they hold is told to the checkers.

use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use engine::{Loaded, load};
use host::{AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};
use lsm::files::Files;
use lsm::manifest::Survey;
use lsm::read::Reader;
use lsm::write::Pace;
use types::{CoreId, GroupId, Index};

use super::config::DATA_DIR;
use crate::disk::File;
use crate::world::Shared;

/// The last entry that the tables of a group on a core hold, and the digest of the state.
///
/// # Errors
/// Says why they cannot be loaded.
pub(crate) fn read_back(
    world: &Shared,
    node: usize,
    core: CoreId,
    group: GroupId,
) -> std::result::Result<(Index, u128), String> {
    let disk = DiskView { world: world.clone(), node };
    let loaded = pin!(load_group(disk, core, group));
    let Poll::Ready(loaded) = loaded.poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("what is read here is there at once")
    };
    loaded.map(|loaded| (loaded.last_index, digest(&loaded)))
}

/// Takes no time between blocks.
struct AtOnce;

impl Pace for AtOnce {
    async fn pause(&self, _: usize) {}
}

async fn load_group(disk: DiskView, core: CoreId, group: GroupId) -> std::result::Result<Loaded, String> {
    let dir = engine::store_dir(Path::new(DATA_DIR), core);
    let files = Rc::new(Files::open(disk, dir).await.map_err(|error| error.to_string())?);
    let surveyed = Survey::take(&files).await.state.map_err(|error| error.to_string())?;
    let surveyed = surveyed.ok_or("there is no manifest")?;
    let state = surveyed.state.group(group).ok_or("the manifest does not name the group")?;
    let reader = Reader::new(files, 0);
    let loaded =
        load(&reader, &state.version, group, &state.seal, (0, usize::MAX), (IoClass::Foreground, &AtOnce)).await;
    loaded.map_err(|error| error.to_string())
}

/// The digest that a replica tells of the same state, see [`engine::Event::Digest`].
fn digest(loaded: &Loaded) -> u128 {
    let mut state = loaded.membership.encode().to_vec();
    state.extend_from_slice(&loaded.keyspace.digest().to_le_bytes());
    state.extend_from_slice(&loaded.keyspace.time_ms().to_le_bytes());
    state.extend_from_slice(&loaded.last_index.to_le_bytes());
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
        unreachable!("loading writes nothing")
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
        Ok(())
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
