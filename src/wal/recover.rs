//! From the files of a log to what can be trusted of it.
//!
//! Recovery walks the chain of blocks. Where it ends, the question is whether a block that had been
//! acknowledged stood there. Block `n + 1` is begun only when block `n` is durable, so:
//!
//! - Nothing later anywhere: at most the block being written when the process ended is lost, and that was
//!   not acknowledged. It is dropped.
//! - Any header with a sequence beyond the next one: the next one had been durable and is gone.
//! - The next block itself, sound, but elsewhere or with another chain: it was misdirected, or the block before it is not
//!   the one that had been written.
//! - A place where the next block may stand, and that the disk cannot read: it may have held it. What lies behind it was
//!   never used.
//!
//! All but the first are damage. A forged header inside a torn block's payload can only make a torn tail look
//! like damage, never the other way round.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use host::AlignedBuf;
use types::GroupId;

use crate::LogHost;
use crate::config::Config;
use crate::error::Error;
use crate::format::{BlockHeader, SEGMENT_FIRST, SEQ_FIRST, segment_id, segment_name};
use crate::group::GroupLog;
use crate::record::LogPosition;
use crate::recovered::{Damage, DamageKind, Fault, Recovered};
use crate::replay::replay;
use crate::scan::{Image, Look};
use crate::segments::{self, Pool, SCRATCH_NAME, Segment, SegmentFile, SegmentTable};
use crate::writer::Writer;

/// A log ready to go on, or to be read if damaged.
pub(crate) struct Log<F> {
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    pub(crate) segments: SegmentTable<F>,
    pub(crate) pool: Pool<F>,
    pub(crate) writer: Writer,
    pub(crate) damage: Option<Damage>,
}

/// Opens or begins the log.
pub(crate) async fn recover<D: LogHost>(host: &D, config: &Config) -> Result<(Log<D::File>, Recovered), Error> {
    host.create_dir_all(&config.dir).await.map_err(at("create", &config.dir))?;
    let mut segments = SegmentTable::new();
    let gap = open_segments(host, &config.dir, &mut segments).await?;
    if segments.len() == 0 {
        let path = config.dir.join(segment_name(SEGMENT_FIRST));
        let file = host.create_zeroed(&path, config.segment_bytes).await.map_err(at("create", &path))?;
        let file = SegmentFile { id: SEGMENT_FIRST, file };
        segments.push(SEGMENT_FIRST, config.segment_bytes, Some(Rc::new(file)));
    }
    let mut recovered = Recovered { segments_count: segments.len() as u64, ..Recovered::default() };
    let mut walk = Walk::new();
    walk.run(host, &config.dir, &mut segments).await?;
    let damage = walk.damage.clone().or(gap);
    for log in walk.groups.values_mut() {
        log.check();
        if damage.is_some() {
            log.fault = Some(Fault::LogDamaged);
        }
    }
    recovered.torn_tail = walk.torn && damage.is_none();
    recovered.blocks_count = walk.blocks;
    recovered.records_count = walk.records;
    recovered.groups = walk.groups.iter().map(|(group, log)| (*group, log.report())).collect();
    recovered.damage.clone_from(&damage);
    if let Some(damage) = &damage {
        tracing::error!(dir = %config.dir.display(), %damage, "the log is damaged");
    }
    let log = go_on(host, config, walk, segments, damage).await?;
    Ok((log, recovered))
}

/// Renames the files of a damaged log, so that the next [`crate::Wal::open`] begins a new one and the
/// damaged one can still be looked into. Returns how many there were.
///
/// Whoever calls this must have recorded durably that the groups of this core are quarantined, since
/// the new log knows nothing of them, and must call it again if it was interrupted.
///
/// # Errors
/// [`Error::Io`].
pub async fn set_aside<D: LogHost>(host: &D, dir: &Path) -> Result<usize, Error> {
    let names = host.list(dir).await.map_err(at("list", dir))?;
    let is_aside = |name: &String, number: u64| name.ends_with(&format!(".damaged-{number}"));
    let number = (1..u64::MAX).find(|number| !names.iter().any(|name| is_aside(name, *number))).unwrap_or(u64::MAX);
    let mut count = 0;
    for name in names.iter().filter(|name| segment_id(name).is_some()) {
        let from = dir.join(name);
        host.rename(&from, &dir.join(format!("{name}.damaged-{number}"))).await.map_err(at("rename", &from))?;
        count += 1;
    }
    Ok(count)
}

/// Opens all segments and removes what a crash left unfinished. Segments behind a gap are left out; the gap is reported.
async fn open_segments<D: LogHost>(
    host: &D,
    dir: &Path,
    segments: &mut SegmentTable<D::File>,
) -> Result<Option<Damage>, Error> {
    let mut ids = Vec::new();
    for name in host.list(dir).await.map_err(at("list", dir))? {
        if let Some(id) = segment_id(&name) {
            ids.push(id);
        } else if name.ends_with(".seg.tmp") || name == SCRATCH_NAME {
            let path = dir.join(name);
            host.remove(&path).await.map_err(at("remove", &path))?;
        }
    }
    ids.sort_unstable();
    let mut previous = None;
    for id in ids {
        if let Some(previous) = previous.filter(|previous| previous + 1 != id) {
            return Ok(Some(Damage { segment: previous + 1, offset: 0, kind: DamageKind::SegmentMissing }));
        }
        let path = dir.join(segment_name(id));
        let file = host.open(&path).await.map_err(at("open", &path))?;
        let len = host.len(&file).await.map_err(at("measure", &path))?;
        segments.push(
            id,
            len / host::ALIGNMENT as u64 * host::ALIGNMENT as u64,
            Some(Rc::new(SegmentFile { id, file })),
        );
        previous = Some(id);
    }
    Ok(None)
}

/// Makes the end of the log fit to be written behind: what was found there becomes durable and is confirmed.
async fn go_on<D: LogHost>(
    host: &D,
    config: &Config,
    walk: Walk,
    mut segments: SegmentTable<D::File>,
    damage: Option<Damage>,
) -> Result<Log<D::File>, Error> {
    let current = segments.get(walk.end.segment).expect("the walk ends in a segment of the table");
    // Where the disk cannot read behind the end nothing is written: the log goes on in the next segment.
    let bytes = if current.is_unreadable { walk.end.offset } else { current.bytes };
    let mut writer =
        Writer::new(walk.end, bytes, config.block_bytes_max, walk.last_seq + 1, walk.chain, walk.last_is_mark);
    let mut pool = Pool::new(config, walk.end.segment + 1);
    if damage.is_none() {
        if let Some((place, block)) = walk.last_block.filter(|_| !walk.last_is_mark) {
            // The last block may have been in flight: read back, yet only in the drive's volatile cache. The same
            // bytes again change nothing but make sure of it.
            let mut buf = AlignedBuf::with_capacity(block.len());
            buf.extend_from_slice(&block);
            write(host, config, &segments, place, buf).await?;
        }
        adopt_prepared(host, config, walk.end.segment, &mut segments, &mut pool).await?;
        let unconfirmed = walk.torn || !walk.last_is_mark;
        if unconfirmed && room_for_mark(host, config, &mut writer, &mut segments, &mut pool, &walk.groups).await {
            writer.begin();
            writer.close();
            let mark = writer.take().expect("just closed");
            write(host, config, &segments, mark.place, mark.buf).await?;
        }
    }
    Ok(Log { groups: walk.groups, segments, pool, writer, damage })
}

async fn write<D: LogHost>(
    host: &D,
    config: &Config,
    segments: &SegmentTable<D::File>,
    place: LogPosition,
    buf: AlignedBuf,
) -> Result<(), Error> {
    let file = segments.get(place.segment).and_then(|segment| segment.file.as_ref()).expect("opened at the start");
    let path = config.dir.join(segment_name(place.segment));
    host.write(&file.file, place.offset, buf).await.map_err(at("write", &path))
}

/// Moves on to the next segment if the present one is full. `false` if there is none: on a full disk the
/// log opens without a mark.
async fn room_for_mark<D: LogHost>(
    host: &D,
    config: &Config,
    writer: &mut Writer,
    segments: &mut SegmentTable<D::File>,
    pool: &mut Pool<D::File>,
    groups: &BTreeMap<GroupId, GroupLog>,
) -> bool {
    if writer.fits_empty(0) {
        return true;
    }
    let id = writer.segment() + 1;
    if pool.ready.is_empty() {
        let path = config.dir.join(segment_name(id));
        match host.create_zeroed(&path, config.segment_bytes).await {
            Ok(file) => pool.push_ready(Rc::new(SegmentFile { id, file })),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot prepare a log segment");
                return false;
            }
        }
    }
    writer.roll(config.segment_bytes);
    segments.push(id, config.segment_bytes, pool.ready.pop_front());
    writer.put_states(groups);
    true
}

/// Takes the segments behind the end of the log as prepared ones, as far as they have the right length and can be read.
async fn adopt_prepared<D: LogHost>(
    host: &D,
    config: &Config,
    end: u64,
    segments: &mut SegmentTable<D::File>,
    pool: &mut Pool<D::File>,
) -> Result<(), Error> {
    let mut prepared = segments.split_behind(end);
    let is_usable = |segment: &&Segment<_>| segment.bytes == config.segment_bytes && !segment.is_unreadable;
    let usable = prepared.iter().take_while(is_usable).count();
    // From the last one down, so that a crash in between leaves no gap.
    for segment in prepared.drain(usable..).rev() {
        let path = config.dir.join(segment_name(segment.id));
        if segment.is_unreadable {
            segments::set_aside(host, &config.dir, segment.id).await.map_err(at("rename", &path))?;
        } else {
            host.remove(&path).await.map_err(at("remove", &path))?;
        }
    }
    for segment in prepared {
        pool.push_ready(segment.file.expect("opened at the start"));
    }
    Ok(())
}

/// The walk along the chain.
struct Walk {
    groups: BTreeMap<GroupId, GroupLog>,
    /// Sequence of the first block of the oldest segment; 0 before it was seen.
    first_seq: u64,
    /// Sequence and header checksum of the last sound block; 0 before the first.
    last_seq: u64,
    chain: u32,
    last_is_mark: bool,
    last_block: Option<(LogPosition, Vec<u8>)>,
    /// Where the next block belongs.
    end: LogPosition,
    blocks: u64,
    records: u64,
    torn: bool,
    damage: Option<Damage>,
}

impl Walk {
    fn new() -> Walk {
        Walk {
            groups: BTreeMap::new(),
            first_seq: 0,
            last_seq: SEQ_FIRST - 1,
            chain: 0,
            // Before the first block there is nothing to confirm.
            last_is_mark: true,
            last_block: None,
            end: LogPosition { segment: SEGMENT_FIRST, offset: 0 },
            blocks: 0,
            records: 0,
            torn: false,
            damage: None,
        }
    }

    async fn run<D: LogHost>(
        &mut self,
        host: &D,
        dir: &Path,
        segments: &mut SegmentTable<D::File>,
    ) -> Result<(), Error> {
        let oldest = segments.oldest().expect("there is at least one segment");
        let newest = oldest + segments.len() as u64 - 1;
        self.end = LogPosition { segment: oldest, offset: 0 };
        let mut image = load(host, dir, segments, oldest).await?;
        self.follow(&image, oldest, segments);
        if self.damage.is_none() && self.blocks == 0 && oldest > SEGMENT_FIRST {
            self.damage = Some(Damage { segment: oldest, offset: 0, kind: DamageKind::FirstBlock });
        }
        while self.damage.is_none() {
            let last = image;
            if last.segment == newest {
                self.judge(&last, true);
                return Ok(());
            }
            image = load(host, dir, segments, last.segment + 1).await?;
            // A first segment that is shorter than the first block, of an empty log, was left out.
            let goes_on = |header: &BlockHeader| self.end.offset > 0 || header.block_bytes() as u64 > last.len();
            if self.next_at(&image, 0).is_some_and(|(header, _)| goes_on(&header)) {
                self.end = LogPosition { segment: image.segment, offset: 0 };
                self.follow(&image, oldest, segments);
                continue;
            }
            return self.judge_all(host, dir, segments, last, image).await;
        }
        Ok(())
    }

    /// Judges the segment where the chain ends and all behind it.
    async fn judge_all<D: LogHost>(
        &mut self,
        host: &D,
        dir: &Path,
        segments: &mut SegmentTable<D::File>,
        last: Image,
        behind: Image,
    ) -> Result<(), Error> {
        self.judge(&last, true);
        drop(last);
        let mut image = behind;
        loop {
            if self.damage.is_some() {
                return Ok(());
            }
            self.judge(&image, false);
            let next = image.segment + 1;
            if segments.get(next).is_none() {
                return Ok(());
            }
            image = load(host, dir, segments, next).await?;
        }
    }

    /// Takes in block after block of a segment, from `self.end` on.
    fn follow<F>(&mut self, image: &Image, oldest: u64, segments: &mut SegmentTable<F>) {
        let mut last = None;
        while let Some((header, crc)) = self.next_at(image, self.end.offset) {
            let records = image.records(self.end.offset, &header).unwrap_or_default();
            let is_oldest = image.segment == oldest;
            if self.blocks == 0 && records.is_empty() && image.segment > SEGMENT_FIRST && is_oldest {
                // Nothing in a block without records tells its place, and no segment opens with one: it was misdirected.
                self.damage = Some(self.damage_here(DamageKind::FirstBlock));
                return;
            }
            match replay(records, self.end, is_oldest, &mut self.groups, segments) {
                Ok(replayed) => {
                    self.records += replayed.records;
                    self.last_is_mark = replayed.mark;
                }
                Err(what) => {
                    self.damage = Some(self.damage_here(DamageKind::Malformed { what }));
                    return;
                }
            }
            last = Some((self.end, header));
            if self.blocks == 0 {
                self.first_seq = header.seq;
            }
            self.blocks += 1;
            self.last_seq = header.seq;
            self.chain = crc;
            self.end.offset += header.block_bytes() as u64;
        }
        if let Some((place, header)) = last {
            self.last_block = image.block(place.offset, &header).map(|block| (place, block.to_vec()));
        }
    }

    /// The sound block at an offset, if it is the next of the chain.
    fn next_at(&self, image: &Image, offset: u64) -> Option<(BlockHeader, u32)> {
        let Look::Whole(header, crc) = image.look(offset) else { return None };
        // Where the oldest segment is not the first of the log, what came before its first block is unknown.
        let unknown = self.blocks == 0 && self.end.segment > SEGMENT_FIRST;
        let follows = header.seq == self.last_seq + 1 && header.chain == self.chain;
        (unknown || follows).then_some((header, crc))
    }

    /// Looks in a segment for what must not be there if only an unacknowledged block was lost. `ends_here`: the chain
    /// ends in this segment, and what stands before its end is accounted for.
    fn judge(&mut self, image: &Image, ends_here: bool) {
        let from = if ends_here { self.end.offset } else { 0 };
        let may_hold = self.next_block(image);
        if let Some(offset) = image.unreadable.iter().find(|offset| may_hold.contains(offset)) {
            self.damage = Some(Damage { segment: image.segment, offset: *offset, kind: DamageKind::Unreadable });
            return;
        }
        let next_seq = self.last_seq + 1;
        for offset in (from..image.len()).step_by(host::ALIGNMENT) {
            let (header, whole) = match image.look(offset) {
                Look::Nothing => continue,
                Look::Torn(header) => (header, false),
                Look::Whole(header, _) => (header, true),
            };
            let follows = header.seq == next_seq && header.chain == self.chain;
            if header.seq > next_seq || (follows && whole) {
                self.damage = Some(self.damage_here(DamageKind::LaterBlock {
                    expected_seq: next_seq,
                    found_seq: header.seq,
                    found_segment: image.segment,
                    found_offset: offset,
                }));
                return;
            }
            if header.seq == next_seq && !follows {
                let kind = DamageKind::BrokenChain { seq: next_seq };
                self.damage = Some(Damage { segment: image.segment, offset, kind });
                return;
            }
            if ends_here && header.seq < self.first_seq {
                // Blocks older than the first one cannot stand behind it: a misdirected block took its place.
                self.damage = Some(Damage { segment: image.segment, offset: 0, kind: DamageKind::FirstBlock });
                return;
            }
            self.torn |= follows;
        }
    }

    /// Where the block behind the end may stand in this segment: there, or at the beginning of the next one. What lies
    /// further behind was never used as long as no later block says otherwise.
    fn next_block(&self, image: &Image) -> std::ops::Range<u64> {
        let start = if image.segment == self.end.segment { self.end.offset } else { 0 };
        let len = match image.look(start) {
            Look::Torn(header) if header.seq == self.last_seq + 1 => header.block_bytes() as u64,
            _ if image.segment > self.end.segment + 1 => 0,
            _ => host::ALIGNMENT as u64,
        };
        start..start + len
    }

    fn damage_here(&self, kind: DamageKind) -> Damage {
        Damage { segment: self.end.segment, offset: self.end.offset, kind }
    }
}

async fn load<D: LogHost>(
    host: &D,
    dir: &Path,
    segments: &mut SegmentTable<D::File>,
    id: u64,
) -> Result<Image, Error> {
    let segment = segments.get_mut(id).expect("walked from the oldest to the newest");
    let file = segment.file.as_ref().expect("opened at the start");
    let image = Image::load(host, dir, id, &file.file, segment.bytes).await?;
    segment.is_unreadable = !image.unreadable.is_empty();
    Ok(image)
}

fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + use<'a> {
    move |source| Error::Io { what, path: path.to_owned(), source }
}
