//! Ways to spoil the files of a log that is closed.

use host::ALIGNMENT;
use wal::format::segment_name;

use super::history::{Block, History, segments};
use crate::input::{Input, place};
use crate::support::{Host, SECTOR};

/// One of them. Files count from the oldest, units are 4,096 bytes, blocks count from the last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// A bit of a file flips.
    Flip { file: u8, bit: u32 },
    /// A bit of a block flips, counted from its header.
    FlipInBlock { block: u8, bit: u16 },
    /// A file is gone.
    Vanish { file: u8 },
    /// Sectors hold zeros.
    Zeros { file: u8, sector: u8, count: u8 },
    /// A unit stands where another belongs.
    Splice { from: (u8, u8), to: (u8, u8) },
    /// Two bytes stand somewhere.
    Garbage { file: u8, offset: u16, bytes: [u8; 2] },
    /// Two files have each other's names.
    Swap { files: (u8, u8) },
    /// A file is there twice, the second time in place of another, or behind all or before all.
    Duplicate { from: u8, to: u8 },
    /// A write was reported done and never happened, or only in some sectors.
    Lost { block: u8, sectors_kept: u16 },
    /// A write happened elsewhere.
    Misdirected { block: u8, to: (u8, u8) },
    /// A file ends early, or late, with zeros.
    Length { file: u8, units: u8, extra: u8 },
    /// The disk cannot read a unit.
    Unreadable { file: u8, unit: u8 },
}

impl Edit {
    /// Six bytes say which.
    pub(super) fn read(input: &mut Input<'_>) -> Edit {
        let kind = input.byte();
        let (a, b, c, d) = (input.byte(), input.byte(), input.byte(), input.byte());
        let e = input.byte();
        let [wide, other] = [u16::from_le_bytes([b, c]), u16::from_le_bytes([d, e])];
        match kind % 12 {
            0 => Edit::Flip { file: a, bit: u32::from(wide) | u32::from(d) << 16 },
            1 => Edit::FlipInBlock { block: a, bit: wide },
            2 => Edit::Vanish { file: a },
            3 => Edit::Zeros { file: a, sector: b, count: c },
            4 => Edit::Splice { from: (a, b), to: (c, d) },
            5 => Edit::Garbage { file: a, offset: wide, bytes: [d, e] },
            6 => Edit::Swap { files: (a, b) },
            7 => Edit::Duplicate { from: a, to: b },
            8 => Edit::Lost { block: a, sectors_kept: if b & 1 == 0 { 0 } else { other } },
            9 => Edit::Misdirected { block: a, to: (b, c) },
            10 => Edit::Length { file: a, units: b, extra: c },
            _ => Edit::Unreadable { file: a, unit: b },
        }
    }

    /// Spoils the files. What the disk cannot read is noted: segment and offset.
    pub(super) fn apply(&self, history: &History, host: &Host, unreadable: &mut Vec<(u64, usize)>) {
        let ids = segments(host);
        if ids.is_empty() {
            return;
        }
        let file = |number: u8| ids[place(number, ids.len())];
        match *self {
            Edit::Flip { file: number, bit } => flip(host, file(number), bit as usize),
            Edit::Vanish { file: number } => host.delete(file(number)),
            Edit::Zeros { file: number, sector, count } => host.change(file(number), |bytes| {
                let start = (usize::from(sector) * SECTOR).min(bytes.len());
                let end = (start + usize::from(count) * SECTOR).min(bytes.len());
                bytes[start..end].fill(0);
            }),
            Edit::Splice { from, to } => splice(host, (file(from.0), from.1), (file(to.0), to.1)),
            Edit::Garbage { file: number, offset, bytes } => {
                write(host, file(number), usize::from(offset), &bytes);
            }
            Edit::Swap { files } => {
                let (left, right) = (file(files.0), file(files.1));
                let content = host.content(left);
                let other = host.content(right);
                host.change(left, |bytes| *bytes = other);
                host.change(right, |bytes| *bytes = content);
            }
            Edit::Duplicate { from, to } => {
                let content = host.content(file(from));
                // Before all, in place of each, behind all.
                let id = (ids[0] - 1 + place(to, ids.len() + 2) as u64).max(1);
                host.put_file(&segment_name(id), content);
            }
            Edit::Length { file: number, units, extra } => host.change(file(number), |bytes| {
                let len = usize::from(units) * ALIGNMENT + usize::from(extra);
                bytes.resize(len.min(24 * ALIGNMENT), 0);
            }),
            Edit::Unreadable { file: number, unit } => {
                let offset = usize::from(unit % 16) * ALIGNMENT;
                host.set_unreadable(file(number), offset as u64);
                unreadable.push((file(number), offset));
            }
            Edit::FlipInBlock { block, .. } | Edit::Lost { block, .. } | Edit::Misdirected { block, .. } => {
                let Some(block) = history.blocks.iter().rev().nth(place(block, history.blocks.len())) else { return };
                if ids.contains(&block.segment) {
                    self.apply_to_block(history, host, block, &file);
                }
            }
        }
    }

    fn apply_to_block(&self, history: &History, host: &Host, block: &Block, file: &dyn Fn(u8) -> u64) {
        match *self {
            Edit::FlipInBlock { bit, .. } => flip(host, block.segment, 8 * block.offset + usize::from(bit)),
            Edit::Lost { sectors_kept, .. } => lose(history, host, block, sectors_kept),
            Edit::Misdirected { to, .. } => {
                let content = host.content(block.segment);
                let Some(bytes) = content.get(block.offset..block.offset + block.len) else { return };
                lose(history, host, block, 0);
                write(host, file(to.0), usize::from(to.1 % 16) * ALIGNMENT, bytes);
            }
            _ => {}
        }
    }
}

/// What stood there before the block stands there again, but for the sectors that are kept.
fn lose(history: &History, host: &Host, block: &Block, sectors_kept: u16) {
    let Some(before) = history.before.get(&block.segment) else { return };
    for sector in 0..block.len / SECTOR {
        let start = block.offset + sector * SECTOR;
        if sectors_kept >> (sector % 16) & 1 == 0 {
            write(host, block.segment, start, &before[start..start + SECTOR]);
        }
    }
}

fn flip(host: &Host, segment: u64, bit: usize) {
    host.change(segment, |bytes| {
        let bits = 8 * bytes.len();
        if let Some(byte) = bytes.get_mut(place(bit, bits) / 8) {
            *byte ^= 1 << (bit % 8);
        }
    });
}

fn splice(host: &Host, from: (u64, u8), to: (u64, u8)) {
    let content = host.content(from.0);
    if let Some(unit) = content.chunks(ALIGNMENT).nth(usize::from(from.1 % 16)) {
        write(host, to.0, usize::from(to.1 % 16) * ALIGNMENT, unit);
    }
}

/// Writes as far as the file goes.
fn write(host: &Host, segment: u64, offset: usize, bytes: &[u8]) {
    host.change(segment, |content| {
        if let Some(place) = content.get_mut(offset..) {
            let len = bytes.len().min(place.len());
            place[..len].copy_from_slice(&bytes[..len]);
        }
    });
}
