//! A log with a past: several groups, segments, truncations, resets, crashes, files that are used again. And what is
//! known of it: what was written, what each block stands for, and what stood at its place before.

use std::collections::{BTreeMap, BTreeSet};

use wal::format::{BlockHeader, HEADER_BYTES, segment_id};
use wire::Entry;

use crate::input::Input;
use crate::support::Host;
use crate::support::model::{GROUPS, Model, Op, Run};

/// Operations that an input may add by itself.
const OWN_OPS_MAX: usize = 60;

/// A log that is all durable.
pub(super) struct History {
    pub(super) run: Run,
    /// The durable blocks that can be found, in order.
    pub(super) blocks: Vec<Block>,
    /// What each segment held before its first block.
    pub(super) before: BTreeMap<u64, Vec<u8>>,
    /// What the log held before the last crash, each with the block that made it so.
    past: Vec<(u64, Model)>,
    written: BTreeSet<(u32, u64, u64, u8, Vec<u8>)>,
}

/// A block of the log.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) seq: u64,
    pub(super) segment: u64,
    pub(super) offset: usize,
    /// With its padding.
    pub(super) len: usize,
    /// Header and records.
    bytes: Vec<u8>,
}

impl Block {
    /// Whether the block stands where it did in these files and can be read.
    fn is_kept(&self, contents: &BTreeMap<u64, Vec<u8>>, unreadable: &[(u64, usize)]) -> bool {
        let units = self.offset..self.offset + self.len;
        let content = contents.get(&self.segment).and_then(|content| content.get(units.clone()));
        content.is_some_and(|content| content.starts_with(&self.bytes))
            && !unreadable.iter().any(|(segment, offset)| *segment == self.segment && units.contains(offset))
    }
}

impl History {
    /// Writes what the seed and the rest of the input say, then a mark if there shall be one.
    pub(super) fn write(seed: u8, count: u8, input: &mut Input<'_>, is_marked: bool) -> History {
        let run = Run::new();
        let (past, written) = (vec![(0, Model::new())], BTreeSet::new());
        let mut history = History { run, blocks: Vec::new(), before: BTreeMap::new(), past, written };
        history.note_files();
        let mut chance = Prng(u64::from(seed) + 1);
        for _ in 0..count {
            let bytes = chance.next_u64().to_le_bytes();
            history.step(&op(&mut Input::new(&bytes)));
        }
        for _ in 0..OWN_OPS_MAX {
            if input.is_empty() {
                break;
            }
            history.step(&op(input));
        }
        history.sync();
        if is_marked {
            history.step(&Op::Idle);
            history.sync();
        }
        history.run.durable = history.run.wal.durable_seq();
        history.blocks = blocks(&history.run.host);
        assert_eq!(history.blocks.last().map_or(0, |block| block.seq), history.run.durable, "all blocks are there");
        history
    }

    /// What the log held with this block as its last.
    pub(super) fn at(&self, seq: u64) -> &Model {
        self.states()
            .find(|(needed, _)| *needed <= seq)
            .map(|(_, model)| model)
            .expect("the empty log needs no block")
    }

    /// Whatever the log has ever held.
    pub(super) fn models(&self) -> impl Iterator<Item = &Model> {
        self.states().map(|(_, model)| model)
    }

    /// The latest first. What a run begins with stands in `past`.
    fn states(&self) -> impl Iterator<Item = &(u64, Model)> {
        self.run.history.iter().skip(1).rev().chain(self.past.iter().rev())
    }

    /// The last block that is as it was written.
    pub(super) fn last_kept(&self, host: &Host, unreadable: &[(u64, usize)]) -> Option<&Block> {
        let contents = segments(host).into_iter().map(|id| (id, host.content(id))).collect();
        self.blocks.iter().rfind(|block| block.is_kept(&contents, unreadable))
    }

    pub(super) fn has_written(&self, group: u32, entry: &Entry) -> bool {
        self.written.contains(&row(group, entry))
    }

    fn step(&mut self, op: &Op) {
        let durable = self.run.durable;
        let former = matches!(op, Op::Crash { .. }).then(|| (self.run.history.clone(), self.run.host.clone()));
        self.run.step(op);
        if let Some((former, host)) = former {
            // Tasks that were begun there hold on to the world that holds them; without their log they end.
            host.run_tasks();
            self.past.extend(former.into_iter().skip(1).filter(|(needed, _)| *needed <= durable));
            // The next block is the one that was in flight, or a mark in its place.
            self.past.push((durable + 1, self.run.model.clone()));
        }
        if let Op::Append { group, count, .. } = op
            && let Some(known) = self.run.model.get(group)
        {
            let behind = known.entries.len().saturating_sub(*count as usize);
            self.written.extend(known.entries[behind..].iter().map(|entry| row(*group, entry)));
        }
        self.note_files();
    }

    fn sync(&mut self) {
        while self.run.wal.pending_bytes() > 0 {
            [Op::Submit, Op::Tasks, Op::Complete].iter().for_each(|op| self.step(op));
        }
        self.step(&Op::Tasks);
    }

    /// Keeps what new segments hold: zeros, or what was written under their former names.
    fn note_files(&mut self) {
        for id in segments(&self.run.host) {
            self.before.entry(id).or_insert_with(|| self.run.host.content(id));
        }
    }
}

fn row(group: u32, entry: &Entry) -> (u32, u64, u64, u8, Vec<u8>) {
    (group, entry.index, entry.term, entry.kind as u8, entry.payload.to_vec())
}

/// The ids of the segments there are, ascending.
pub(super) fn segments(host: &Host) -> Vec<u64> {
    let mut ids: Vec<u64> = host.file_names().iter().filter_map(|name| segment_id(name)).collect();
    ids.sort_unstable();
    ids
}

/// The blocks of a sound log.
fn blocks(host: &Host) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for segment in segments(host) {
        let content = host.content(segment);
        let mut offset = 0;
        while let Some((header, _)) = content.get(offset..).and_then(BlockHeader::decode) {
            let is_next = blocks.last().is_none_or(|last| header.seq == last.seq + 1);
            if header.segment != segment || !is_next {
                break;
            }
            let end = offset + HEADER_BYTES + header.records_len as usize;
            let len = header.block_bytes();
            blocks.push(Block { seq: header.seq, segment, offset, len, bytes: content[offset..end].to_vec() });
            offset += len;
        }
    }
    blocks
}

/// Four bytes say what happens.
fn op(input: &mut Input<'_>) -> Op {
    let (what, how, len) = (input.byte(), input.byte(), input.byte());
    let more = input.byte();
    let group = u32::from(what >> 5) % GROUPS;
    let newer = how & 0x80 != 0;
    match what & 31 {
        0..=9 => {
            // Most entries go behind the last one.
            let back = if how & 0x70 == 0 { u64::from(more % 4) } else { 0 };
            Op::Append { group, back, count: 1 + u64::from(how & 3), len: usize::from(len) * 10, newer }
        }
        10 | 11 => Op::HardState { group, newer, back: u64::from(how & 3) },
        12 => Op::Truncate { group, back: u64::from(how & 3) },
        13..=15 => Op::Compact { group, back: u64::from(how & 7) },
        16 => Op::Reset { group, ahead: 1 + u64::from(how & 3) },
        17 if how < 32 => Op::Destroy { group, ahead: u64::from(how & 3) },
        17 if how < 64 => Op::Begin { group, ahead: 1 + u64::from(how & 3) },
        18..=21 => Op::Submit,
        22..=26 => Op::Complete,
        27 | 28 => Op::Tasks,
        29 => Op::Idle,
        30 if how < 64 => Op::Crash { sectors: if len & 1 == 1 { u64::MAX } else { u64::from(more) << (len & 7) } },
        _ => Op::Complete,
    }
}

/// SplitMix64.
pub struct Prng(pub u64);

impl Prng {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}
