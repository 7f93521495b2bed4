//! From the files of a log to one that goes on, and to the report on it.
//!
//! Where blocks were lost the log goes on in a new segment, which opens with what was found of each group: so the next start
//! finds the same, and nothing that concerns nobody any more is kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use host::{AlignedBuf, Disk, IoClass};
use types::GroupId;

use crate::LogHost;
use crate::config::Config;
use crate::error::Error;
use crate::format::{BlockHeader, MAGIC, SEGMENT_FIRST, SEQ_LEAP, foreign_version, segment_id, segment_name};
use crate::group::GroupLog;
use crate::record::LogPosition;
use crate::recovered::{Recovered, SetAside};
use crate::scan::Image;
use crate::segments::{self, Pool, SCRATCH_NAME, SET_ASIDE_SUFFIX, Segment, SegmentFile, SegmentTable};
use crate::walk::Walk;
use crate::writer::Writer;

/// The log tells the names of at most this number of files that were set aside.
const SET_ASIDE_TOLD_MAX: usize = 8;

/// A log ready to go on.
pub(crate) struct Log<F> {
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    pub(crate) segments: SegmentTable<F>,
    pub(crate) pool: Pool<F>,
    pub(crate) writer: Writer,
    /// Something was found that no record tells yet: before anything else the next segment is to be opened.
    pub(crate) must_roll: bool,
}

/// Opens or begins the log.
pub(crate) async fn recover<D: LogHost>(host: &D, config: &Config) -> Result<(Log<D::File>, Recovered), Error> {
    host.create_dir_all(&config.dir).await.map_err(at("create", &config.dir))?;
    let (mut segments, set_aside) = open_segments(host, &config.dir).await?;
    if segments.len() == 0 {
        let path = config.dir.join(segment_name(SEGMENT_FIRST));
        let file = host.create_zeroed(&path, config.segment_bytes).await.map_err(at("create", &path))?;
        let file = SegmentFile { id: SEGMENT_FIRST, file };
        segments.push(SEGMENT_FIRST, config.segment_bytes, Some(Rc::new(file)));
    }
    tell_set_aside(&config.dir, &set_aside);
    let mut recovered = Recovered { segments_count: segments.len() as u64, set_aside, ..Recovered::default() };
    let mut walk = walk(host, (&config.dir, config.log_id), &mut segments, |_, _| {}).await?;
    let is_recorded = walk.replay.finish(&config.groups, &mut segments);
    recovered.torn_tail = walk.is_torn();
    recovered.blocks_count = walk.blocks_count;
    recovered.records_count = walk.replay.records_count;
    recovered.groups = walk.replay.living().map(|(group, log)| (group, log.report())).collect();
    recovered.destroyed = walk.replay.destroyed();
    recovered.damage = walk.damages.first().copied();
    if let Some(damage) = &recovered.damage {
        tracing::error!(dir = %config.dir.display(), %damage, "the log is damaged");
    }
    let log = go_on(host, config, walk, segments, !is_recorded).await?;
    Ok((log, recovered))
}

/// Walks through all segments, and shows each block that counts.
pub(crate) async fn walk<D: Disk>(
    host: &D,
    (dir, log_id): (&Path, u64),
    segments: &mut SegmentTable<D::File>,
    mut seen: impl FnMut(&BlockHeader, &[u8]),
) -> Result<Walk, Error> {
    let mut walk = Walk::new(log_id, segments.oldest().expect("there is at least one segment"));
    for id in segments.ids() {
        let image = load(host, dir, segments, id).await?;
        if let Some(found) = foreign_version(&image.bytes) {
            let expected = char::from(MAGIC.to_le_bytes()[7]);
            return Err(Error::Version { path: dir.join(segment_name(id)), found, expected });
        }
        walk.take(&image, segments, &mut seen);
    }
    if let Some((segment, found)) = walk.foreign.filter(|_| walk.blocks_count == 0) {
        return Err(Error::Foreign { path: dir.join(segment_name(segment)), found, expected: log_id });
    }
    walk.finish(segments);
    Ok(walk)
}

/// Nobody removes these files, so whoever runs the node is told of them.
fn tell_set_aside(dir: &Path, files: &[SetAside]) {
    if files.is_empty() {
        return;
    }
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let names: Vec<&str> = files.iter().take(SET_ASIDE_TOLD_MAX).map(|file| file.name.as_str()).collect();
    tracing::warn!(
        dir = %dir.display(),
        files = files.len(),
        bytes,
        names = names.join(" "),
        "log segments were set aside: the disk could not read them everywhere, or they were damaged; the log does not need \
         them, and they may be removed once nobody wants to look into them"
    );
}

/// The files of a log.
pub(crate) struct Listing<F> {
    pub(crate) segments: SegmentTable<F>,
    pub(crate) set_aside: Vec<SetAside>,
    /// Names of what a crash left unfinished.
    pub(crate) unfinished: Vec<String>,
}

/// Opens all segments and removes what a crash left unfinished. Returns the segments, and what was set aside.
async fn open_segments<D: Disk>(host: &D, dir: &Path) -> Result<(SegmentTable<D::File>, Vec<SetAside>), Error> {
    let listing = list_files(host, dir).await?;
    for name in listing.unfinished {
        let path = dir.join(name);
        host.remove(&path).await.map_err(at("remove", &path))?;
    }
    Ok((listing.segments, listing.set_aside))
}

/// Opens all segments, and changes nothing.
pub(crate) async fn list_files<D: Disk>(host: &D, dir: &Path) -> Result<Listing<D::File>, Error> {
    let (mut ids, mut set_aside, mut unfinished) = (Vec::new(), Vec::new(), Vec::new());
    for name in host.list(dir).await.map_err(at("list", dir))? {
        if name.ends_with(".seg.tmp") || name == SCRATCH_NAME {
            unfinished.push(name);
        } else if let Some(id) = segment_id(&name) {
            ids.push(id);
        } else if segments::is_set_aside(&name) {
            // The disk may fail on it again: that concerns nobody.
            let bytes = match host.open(&dir.join(&name)).await {
                Ok(file) => host.len(&file).await.unwrap_or_default(),
                Err(_) => 0,
            };
            set_aside.push(SetAside { name, bytes });
        }
    }
    set_aside.sort_by(|one, other| one.name.cmp(&other.name));
    ids.sort_unstable();
    let mut segments = SegmentTable::new();
    for id in ids {
        let path = dir.join(segment_name(id));
        let file = host.open(&path).await.map_err(at("open", &path))?;
        let len = host.len(&file).await.map_err(at("measure", &path))?;
        let len = len / host::ALIGNMENT as u64 * host::ALIGNMENT as u64;
        segments.push(id, len, Some(Rc::new(SegmentFile { id, file })));
    }
    Ok(Listing { segments, set_aside, unfinished })
}

/// Makes the end of the log fit to be written behind: what was found there becomes durable and is confirmed.
async fn go_on<D: LogHost>(
    host: &D,
    config: &Config,
    walk: Walk,
    mut segments: SegmentTable<D::File>,
    must_roll: bool,
) -> Result<Log<D::File>, Error> {
    if walk.is_end_lost {
        // What was found of blocks that are lost stays where it is, and no sequence is used twice.
        let newest = *segments.ids().last().expect("there is at least one segment");
        let (seq, place) = (walk.seq_max() + SEQ_LEAP, LogPosition { segment: newest, offset: 0 });
        let writer = Writer::new(config, place, 0, seq, walk.chain, walk.last_is_mark);
        let pool = Pool::new(config, newest + 1);
        return Ok(Log { groups: walk.replay.groups, segments, pool, writer, must_roll: true });
    }
    let (end, seq) = (walk.end, walk.last_seq + 1);
    let is_torn = walk.is_torn();
    let current = segments.get(end.segment).expect("the walk ends in a segment of the table");
    // Where the disk cannot read behind the end nothing is written: the log goes on in the next segment.
    let bytes = if current.is_unreadable { end.offset } else { current.bytes };
    let mut writer = Writer::new(config, end, bytes, seq, walk.chain, walk.last_is_mark);
    let mut pool = Pool::new(config, end.segment + 1);
    if let Some((place, block)) = walk.last_block {
        // The last block, a mark or not, may have been in flight: read back, yet only in the drive's volatile cache. The
        // same bytes again change nothing but make sure of it.
        let mut buf = AlignedBuf::with_capacity(block.len());
        buf.extend_from_slice(&block);
        write(host, config, &segments, place, buf).await?;
    }
    adopt_prepared(host, config, end.segment, &mut segments, &mut pool).await?;
    let mut groups = walk.replay.groups;
    let is_unconfirmed = !must_roll && (is_torn || !walk.last_is_mark);
    if is_unconfirmed && room_for_mark(host, config, &mut writer, &mut segments, &mut pool, &mut groups).await {
        writer.put_mark(&groups);
        let mark = writer.take().expect("just closed");
        write(host, config, &segments, mark.place, mark.buf).await?;
    }
    Ok(Log { groups, segments, pool, writer, must_roll })
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
    host.write(&file.file, place.offset, buf, IoClass::Log).await.map(drop).map_err(at("write", &path))
}

/// Moves on to the next segment if the present one is full. `false` if there is none: on a full disk the
/// log opens without a mark.
async fn room_for_mark<D: LogHost>(
    host: &D,
    config: &Config,
    writer: &mut Writer,
    segments: &mut SegmentTable<D::File>,
    pool: &mut Pool<D::File>,
    groups: &mut BTreeMap<GroupId, GroupLog>,
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
    writer.put_opening(groups);
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
    let is_usable = |(segment, id): &(&Segment<_>, u64)| {
        segment.id == *id && segment.bytes == config.segment_bytes && !segment.is_unreadable
    };
    let usable = prepared.iter().zip(end + 1..).take_while(is_usable).count();
    // From the last one down, so that a crash in between leaves no gap.
    for segment in prepared.drain(usable..).rev() {
        let path = config.dir.join(segment_name(segment.id));
        if segment.is_unreadable {
            segments::set_aside(host, &config.dir, segment.id, SET_ASIDE_SUFFIX)
                .await
                .map_err(at("rename", &path))?;
        } else {
            host.remove(&path).await.map_err(at("remove", &path))?;
        }
    }
    for segment in prepared {
        pool.push_ready(segment.file.expect("opened at the start"));
    }
    Ok(())
}

async fn load<D: Disk>(host: &D, dir: &Path, segments: &mut SegmentTable<D::File>, id: u64) -> Result<Image, Error> {
    let segment = segments.get_mut(id).expect("walked from the oldest to the newest");
    let file = segment.file.as_ref().expect("opened at the start");
    let image = Image::load(host, dir, id, &file.file, segment.bytes).await?;
    segment.is_unreadable = !image.unreadable.is_empty();
    Ok(image)
}

fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + use<'a> {
    move |source| Error::Io { what, path: path.to_owned(), source }
}
