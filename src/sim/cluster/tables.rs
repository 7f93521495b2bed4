//! Tables read back: whenever those of a group have changed, they are loaded at once, by the engine's own code, as a
//! start would, and the digest of what they hold is told to the checkers.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use engine::{Loaded, load};
use host::{AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};
use lsm::files::Files;
use lsm::manifest::{Survey, Surveyed};
use lsm::read::{CacheLimits, Part, Reader};
use lsm::version::Version;
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
    at_once(load_group(disk, core, group)).map(|loaded| (loaded.last_index, digest(&loaded)))
}

/// The numbers of the files that the tables of a core's groups lie in, as the manifest on its disk has them.
pub(crate) fn numbers(world: &Shared, node: usize, core: CoreId) -> BTreeSet<u64> {
    let disk = DiskView { world: world.clone(), node };
    at_once(async {
        let Some((_, surveyed)) = survey(disk, core).await else { return BTreeSet::new() };
        let versions = surveyed.state.groups().map(|(_, state)| Rc::clone(&state.version));
        versions.flat_map(|version| numbers_of(&version)).collect()
    })
}

/// Whether what a group of a core consists of is sound, of what lies in these files.
///
/// # Errors
/// Says what is damaged, and where.
pub(crate) fn verify(
    world: &Shared,
    node: usize,
    core: CoreId,
    group: GroupId,
    numbers: &BTreeSet<u64>,
) -> std::result::Result<(), String> {
    let disk = DiskView { world: world.clone(), node };
    at_once(async {
        // A manifest that cannot be read says nothing of tables.
        let Some((files, surveyed)) = survey(disk, core).await else { return Ok(()) };
        let Some(state) = surveyed.state.group(group) else { return Ok(()) };
        let mut behind = None;
        while let Some(part) = Part::next_behind(&state.version, behind) {
            behind = Some(part.place());
            if numbers.contains(&part.place().0) {
                match part.verify(&files, IoClass::Foreground, &AtOnce).await {
                    Ok(()) => {}
                    // Deleted by the core: its manifest is newer than this one, if the disk has lost what was written last.
                    Err(lsm::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        Ok(())
    })
}

fn numbers_of(version: &Version) -> Vec<u64> {
    let (mut numbers, mut behind) = (Vec::new(), None);
    while let Some(part) = Part::next_behind(version, behind) {
        behind = Some(part.place());
        numbers.push(part.place().0);
    }
    numbers
}

async fn survey(disk: DiskView, core: CoreId) -> Option<(Rc<Files<DiskView>>, Surveyed)> {
    let dir = engine::store_dir(Path::new(DATA_DIR), core);
    let files = Rc::new(Files::open(disk, dir).await.ok()?);
    let surveyed = Survey::take(&files).await.state.ok()??;
    Some((files, surveyed))
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    let Poll::Ready(done) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("what is read here is there at once")
    };
    done
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
    let reader = Reader::new(files, CacheLimits::NONE);
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
