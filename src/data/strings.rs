//! Commands on strings. Their arguments have passed `check::shape`.

use core::ops::Range;

use resp::number::{parse_i64, write_i64};
use resp::{Args, Reply};
use types::Slot;
use types::limits::VALUE_BYTES_MAX;

use crate::check::{self, SetOptions, SetWhen, arg, key_values};
use crate::float::Float;
use crate::outcome::{Error, Outcome, Taken};
use crate::store::{Entry, Store};

/// `SET`.
#[inline]
pub(crate) fn set<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'a>, Error> {
    let options = SetOptions::parse(args)?;
    let (key, value) = (arg(args, 1), arg(args, 2));
    let sets = match options.when {
        SetWhen::Always => true,
        SetWhen::Missing => !store.contains(slot, key),
        SetWhen::Present => store.contains(slot, key),
    };
    Ok(match (options.get, sets) {
        (false, true) => {
            store.set(slot, key, value);
            Outcome::Ok
        }
        (false, false) => Outcome::Null,
        (true, true) => taken(store.replace(slot, key, value)),
        (true, false) => store.get(slot, key).map_or(Outcome::Null, Outcome::Bulk),
    })
}

/// `SETNX`.
pub(crate) fn set_nx<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Outcome<'a> {
    let key = arg(args, 1);
    if store.contains(slot, key) {
        return Outcome::Integer(0);
    }
    store.set(slot, key, arg(args, 2));
    Outcome::Integer(1)
}

/// `GETSET`.
pub(crate) fn get_set<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Outcome<'a> {
    taken(store.replace(slot, arg(args, 1), arg(args, 2)))
}

/// `GETDEL`.
pub(crate) fn get_del<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Outcome<'a> {
    taken(store.remove(slot, arg(args, 1)))
}

/// `MSET`. Of a key named twice the last value stays.
pub(crate) fn m_set<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Outcome<'a> {
    for (key, value) in key_values(args) {
        store.set(slot, key, value);
    }
    Outcome::Ok
}

/// `MSETNX`: all of the keys, or none if one of them exists.
pub(crate) fn m_set_nx<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Outcome<'a> {
    if key_values(args).any(|(key, _)| store.contains(slot, key)) {
        return Outcome::Integer(0);
    }
    m_set(store, slot, args);
    Outcome::Integer(1)
}

/// `APPEND`: the length of the value afterwards.
pub(crate) fn append<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'a>, Error> {
    let (key, tail) = (arg(args, 1), arg(args, 2));
    let appended = store.edit(slot, key, |entry| {
        let len = entry.value().len() + tail.len();
        if len > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLong);
        }
        entry.append(tail);
        Ok(len)
    });
    let len = match appended {
        Some(len) => len?,
        None => {
            store.set(slot, key, tail);
            tail.len()
        }
    };
    Ok(Outcome::Integer(len as i64))
}

/// `SETRANGE`: the length of the value afterwards.
pub(crate) fn set_range<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'a>, Error> {
    let offset = check::set_range_offset(args)?;
    let (key, bytes) = (arg(args, 1), arg(args, 3));
    if bytes.is_empty() {
        let len = store.get(slot, key).map_or(0, <[u8]>::len);
        return Ok(Outcome::Integer(len as i64));
    }
    let written = store.edit(slot, key, |entry| {
        entry.write_at(offset, bytes);
        entry.value().len()
    });
    let len = written.unwrap_or_else(|| {
        store.insert_new(slot, key, offset, bytes);
        offset + bytes.len()
    });
    Ok(Outcome::Integer(len as i64))
}

/// `INCR`, `DECR`, `INCRBY` and `DECRBY`: the sum. A key that does not exist counts as 0.
pub(crate) fn add_integer<'a>(
    store: &'a mut Store,
    slot: Slot,
    args: Args<'_>,
    delta: i64,
) -> Result<Outcome<'a>, Error> {
    let key = arg(args, 1);
    let added = store.edit(slot, key, |entry| {
        let number = parse_i64(entry.value()).ok_or(Error::NotAnInteger)?;
        let sum = number.checked_add(delta).ok_or(Error::Overflow)?;
        entry.set_integer(sum);
        Ok(sum)
    });
    let sum = match added {
        Some(sum) => sum?,
        None => {
            let mut digits = Vec::new();
            write_i64(&mut digits, delta);
            store.set(slot, key, &digits);
            delta
        }
    };
    Ok(Outcome::Integer(sum))
}

/// `INCRBYFLOAT`: the sum, as it is stored. A key that does not exist counts as 0.
pub(crate) fn add_float<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'a>, Error> {
    let key = arg(args, 1);
    let number = match store.get(slot, key) {
        Some(value) => Float::parse(value).ok_or(Error::NotAFloat)?,
        None => Float::ZERO,
    };
    let sum = number.add(check::increment(args)?).ok_or(Error::NanOrInfinity)?;
    store.set(slot, key, &sum.to_decimal());
    Ok(store.get(slot, key).map_or(Outcome::Null, Outcome::Bulk))
}

/// `GET`.
#[inline]
pub(crate) fn get(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) {
    bulk_or_null(store.get(slot, arg(args, 1)), reply);
}

/// `MGET`.
pub(crate) fn m_get(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) {
    let keys = args.iter_from(1);
    reply.array(keys.len());
    for key in keys {
        bulk_or_null(store.get(slot, key), reply);
    }
}

/// `STRLEN`.
pub(crate) fn str_len(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) {
    let len = store.get(slot, arg(args, 1)).map_or(0, <[u8]>::len);
    reply.integer(len as i64);
}

/// `GETRANGE` and `SUBSTR`.
pub(crate) fn get_range(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let (start, end) = check::range(args)?;
    let value = store.get(slot, arg(args, 1)).unwrap_or_default();
    reply.bulk(value.get(clamp_range(start, end, value.len())).unwrap_or_default());
    Ok(())
}

#[inline]
fn bulk_or_null(value: Option<&[u8]>, reply: &mut Reply<'_>) {
    match value {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
}

fn taken<'a>(entry: Option<Entry>) -> Outcome<'a> {
    entry.map_or(Outcome::Null, |entry| Outcome::Taken(Taken(entry)))
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
