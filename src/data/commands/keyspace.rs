//! Commands on all keys of a slot or of the group: `DBSIZE`, `FLUSHALL`, `FLUSHDB`, `CLUSTER COUNTKEYSINSLOT`,
//! `CLUSTER GETKEYSINSLOT`.

use resp::number::parse_i64;
use resp::reply::{array_header_bytes, bulk_bytes};
use resp::{Args, CommandId, Reply};
use types::Slot;
use types::limits::REPLY_BYTES_MAX;

use super::arguments::{arg, no_keys};
use super::bounds::SHORT_REPLY_BYTES_MAX;
use super::registration::{Action, Registration, Rows};
use crate::outcome::{Error, Outcome};
use crate::row_range::RowRange;
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::DbSize, no_keys, Action::Query(db_size)).rows(Rows::Group),
    Registration::new(CommandId::FlushAll, no_keys, Action::Apply(flush)).rows(Rows::Group).options(check_flush_mode),
    Registration::new(CommandId::FlushDb, no_keys, Action::Apply(flush)).rows(Rows::Group).options(check_flush_mode),
    Registration::new(CommandId::ClusterCountKeysInSlot, no_keys, Action::Query(count_keys_in_slot))
        .rows(Rows::Slot)
        .range(|_, slot, _, _| RowRange::of_slots((slot.idx(), 0), slot, COUNTED_MAX)),
    Registration::new(CommandId::ClusterGetKeysInSlot, no_keys, Action::Query(get_keys_in_slot))
        .rows(Rows::Slot)
        .range(|_, slot, args, _| RowRange::of_slots((slot.idx(), 0), slot, keys_count_wanted(args)))
        .reply(keys_bound),
];

/// The most keys that are counted of a slot of which not all are in memory.
const COUNTED_MAX: usize = 10_000;

/// `DBSIZE`: how many keys the group has, about if not all are in memory.
fn db_size(store: &Store, _: Slot, _: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.integer(store.keys_count() as i64);
    Ok(())
}

/// `FLUSHALL` and `FLUSHDB`.
fn flush<'s>(store: &'s mut Store, _: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    check_flush_mode(args)?;
    store.clear();
    Ok(Outcome::Ok)
}

/// One word may follow, and both words mean the same here.
fn check_flush_mode(args: Args<'_>) -> Result<(), Error> {
    match (args.len(), args.get(1)) {
        (0 | 1, _) => Ok(()),
        (2, Some(mode)) if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") => Ok(()),
        _ => Err(Error::Syntax),
    }
}

/// `CLUSTER COUNTKEYSINSLOT slot`.
fn count_keys_in_slot(store: &Store, slot: Slot, _: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.integer(store.rows.count_in_slot(slot) as i64);
    Ok(())
}

/// `CLUSTER GETKEYSINSLOT slot count`: that many keys of the slot, or all if there are fewer.
fn get_keys_in_slot(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let (count, _) = measure_keys(store, slot, args).ok_or(Error::ReplyTooLong)?;
    reply.array(count);
    keys_wanted(store, slot, args).for_each(|key| reply.bulk(key));
    Ok(())
}

fn keys_bound(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    // If it is too long, an error is the answer.
    measure_keys(store, slot, args).map_or(0, |(_, bytes)| bytes).max(SHORT_REPLY_BYTES_MAX)
}

/// How many keys there are for the reply, and how long they make it; `None` if it would be too long.
fn measure_keys(store: &Store, slot: Slot, args: Args<'_>) -> Option<(usize, usize)> {
    let mut keys = keys_wanted(store, slot, args);
    let (count, bytes) = keys.try_fold((0, 0), |(count, bytes), key| {
        let bytes = bytes + bulk_bytes(key.len());
        (bytes <= REPLY_BYTES_MAX).then_some((count + 1, bytes))
    })?;
    let bytes = bytes + array_header_bytes(count);
    (bytes <= REPLY_BYTES_MAX).then_some((count, bytes))
}

fn keys_wanted<'s>(store: &'s Store, slot: Slot, args: Args<'_>) -> impl Iterator<Item = &'s [u8]> + use<'s> {
    store.rows_in_slot(slot).take(keys_count_wanted(args)).map(|row| row.key())
}

fn keys_count_wanted(args: Args<'_>) -> usize {
    parse_i64(arg(args, 3)).and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}
