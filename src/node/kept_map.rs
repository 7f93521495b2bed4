//! `DATA/cluster.map`: the map with which the cluster was formed, and the latest one that this node has known.
//!
//! A start needs both before it can ask anybody: the first one says what the replicas of the first nodes began with, and the latest one who
//! the other nodes are, this one among them. The configuration says neither, once a node has joined. The file is written when the cluster is
//! formed or joined, before any core starts, and then again whenever a later map is known. What is lost of that at a crash the other nodes
//! tell again, as long as one of those is there that the file names.
//!
//! ```text
//!  0 [8] magic "CORAMAP1"    8 u32 length of the first map    12 u32 length of the latest map
//! 16 [20] SHA-1 of the first map      36 [20] SHA-1 of the latest map      56 the first map, then the latest one, as archives
//! ```
//!
//! Little-endian. Equal maps have equal archives, so no other bytes stand for them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine::KeepMap;
use meta::ClusterMap;

use crate::atomic_file;
use crate::identity::IdentityError;

/// Name of the file within the data directory.
pub const FILE_NAME: &str = "cluster.map";
const MAGIC: [u8; 8] = *b"CORAMAP1";
const HEADER_BYTES: usize = 56;

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMap {
    /// With which the cluster was formed, under the id that was drawn for it.
    pub first: ClusterMap,
    /// The latest one. Invariant: of the same cluster.
    pub latest: ClusterMap,
}

impl KeptMap {
    /// Nothing has changed since the cluster was formed.
    pub fn of_first(first: ClusterMap) -> KeptMap {
        KeptMap { latest: first.clone(), first }
    }

    /// Two maps as another node has told them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_bytes(first: &[u8], latest: &[u8]) -> Result<KeptMap, String> {
        let map = |bytes| ClusterMap::from_bytes(bytes).map_err(|error| error.to_string());
        let kept = KeptMap { first: map(first)?, latest: map(latest)? };
        if kept.first.is_same_cluster(&kept.latest) {
            Ok(kept)
        } else {
            Err("the maps are of two clusters".to_owned())
        }
    }

    /// Reads the file of a data directory, if there is one.
    ///
    /// # Errors
    /// That it cannot be read, or is damaged.
    pub fn open(dir: &Path) -> Result<Option<KeptMap>, IdentityError> {
        let path = dir.join(FILE_NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // Where the directory cannot be one, whoever makes it says so.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(IdentityError::Os { path, source }),
        };
        let kept = KeptMap::decode(&bytes);
        kept.map(Some).map_err(|reason| IdentityError::Damaged { path, reason })
    }

    /// Writes the file, durably.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn store(&self, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(FILE_NAME);
        atomic_file::write(&path, &self.encode()).map_err(|source| IdentityError::Os { path, source })
    }

    fn encode(&self) -> Vec<u8> {
        let (first, latest) = (self.first.to_bytes(), self.latest.to_bytes());
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a map is far below 4 GiB").to_le_bytes();
        let parts: [&[u8]; 7] = [
            &MAGIC,
            &len(&first),
            &len(&latest),
            &self.first.fingerprint(),
            &self.latest.fingerprint(),
            &first,
            &latest,
        ];
        parts.concat()
    }

    fn decode(bytes: &[u8]) -> Result<KeptMap, String> {
        let (header, maps) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or("it is too short")?;
        let len_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..8] != MAGIC {
            return Err("it does not begin as such a file does".to_owned());
        }
        let (first_len, latest_len) = (len_at(8) as usize, len_at(12) as usize);
        if first_len.checked_add(latest_len) != Some(maps.len()) {
            return Err("its length is not the one that it tells".to_owned());
        }
        let (first, latest) = maps.split_at(first_len);
        let kept = KeptMap::of_bytes(first, latest)?;
        // Some bytes of an archive are padding.
        if kept.first.to_bytes() != first || kept.latest.to_bytes() != latest {
            return Err("it holds what no map has".to_owned());
        }
        if kept.first.fingerprint() != header[16..36] || kept.latest.fingerprint() != header[36..] {
            return Err("a checksum does not match".to_owned());
        }
        Ok(kept)
    }
}

/// What waits to be written: cores hand maps over and go on, a thread writes them.
#[derive(Clone, Default)]
pub struct Keeper {
    shared: Arc<(Mutex<Option<ClusterMap>>, Condvar)>,
}

impl Keeper {
    /// By which cores hand over later maps.
    pub fn keep_map(&self) -> KeepMap {
        let keeper = self.clone();
        KeepMap::new(move |map| keeper.put(map))
    }

    fn put(&self, map: &ClusterMap) {
        let mut waiting = self.lock();
        // Every core of the node tells of each.
        if waiting.as_ref().is_none_or(|other| other.epoch < map.epoch) {
            *waiting = Some(map.clone());
            self.shared.1.notify_one();
        }
    }

    fn take(&self) -> ClusterMap {
        let mut waiting = self.lock();
        loop {
            if let Some(map) = waiting.take() {
                return map;
            }
            waiting = self.shared.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ClusterMap>> {
        // Each change is one assignment, so what a panicking thread leaves is sound.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes later maps as cores tell of them, for as long as the process lives. `look` is called with each.
    pub fn serve(&self, mut kept: KeptMap, dir: PathBuf, look: impl Fn(&ClusterMap)) {
        loop {
            let map = self.take();
            if map.epoch > kept.latest.epoch {
                look(&map);
                kept.latest = map;
                if let Err(error) = kept.store(&dir) {
                    tracing::error!(%error, epoch = kept.latest.epoch, "the cluster map is not kept for the next start");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use meta::{Bootstrap, ClusterId, Invite, MapChange, Node, Settings};
    use types::NodeId;

    use super::*;

    fn map(cluster: u128) -> ClusterMap {
        let node = Node {
            id: NodeId(1),
            host: [127, 0, 0, 1].into(),
            gateway_port: 7_000,
            core_port: 7_001,
            peer_port: 8_000,
            admin_port: 9_000,
            cores: 1,
            rack: None,
        };
        let (cluster_id, settings) = (ClusterId(cluster), Settings::default());
        let bootstrap = Bootstrap { cluster_id, nodes: vec![node], groups_count: 2, settings };
        ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap")
    }

    fn later(map: &ClusterMap, token: u8) -> ClusterMap {
        let mut later = map.clone();
        assert!(later.change(&MapChange::Invite(Invite { token: [token; 16], at_ms: 1, expires_ms: 2 })));
        later
    }

    #[test]
    fn what_was_kept_is_read_again_and_damage_is_noticed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(KeptMap::open(dir.path()).expect("no file yet"), None);
        let kept = KeptMap { first: map(7), latest: later(&map(7), 1) };
        kept.store(dir.path()).expect("written");
        assert_eq!(KeptMap::open(dir.path()).expect("sound"), Some(kept));
        let path = dir.path().join(FILE_NAME);
        let sound = std::fs::read(&path).expect("it is there");
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).expect("a small file");
            let error = KeptMap::open(dir.path()).expect_err("a byte was changed");
            assert!(matches!(error, IdentityError::Damaged { .. }), "byte {at}: {error}");
        }
        for len in [0, 10, HEADER_BYTES, sound.len() - 1] {
            assert!(KeptMap::decode(&sound[..len]).is_err(), "{len} bytes");
        }
        let two = KeptMap { first: map(7), latest: map(8) };
        assert!(KeptMap::decode(&two.encode()).is_err(), "of two clusters");
    }

    #[test]
    fn the_latest_of_the_maps_that_wait_is_written() {
        let keeper = Keeper::default();
        let (first, second) = (map(7), later(&map(7), 1));
        let third = later(&second, 2);
        for map in [&second, &third, &second] {
            keeper.put(map);
        }
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (looked, looks) = std::sync::mpsc::channel();
        let (writer, path) = (keeper.clone(), dir.path().to_owned());
        // It ends with the process.
        std::thread::spawn(move || {
            writer.serve(KeptMap::of_first(first), path, |map| looked.send(map.epoch).expect("the test listens"));
        });
        assert_eq!(looks.recv(), Ok(third.epoch));
        keeper.put(&second);
        let fourth = later(&third, 3);
        keeper.put(&fourth);
        assert_eq!(looks.recv(), Ok(fourth.epoch), "an older one is not looked at");
        let kept = || KeptMap::open(dir.path()).expect("sound").map(|kept| kept.latest.epoch);
        let begin = std::time::Instant::now();
        while kept() != Some(fourth.epoch) {
            assert!(begin.elapsed().as_secs() < 20, "it is not written");
            std::thread::yield_now();
        }
    }
}
