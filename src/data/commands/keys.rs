//! Commands that work on keys of any type.

use lsm::Content;
use resp::number::parse_i64;
use resp::{Args, CommandId, Reply};
use types::Slot;

use super::arguments::{
    arg, integer, key_only, keys, subcommand_key, subcommand_key_and_options, two_keys, two_keys_and_options,
};
use super::registration::{Action, Registration};
use crate::outcome::{Error, Outcome};
use crate::store::Store;

/// The name of the one type of values that there is.
pub(super) const TYPE_NAME: &str = "string";

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Rename, two_keys, Action::Apply(rename)),
    Registration::new(CommandId::RenameNx, two_keys, Action::Apply(rename_nx)),
    Registration::new(CommandId::Copy, two_keys_and_options, Action::Apply(copy)).options(check_copy),
    Registration::new(CommandId::ObjectEncoding, subcommand_key, Action::Query(encoding)),
    Registration::new(CommandId::ObjectRefCount, subcommand_key, Action::Query(ref_count)).without_values(),
    Registration::new(CommandId::ObjectFreq, subcommand_key, Action::Query(freq)).without_values(),
    Registration::new(CommandId::ObjectIdleTime, subcommand_key, Action::Query(idle_time)).without_values(),
    Registration::new(CommandId::MemoryUsage, subcommand_key_and_options, Action::Query(memory_usage))
        .options(check_memory_usage),
    Registration::new(CommandId::Del, keys, Action::Apply(remove)).without_values(),
    Registration::new(CommandId::Unlink, keys, Action::Apply(remove)).without_values(),
    Registration::new(CommandId::Exists, keys, Action::Query(count)).without_values(),
    Registration::new(CommandId::Touch, keys, Action::Query(count)).without_values(),
    Registration::new(CommandId::Type, key_only, Action::Query(type_of)).without_values(),
];

/// `DEL` and `UNLINK`: how many keys there were.
fn remove<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let removed = args.iter_from(1).filter(|key| store.remove(slot, key).is_some()).count();
    Ok(Outcome::Integer(removed as i64))
}

/// `EXISTS` and `TOUCH`: how many of the keys exist, one that is named twice counting twice.
fn count(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let count = args.iter_from(1).filter(|key| store.look_up(slot, key).is_some()).count();
    reply.integer(count as i64);
    Ok(())
}

/// `TYPE`: the name of the value's type, or `none`.
fn type_of(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.simple(if store.look_up(slot, arg(args, 1)).is_some() { TYPE_NAME } else { "none" });
    Ok(())
}

/// `RENAME key newkey`: the new key takes over value and expiry, whatever it had.
fn rename<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let (from, to) = (arg(args, 1), arg(args, 2));
    if !store.contains(slot, from) {
        return Err(Error::NoSuchKey);
    }
    if from != to {
        copy_row(store, slot, from, to);
        store.remove(slot, from);
    }
    Ok(Outcome::Ok)
}

/// `RENAMENX key newkey`: 1, or 0 if the new key exists.
fn rename_nx<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    if !store.contains(slot, arg(args, 1)) {
        return Err(Error::NoSuchKey);
    }
    if store.contains(slot, arg(args, 2)) {
        return Ok(Outcome::Integer(0));
    }
    rename(store, slot, args)?;
    Ok(Outcome::Integer(1))
}

/// `COPY source destination [DB 0] [REPLACE]`: 1 if it was copied, else 0.
fn copy<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let replaces = copy_replaces(args)?;
    let (from, to) = (arg(args, 1), arg(args, 2));
    if !store.contains(slot, from) || (!replaces && store.contains(slot, to)) {
        return Ok(Outcome::Integer(0));
    }
    copy_row(store, slot, from, to);
    Ok(Outcome::Integer(1))
}

fn check_copy(args: Args<'_>) -> Result<(), Error> {
    copy_replaces(args).map(drop)
}

fn copy_replaces(args: Args<'_>) -> Result<bool, Error> {
    let mut replaces = false;
    let mut at = 3;
    while at < args.len() {
        let option = arg(args, at);
        if option.eq_ignore_ascii_case(b"REPLACE") {
            replaces = true;
        } else if option.eq_ignore_ascii_case(b"DB") && at + 1 < args.len() {
            at += 1;
            // There is no other.
            if integer(args, at)? != 0 {
                return Err(Error::DbIndexOutOfRange);
            }
        } else {
            return Err(Error::Syntax);
        }
        at += 1;
    }
    if arg(args, 1) == arg(args, 2) {
        return Err(Error::SameObject);
    }
    Ok(replaces)
}

fn copy_row(store: &mut Store, slot: Slot, from: &[u8], to: &[u8]) {
    let Some(row) = store.get(slot, from) else { return };
    let (kind, expiry_ms, value) = (row.kind(), row.expiry_ms(), row.value().to_vec());
    store.put(slot, to, &Content { kind, expiry_ms, value: [&value, b""] });
}

/// Strings up to this length Redis keeps together with their head.
const EMBEDDED_BYTES_MAX: usize = 44;

/// `OBJECT ENCODING key`: how Redis would keep a value that was set as it is.
fn encoding(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    match store.look_up(slot, arg(args, 2)) {
        None => reply.null(),
        Some(row) if parse_i64(row.value()).is_some() => reply.bulk(b"int"),
        Some(row) if row.value().len() <= EMBEDDED_BYTES_MAX => reply.bulk(b"embstr"),
        Some(_) => reply.bulk(b"raw"),
    }
    Ok(())
}

/// `OBJECT REFCOUNT key`: nobody else has the value.
fn ref_count(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    match store.look_up(slot, arg(args, 2)) {
        None => reply.null(),
        Some(_) => reply.integer(1),
    }
    Ok(())
}

/// `OBJECT FREQ key`: as in Redis unless its policy is to evict the least frequently used, nobody counts how often a key is used.
fn freq(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    not_tracked(store, slot, args, reply, Error::FreqNotTracked)
}

/// `OBJECT IDLETIME key`: as in Redis if that is its policy, nobody remembers when a key was used last.
fn idle_time(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    not_tracked(store, slot, args, reply, Error::IdleTimeNotTracked)
}

fn not_tracked(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>, error: Error) -> Result<(), Error> {
    if store.look_up(slot, arg(args, 2)).is_some() {
        return Err(error);
    }
    reply.null();
    Ok(())
}

/// `MEMORY USAGE key [SAMPLES count]`: bytes in memory on one replica.
fn memory_usage(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    check_memory_usage(args)?;
    match store.look_up(slot, arg(args, 2)) {
        None => reply.null(),
        Some(row) => reply.integer(row.memory_bytes() as i64),
    }
    Ok(())
}

fn check_memory_usage(args: Args<'_>) -> Result<(), Error> {
    match args.len() {
        3 => Ok(()),
        5 if arg(args, 3).eq_ignore_ascii_case(b"SAMPLES") => match integer(args, 4)? {
            0.. => Ok(()),
            _ => Err(Error::Syntax),
        },
        _ => Err(Error::Syntax),
    }
}
