//! The manifest on disk: opened, appended to, written anew.

use std::collections::BTreeMap;
use std::rc::Rc;

use host::{AlignedBuf, Disk};
use types::GroupId;

use crate::codec::len_u32;
use crate::error::{Error, FormatError};
use crate::files::{FileWriter, Files};
use crate::version::{Change, FileSet, NewRun};

use super::block::{BLOCK_BYTES_MAX, BlockHeader, HEADER_BYTES, encode_block};
use super::edit::{Edit, EditKind};
use super::scan::{Copy, scan};
use super::state::{GroupState, State};
use super::written::Written;

pub(super) const NAMES: [&str; 2] = ["manifest.a", "manifest.b"];
const NEW_NAMES: [&str; 2] = ["manifest.a.new", "manifest.b.new"];
/// The files for the next epoch are so many times longer than the state was.
const SPARE_FACTOR: u64 = 4;
/// So many numbers of files are reserved at a time.
const NUMBERS_COUNT: u64 = 1 << 16;
/// When written anew, blocks are about so long: what is encoded in one go.
const REWRITE_BLOCK_BYTES: usize = 64 << 10;

/// How the manifest is kept.
#[derive(Clone, Copy, Debug)]
pub struct ManifestSettings {
    /// Bytes that a copy has at least. They are allocated beforehand, so that edits need no room on a full disk.
    pub bytes_min: u64,
}

impl Default for ManifestSettings {
    fn default() -> ManifestSettings {
        ManifestSettings { bytes_min: 1 << 20 }
    }
}

/// The manifest of a store.
pub struct Manifest<D: Disk> {
    files: Rc<Files<D>>,
    set: FileSet,
    settings: ManifestSettings,
    store: u64,
    state: State,
    copies: Copies<D>,
    spares: Option<Spares<D>>,
    /// Whether an append has begun and not ended well: nobody knows what of it a start would find. Until the manifest
    /// is written anew nothing is appended, and no file is deleted that such an edit may name.
    is_unsettled: bool,
}

/// The two files, and where they end.
struct Copies<D: Disk> {
    writers: Vec<FileWriter<D>>,
    epoch: u64,
    blocks: u64,
    end: u64,
    chain: u32,
    /// Where the state at the beginning of the epoch ends.
    base_end: u64,
    /// The length at which the manifest is written anew. Invariant: so much is allocated, unless the state is very
    /// long.
    end_max: u64,
}

/// Files of zeros for the next epoch: a full disk must not keep anybody from deleting.
struct Spares<D: Disk> {
    writers: Vec<FileWriter<D>>,
    len: u64,
}

impl<D: Disk> Copies<D> {
    fn empty(epoch: u64) -> Copies<D> {
        Copies { writers: Vec::new(), epoch, blocks: 0, end: 0, chain: 0, base_end: 0, end_max: 0 }
    }

    /// Writes a block to one copy after the other.
    async fn append(&mut self, store: u64, edits: &[u8]) -> Result<(), Error> {
        let header = BlockHeader {
            store,
            epoch: self.epoch,
            seq: self.blocks + 1,
            offset: self.end,
            edits_len: 0,
            edits_crc: 0,
            chain: self.chain,
        };
        let (buf, chain) = encode_block(header, edits);
        let len = buf.len() as u64;
        let mut second = AlignedBuf::with_capacity(buf.len());
        second.extend_from_slice(&buf);
        for (writer, buf) in self.writers.iter().zip([buf, second]) {
            writer.write(self.end, buf).await?;
        }
        self.blocks += 1;
        self.end += len;
        self.chain = chain;
        Ok(())
    }
}

impl<D: Disk> Manifest<D> {
    /// Opens the manifest of a directory, or makes one, of a store with the id `store_new`, if the directory is empty.
    ///
    /// Files that it does not name are handed out to be deleted.
    pub async fn open(files: Rc<Files<D>>, settings: ManifestSettings, store_new: u64) -> Result<Manifest<D>, Error> {
        let numbers = files.clean_up().await?;
        let mut copies = Vec::new();
        for name in NAMES {
            copies.push(read_copy(&files, name).await?);
        }
        let chosen = choose(&copies).map_err(|source| damaged(&files, &copies, source))?;
        let set = FileSet::default();
        let Some(copy) = chosen else {
            if !numbers.is_empty() || copies.iter().any(Option::is_some) {
                return Err(Error::ManifestMissing { path: files.path(NAMES[0]) });
            }
            return Self::start(files, set, settings, store_new, State::default(), 0).await;
        };
        let state = State::of_edits(&copy.edits, &set).map_err(|source| damaged(&files, &copies, source))?;
        // What edits have named and later ones have not is deleted, most of it.
        while set.take_unnamed().is_some() {}
        numbers.into_iter().for_each(|number| set.add_unnamed(number));
        let is_settled =
            copies.iter().all(|other| other.as_ref().is_some_and(|other| other.ends_clean && other == copy));
        if !is_settled {
            return Self::start(files, set, settings, copy.store, state, copy.epoch).await;
        }
        let mut writers = Vec::new();
        for name in NAMES {
            writers.push(files.open_named(name).await?);
        }
        let (epoch, blocks, end, chain) = (copy.epoch, copy.blocks, copy.end, copy.chain);
        // Where the base ends is not known any more; the whole is no shorter.
        let copies = Copies { writers, epoch, blocks, end, chain, base_end: end, end_max: copy.len };
        Manifest { files, set, settings, store: copy.store, state, copies, spares: None, is_unsettled: false }
            .reserve()
            .await
    }

    /// A manifest of this state, written anew behind an epoch.
    async fn start(
        files: Rc<Files<D>>,
        set: FileSet,
        settings: ManifestSettings,
        store: u64,
        state: State,
        epoch: u64,
    ) -> Result<Manifest<D>, Error> {
        let copies = Copies::empty(epoch);
        let mut manifest = Manifest { files, set, settings, store, state, copies, spares: None, is_unsettled: true };
        manifest.rewrite().await?;
        manifest.reserve().await
    }

    /// Reserves numbers. Those that were reserved before may have been used. On a full disk it does without: nothing
    /// can be written then, but deleted.
    async fn reserve(mut self) -> Result<Manifest<D>, Error> {
        let next = self.state.numbers();
        self.set.reserve(next, next);
        match self.commit(Vec::new()).await {
            Err(error) if self.is_unsettled => Err(error),
            _ => Ok(self),
        }
    }

    /// What the store holds.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// A group.
    pub fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.state.group(group)
    }

    /// Id of the store.
    pub fn store(&self) -> u64 {
        self.store
    }

    /// The files that are named.
    pub fn files(&self) -> &FileSet {
        &self.set
    }

    /// A file that nobody names, to be deleted. The caller paces, and hands back what could not be deleted
    /// ([`FileSet::add_unnamed`]).
    pub fn take_unnamed(&self) -> Option<u64> {
        if self.is_unsettled { None } else { self.set.take_unnamed() }
    }

    /// What both copies hold; `None` while nobody knows what a start would find.
    pub fn written(&self) -> Option<Written> {
        let Copies { epoch, blocks, end, chain, .. } = self.copies;
        (!self.is_unsettled).then_some(Written { store: self.store, epoch, blocks, end, chain })
    }

    /// Writes both copies anew: one of them turned out to be damaged.
    ///
    /// # Errors
    /// The disk refuses. Then a start finds the state as it is now all the same, if one of the copies is sound.
    pub async fn renew(&mut self) -> Result<(), Error> {
        self.rewrite().await
    }

    /// Makes edits durable, all of them or none, and does what they say.
    ///
    /// After an error nothing of them holds here; what the disk holds of them is settled before anything else is done.
    pub async fn commit(&mut self, mut edits: Vec<Edit>) -> Result<(), Error> {
        if self.set.numbers_left() < NUMBERS_COUNT / 2 {
            edits.push(Edit::Numbers(self.state.numbers() + NUMBERS_COUNT));
        }
        let staged = self.state.stage(&edits, &self.set).map_err(|source| Error::Edit { source })?;
        let mut bytes = Vec::new();
        edits.iter().for_each(|edit| put_edit(&mut bytes, edit));
        let block_bytes = HEADER_BYTES + bytes.len();
        if block_bytes > BLOCK_BYTES_MAX {
            let (bytes, bytes_max) = (block_bytes as u64, BLOCK_BYTES_MAX as u64);
            return Err(Error::Edit { source: FormatError::TooLong { bytes, bytes_max } });
        }
        if self.is_unsettled || self.copies.end + block_bytes as u64 > self.copies.end_max {
            self.rewrite().await?;
        }
        self.is_unsettled = true;
        self.copies.append(self.store, &bytes).await?;
        self.is_unsettled = false;
        self.state.take(staged);
        self.set.reserve(0, self.state.numbers());
        self.prepare_spares().await;
        Ok(())
    }

    /// Allocates what the next epoch is to be written to, unless it is there. Without room it is tried again with the
    /// next edit.
    async fn prepare_spares(&mut self) {
        if self.spares.is_none() {
            let len = self.settings.bytes_min.max(SPARE_FACTOR * self.copies.base_end);
            self.spares = create_spares(&self.files, len).await.ok();
        }
    }

    /// Writes the state as a new epoch. What there is stays as it is until the new one gets its names.
    async fn rewrite(&mut self) -> Result<(), Error> {
        self.prepare_spares().await;
        let Some(spares) = self.spares.take() else {
            // Whatever was in the way of it is told by the one that fails now.
            self.spares = Some(create_spares(&self.files, self.settings.bytes_min).await?);
            return Box::pin(self.rewrite()).await;
        };
        self.copies.epoch += 1;
        let mut copies = Copies::empty(self.copies.epoch);
        copies.end_max = spares.len;
        copies.writers = spares.writers;
        let mut bytes = Vec::new();
        put_edit(&mut bytes, &Edit::Numbers(self.state.numbers()));
        for (group, state) in self.state.groups() {
            for kind in pieces(state) {
                put_edit(&mut bytes, &Edit::Group { group, replica: state.replica, kind });
                if bytes.len() >= REWRITE_BLOCK_BYTES {
                    copies.append(self.store, &std::mem::take(&mut bytes)).await?;
                }
            }
        }
        put_edit(&mut bytes, &Edit::Complete);
        copies.append(self.store, &bytes).await?;
        copies.base_end = copies.end;
        // Should what was allocated be too short for some edits, more is.
        copies.end_max = copies.end_max.max(2 * copies.end);
        // With one name given and the other not, an edit appended now could be found or not.
        self.is_unsettled = true;
        for (from, to) in NEW_NAMES.into_iter().zip(NAMES) {
            self.files.rename(from, to).await?;
        }
        self.copies = copies;
        self.is_unsettled = false;
        Ok(())
    }
}

async fn create_spares<D: Disk>(files: &Files<D>, len: u64) -> Result<Spares<D>, Error> {
    let mut writers = Vec::new();
    for name in NEW_NAMES {
        writers.push(files.create_named(name, len).await?);
    }
    Ok(Spares { writers, len })
}

/// What makes a group: itself, then its tables, one at a time with the blob files that come with it.
fn pieces(state: &GroupState) -> impl Iterator<Item = EditKind> {
    let Change { added, blobs, .. } = state.version.as_change();
    let mut blobs: BTreeMap<_, _> = blobs.into_iter().map(|blob| (blob.info.id, blob)).collect();
    let tables =
        added.into_iter().flat_map(|run| run.tables.into_iter().map(move |table| (run.age, run.level, table)));
    let group = EditKind::Group { seal: state.seal.clone(), installed: state.installed };
    std::iter::once(group).chain(tables.map(move |(age, level, table)| {
        let of_table = table.info.properties.blobs.iter().filter_map(|of| blobs.remove(&of.file)).collect();
        let added = vec![NewRun { age, level, tables: vec![table] }];
        EditKind::Merge { change: Change { removed: Vec::new(), added, blobs: of_table } }
    }))
}

fn put_edit(out: &mut Vec<u8>, edit: &Edit) {
    let begin = out.len();
    out.extend_from_slice(&[0; size_of::<u32>()]);
    edit.encode(out);
    let len = len_u32(out.len() - begin - size_of::<u32>());
    out[begin..begin + size_of::<u32>()].copy_from_slice(&len.to_le_bytes());
}

/// What a copy holds; `None` if it is not there. Of one that the disk cannot read nothing is known.
pub(super) async fn read_copy<D: Disk>(files: &Files<D>, name: &str) -> Result<Option<Copy>, Error> {
    let bytes = match files.read_named(name).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(_) => return Ok(Some(Copy::default())),
    };
    let copy = scan(&bytes).map_err(|source| Error::Damaged { path: files.path(name), offset: 0, source })?;
    Ok(Some(copy))
}

/// The copy that counts. An error if acknowledged edits are lost.
pub(super) fn choose(copies: &[Option<Copy>]) -> Result<Option<&Copy>, FormatError> {
    let there = || copies.iter().flatten();
    let usable = there().filter(|copy| copy.is_complete());
    let Some(chosen) = usable.max_by_key(|copy| (copy.epoch, copy.blocks)) else {
        return match there().any(|copy| copy.latest > (0, 0)) {
            true => Err(FormatError::Malformed("no copy of the manifest is whole")),
            false => Ok(None),
        };
    };
    // A block is begun only when the one before is durable in both copies.
    let is_behind = |copy: &Copy| copy.latest.0 == chosen.epoch && copy.latest.1 > chosen.blocks + 1;
    match there().any(is_behind) {
        true => Err(FormatError::Malformed("acknowledged edits of the manifest are lost")),
        false => Ok(Some(chosen)),
    }
}

pub(super) fn damaged<D: Disk>(files: &Files<D>, copies: &[Option<Copy>], source: FormatError) -> Error {
    let longest = copies.iter().flatten().map(|copy| copy.end).max().unwrap_or(0);
    Error::Damaged { path: files.path(NAMES[0]), offset: longest, source }
}
