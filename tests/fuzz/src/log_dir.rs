//! Recovery of whole directories of segments: a log is written as the input says, damaged as the input says, and opened.
//! What was acknowledged is found, or the log says that it is damaged; and nothing is ever found that was not written.

use arbitrary::{Arbitrary, Unstructured};
use wal::Condition;

use crate::support::model::{GROUPS, Op, Run, content};
use crate::support::{Host, open, read, sync};

/// One way to spoil the files of a log that is closed.
#[derive(Arbitrary, Debug)]
enum Damage {
    /// A bit flips.
    Flip { file: u8, bit: u32 },
    /// A file is gone.
    Vanish { file: u8 },
    /// Sectors hold zeros.
    Zeros { file: u8, sector: u8, count: u8 },
    /// Blocks of 4 KiB stand where others belong.
    Splice { file: u8, from: u8, to: u8 },
    /// Anything stands somewhere.
    Garbage { file: u8, offset: u16, bytes: [u8; 16] },
}

/// Writes, damages, opens.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = attempt(&mut input);
}

fn attempt(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut run = Run::new();
    for _ in 0..input.int_in_range(1..=120)? {
        run.step(&op(input)?);
    }
    sync(&run.host, &mut run.wal);
    let marked = input.arbitrary()?;
    if marked {
        run.wal.idle().expect("an idle log can be marked");
        sync(&run.host, &mut run.wal);
    }
    run.durable = run.wal.durable_seq();
    let host = run.host.crash(|_| false);
    let damages: Vec<Damage> =
        (0..input.int_in_range(1..=4)?).map(|_| input.arbitrary()).collect::<Result<_, _>>()?;
    damages.iter().for_each(|damage| spoil(&host, damage));
    let (wal, recovered) = open(&host);
    let is_sound =
        recovered.damage.is_none() && recovered.groups.values().all(|group| group.condition == Condition::Sound);
    // One spoiled place is always seen. With several the last block and the mark that vouches for it may both be hit.
    let is_promised = matches!(damages[..], [Damage::Flip { .. } | Damage::Vanish { .. }]);
    if is_sound && is_promised {
        let found = content(&wal, &recovered);
        let is_last_only = !marked && found == *run.at(run.durable.saturating_sub(1));
        assert!(found == *run.at(run.durable) || is_last_only, "acknowledged data is missing: {damages:?}");
    }
    for (group, state) in recovered.groups.iter().filter(|(_, state)| state.first_index() > 0) {
        let Ok(entries) = read(&wal, group.0, state.first_index(), state.last_index) else { continue };
        for entry in entries {
            let was_written = run
                .history
                .iter()
                .any(|(_, model)| model.get(&group.0).is_some_and(|known| known.entries.contains(&entry)));
            assert!(was_written, "group {group}: entry {} was never written: {damages:?}", entry.index);
        }
    }
    Ok(())
}

fn op(input: &mut Unstructured<'_>) -> arbitrary::Result<Op> {
    let group = input.int_in_range(0..=GROUPS - 1)?;
    Ok(match input.int_in_range(0..=15_u8)? {
        0..=4 => Op::Append {
            group,
            back: input.int_in_range(0..=3)?,
            count: input.int_in_range(1..=4)?,
            len: input.int_in_range(0..=2_500)?,
            newer: input.arbitrary()?,
        },
        5 => Op::HardState { group, newer: input.arbitrary()?, back: input.int_in_range(0..=3)? },
        6 => Op::Truncate { group, back: input.int_in_range(0..=2)? },
        7 => Op::Compact { group, back: input.int_in_range(0..=5)? },
        8 => Op::Reset { group, ahead: input.int_in_range(1..=4)? },
        9 => Op::Forget { group },
        10 | 11 => Op::Submit,
        12 | 13 => Op::Complete,
        14 => Op::Tasks,
        _ if input.arbitrary()? => Op::Idle,
        _ => Op::Crash { sectors: input.arbitrary()? },
    })
}

fn spoil(host: &Host, damage: &Damage) {
    let segments: Vec<u64> = host.file_names().iter().filter_map(|name| wal::format::segment_id(name)).collect();
    let Some(last) = segments.len().checked_sub(1) else { return };
    let pick = |file: &u8| segments[usize::from(*file) % (last + 1)];
    match damage {
        Damage::Flip { file, bit } => {
            let bits = 8 * host.content(pick(file)).len();
            host.flip(pick(file), *bit as usize % bits);
        }
        Damage::Vanish { file } => host.delete(pick(file)),
        Damage::Zeros { file, sector, count } => host.change(pick(file), |bytes| {
            let start = usize::from(*sector) * 512 % bytes.len();
            let end = (start + usize::from(*count) * 512).min(bytes.len());
            bytes[start..end].fill(0);
        }),
        Damage::Splice { file, from, to } => host.change(pick(file), |bytes| {
            let blocks = bytes.len() / 4_096;
            let (from, to) = (usize::from(*from) % blocks, usize::from(*to) % blocks);
            bytes.copy_within(from * 4_096..(from + 1) * 4_096, to * 4_096);
        }),
        Damage::Garbage { file, offset, bytes } => host.change(pick(file), |content| {
            let offset = usize::from(*offset) % (content.len() - bytes.len());
            content[offset..offset + bytes.len()].copy_from_slice(bytes);
        }),
    }
}
