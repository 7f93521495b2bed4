//! Commands on parts of strings: `APPEND`, `STRLEN`, `GETRANGE`, `SUBSTR`, `SETRANGE`.

use core::ops::Range;

use lsm::Content;
use resp::{Args, CommandId, Reply};
use types::Slot;
use types::limits::VALUE_BYTES_MAX;

use super::arguments::{arg, integer, key_and, key_only, key_value};
use super::bounds;
use super::registration::{Action, Registration};
use crate::outcome::{Error, Outcome};
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Append, key_value, Action::Apply(append)),
    Registration::new(CommandId::StrLen, key_only, Action::Query(str_len)),
    Registration::new(CommandId::GetRange, key_and::<2>, Action::Query(get_range))
        .options(check_range)
        .reply(range_bound),
    Registration::new(CommandId::SubStr, key_and::<2>, Action::Query(get_range))
        .options(check_range)
        .reply(range_bound),
    Registration::new(CommandId::SetRange, key_and::<2>, Action::Apply(set_range)).options(check_offset),
];

/// `APPEND`: the length of the value afterwards.
fn append<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let (key, tail) = (arg(args, 1), arg(args, 2));
    let Some(mut row) = store.get_mut(slot, key) else {
        store.set(slot, key, tail);
        return Ok(Outcome::Integer(tail.len() as i64));
    };
    let len = row.row().value().len();
    if len + tail.len() > VALUE_BYTES_MAX {
        return Err(Error::ValueTooLong);
    }
    row.write_at(len, tail);
    Ok(Outcome::Integer((len + tail.len()) as i64))
}

/// `STRLEN`.
fn str_len(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let len = store.look_up(slot, arg(args, 1)).map_or(0, |row| row.value().len());
    reply.integer(len as i64);
    Ok(())
}

/// `GETRANGE` and `SUBSTR`.
fn get_range(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let (start, end) = range(args)?;
    let value = store.look_up(slot, arg(args, 1)).map(|row| row.value()).unwrap_or_default();
    reply.bulk(value.get(clamp_range(start, end, value.len())).unwrap_or_default());
    Ok(())
}

/// `SETRANGE`: the length of the value afterwards.
fn set_range<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let offset = offset(args)?;
    let (key, bytes) = (arg(args, 1), arg(args, 3));
    if bytes.is_empty() {
        let len = store.value_len(slot, key);
        return Ok(Outcome::Integer(len as i64));
    }
    let Some(mut row) = store.get_mut(slot, key) else {
        let zeros = vec![0; offset];
        store.put(slot, key, &Content { value: [&zeros, bytes], ..Content::plain(b"") });
        return Ok(Outcome::Integer((offset + bytes.len()) as i64));
    };
    row.write_at(offset, bytes);
    Ok(Outcome::Integer(row.row().value().len() as i64))
}

/// The offset of `SETRANGE`, such that the value stays within its limit.
fn offset(args: Args<'_>) -> Result<usize, Error> {
    let offset = u64::try_from(integer(args, 2)?).map_err(|_| Error::OffsetOutOfRange)?;
    let value = arg(args, 3);
    // Writing nothing changes nothing, wherever it is written.
    if value.is_empty() {
        return Ok(0);
    }
    match usize::try_from(offset).ok().and_then(|offset| offset.checked_add(value.len())) {
        Some(end) if end <= VALUE_BYTES_MAX => Ok(end - value.len()),
        _ => Err(Error::ValueTooLong),
    }
}

fn check_offset(args: Args<'_>) -> Result<(), Error> {
    offset(args).map(drop)
}

/// Start and end of `GETRANGE`, both included, counted from the end if negative.
fn range(args: Args<'_>) -> Result<(i64, i64), Error> {
    Ok((integer(args, 2)?, integer(args, 3)?))
}

fn check_range(args: Args<'_>) -> Result<(), Error> {
    range(args).map(drop)
}

fn range_bound(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    let len = store.value_len(slot, arg(args, 1));
    bounds::bulk(range(args).map_or(0, |(start, end)| clamp_range(start, end, len).len()))
}

/// The part of a value of `len` bytes from `start` to `end`, both included, negative ones counted from the
/// end of the value.
fn clamp_range(start: i64, end: i64, len: usize) -> Range<usize> {
    // Only where both are negative does Redis compare them before it clamps them: `-1 -5` is empty even
    // where both would be clamped to the first byte.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let len = len as i64;
    let from_front = |idx: i64| if idx < 0 { (idx + len).max(0) } else { idx };
    let start = from_front(start);
    let end = from_front(end).min(len - 1);
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}
