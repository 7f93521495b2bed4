//! Commands on whole strings: `GET`, `SET` and what else reads or replaces values, `MGET`, `MSET`, `MSETNX`, `DELIFEQ`.

use lsm::{Content, Row};
use resp::reply::{NULL_BYTES_MAX, array_header_bytes, bulk_bytes};
use resp::{Args, CommandId, Reply};
use types::Slot;
use types::limits::{REPLY_BYTES_MAX, VALUE_BYTES_MAX};

use super::arguments::{
    arg, key_and_options, key_number_value, key_only, key_value, key_value_and_options, key_values, keys, pairs,
};
use super::bounds;
use super::bounds::SHORT_REPLY_BYTES_MAX;
use super::expiry::{Expiry, ExpiryUnit};
use super::registration::{Action, Registration};
use super::set::{ExpiryChange, SetOptions, SetWhen};
use crate::outcome::{Error, ExpiryCommand, Outcome};
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Get, key_only, Action::Query(get)).reply(bounds::value),
    Registration::new(CommandId::Set, key_value_and_options, Action::Apply(set))
        .options(check_set)
        .looks(set_looks)
        .reply(set_bound),
    Registration::new(CommandId::SetEx, key_number_value, Action::Apply(set_ex)).options(check_set_ex).looks(blind),
    Registration::new(CommandId::PSetEx, key_number_value, Action::Apply(p_set_ex))
        .options(check_p_set_ex)
        .looks(blind),
    Registration::new(CommandId::GetEx, key_and_options::<0>, Action::Apply(get_ex))
        .options(check_get_ex)
        .reply(bounds::value),
    Registration::new(CommandId::DelIfEq, key_value, Action::Apply(del_if_eq)),
    Registration::new(CommandId::SetNx, key_value, Action::Apply(set_nx)),
    Registration::new(CommandId::GetSet, key_value, Action::Apply(get_set)).reply(bounds::value),
    Registration::new(CommandId::GetDel, key_only, Action::Apply(get_del)).reply(bounds::value),
    Registration::new(CommandId::MGet, keys, Action::Query(m_get)).reply(m_get_bound),
    Registration::new(CommandId::MSet, m_set_pairs, Action::Apply(m_set)).looks(blind),
    Registration::new(CommandId::MSetNx, m_set_nx_pairs, Action::Apply(m_set_nx)).without_values(),
];

/// Whatever the keys have is replaced, and nobody asks what it was.
fn blind(_: Args<'_>) -> bool {
    false
}

/// Whether this `SET` depends on what the key has.
fn set_looks(args: Args<'_>) -> bool {
    let options = SetOptions::parse(args);
    options.is_ok_and(|options| options.when != SetWhen::Always || options.get || options.keeps_expiry)
}

/// `GET`.
fn get(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    bulk_or_null(store.look_up(slot, arg(args, 1)), reply);
    Ok(())
}

/// `SET`.
fn set<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let options = SetOptions::parse(args)?;
    let (key, value) = (arg(args, 1), arg(args, 2));
    let expiry_ms = match options.expiry {
        Some(expiry) => Some(expiry.at(store.time_ms())?),
        None if options.keeps_expiry => store.get(slot, key).and_then(|row| row.expiry_ms()),
        None => None,
    };
    let sets = match options.when {
        SetWhen::Always => true,
        SetWhen::Missing => !store.contains(slot, key),
        SetWhen::Present => store.contains(slot, key),
        SetWhen::Equal(expected) => is_equal(store, slot, key, expected),
    };
    let content = Content { expiry_ms, ..Content::plain(value) };
    Ok(match (options.get, sets) {
        (false, true) => {
            store.put(slot, key, &content);
            Outcome::Ok
        }
        (false, false) => Outcome::Null,
        (true, true) => value_or_null(store.replace(slot, key, &content)),
        (true, false) => value_or_null(store.get(slot, key)),
    })
}

fn is_equal(store: &Store, slot: Slot, key: &[u8], value: &[u8]) -> bool {
    store.get(slot, key).is_some_and(|row| row.value() == value)
}

fn check_set(args: Args<'_>) -> Result<(), Error> {
    SetOptions::parse(args).map(drop)
}

/// Only with the option `GET` is the old value the answer.
fn set_bound(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    match SetOptions::parse(args) {
        Ok(options) if options.get => bounds::value(store, slot, args),
        _ => SHORT_REPLY_BYTES_MAX,
    }
}

/// `SETEX`.
fn set_ex<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    set_with_expiry(store, slot, args, ExpiryUnit::Seconds, ExpiryCommand::SetEx)
}

/// `PSETEX`.
fn p_set_ex<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    set_with_expiry(store, slot, args, ExpiryUnit::Millis, ExpiryCommand::PSetEx)
}

fn set_with_expiry<'s>(
    store: &'s mut Store,
    slot: Slot,
    args: Args<'_>,
    unit: ExpiryUnit,
    command: ExpiryCommand,
) -> Result<Outcome<'s>, Error> {
    let expiry_ms = Expiry::parse(args, 2, unit, command)?.at(store.time_ms())?;
    store.put(slot, arg(args, 1), &Content { expiry_ms: Some(expiry_ms), ..Content::plain(arg(args, 3)) });
    Ok(Outcome::Ok)
}

fn check_set_ex(args: Args<'_>) -> Result<(), Error> {
    Expiry::parse(args, 2, ExpiryUnit::Seconds, ExpiryCommand::SetEx).map(drop)
}

fn check_p_set_ex(args: Args<'_>) -> Result<(), Error> {
    Expiry::parse(args, 2, ExpiryUnit::Millis, ExpiryCommand::PSetEx).map(drop)
}

/// `GETEX`: the value, whose key expires at another time from now on.
fn get_ex<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let change = ExpiryChange::parse_of_get_ex(args)?;
    let (key, time_ms) = (arg(args, 1), store.time_ms());
    if !store.contains(slot, key) {
        return Ok(Outcome::Null);
    }
    let expiry_ms = match change {
        ExpiryChange::Default | ExpiryChange::Keep => return Ok(value_or_null(store.get(slot, key))),
        ExpiryChange::Persist => None,
        ExpiryChange::At(unit, idx) => Some(Expiry::parse(args, idx, unit, ExpiryCommand::GetEx)?.at(time_ms)?),
    };
    if expiry_ms.is_some_and(|expiry_ms| expiry_ms <= time_ms) {
        return Ok(value_or_null(store.remove(slot, key)));
    }
    if let Some(mut row) = store.get_mut(slot, key) {
        row.set_expiry(expiry_ms);
    }
    Ok(value_or_null(store.get(slot, key)))
}

fn check_get_ex(args: Args<'_>) -> Result<(), Error> {
    ExpiryChange::parse_of_get_ex(args).map(drop)
}

/// `DELIFEQ`: 1 if the key had this value and is gone, else 0.
fn del_if_eq<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let key = arg(args, 1);
    if !is_equal(store, slot, key, arg(args, 2)) {
        return Ok(Outcome::Integer(0));
    }
    store.remove(slot, key);
    Ok(Outcome::Integer(1))
}

/// `SETNX`.
fn set_nx<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let key = arg(args, 1);
    if store.contains(slot, key) {
        return Ok(Outcome::Integer(0));
    }
    store.set(slot, key, arg(args, 2));
    Ok(Outcome::Integer(1))
}

/// `GETSET`.
fn get_set<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    Ok(value_or_null(store.replace(slot, arg(args, 1), &Content::plain(arg(args, 2)))))
}

/// `GETDEL`.
fn get_del<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    Ok(value_or_null(store.remove(slot, arg(args, 1))))
}

/// `MGET`.
fn m_get(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    // Few keys cannot exceed the limit, however long their values are.
    let may_be_too_long = args.len() > REPLY_BYTES_MAX / bulk_bytes(VALUE_BYTES_MAX);
    if may_be_too_long && m_get_bytes(store, slot, args).is_none() {
        return Err(Error::ReplyTooLong);
    }
    let keys = args.iter_from(1);
    reply.array(keys.len());
    for key in keys {
        bulk_or_null(store.look_up(slot, key), reply);
    }
    Ok(())
}

fn m_get_bound(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    // If it is too long, an error is the answer.
    m_get_bytes(store, slot, args).unwrap_or(0).max(SHORT_REPLY_BYTES_MAX)
}

/// How long the values make the reply, and no less; `None` if it would be too long. The same key may be named a million
/// times.
fn m_get_bytes(store: &Store, slot: Slot, args: Args<'_>) -> Option<usize> {
    let keys = args.iter_from(1);
    keys.clone().try_fold(array_header_bytes(keys.len()), |bytes, key| {
        let bytes = bytes + store.get(slot, key).map_or(NULL_BYTES_MAX, |row| bulk_bytes(row.value().len()));
        (bytes <= REPLY_BYTES_MAX).then_some(bytes)
    })
}

/// `MSET`. Of a key named twice the last value stays.
fn m_set<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    for (key, value) in key_values(args) {
        store.set(slot, key, value);
    }
    Ok(Outcome::Ok)
}

fn m_set_pairs(args: Args<'_>) -> Result<(), Error> {
    pairs(args, Error::MSetArgumentsCount)
}

/// `MSETNX`: all of the keys, or none if one of them exists.
fn m_set_nx<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    if key_values(args).any(|(key, _)| store.exists(slot, key)) {
        return Ok(Outcome::Integer(0));
    }
    m_set(store, slot, args)?;
    Ok(Outcome::Integer(1))
}

fn m_set_nx_pairs(args: Args<'_>) -> Result<(), Error> {
    pairs(args, Error::MSetNxArgumentsCount)
}

#[inline]
fn bulk_or_null(row: Option<Row<'_>>, reply: &mut Reply<'_>) {
    match row {
        Some(row) => reply.bulk(row.value()),
        None => reply.null(),
    }
}

fn value_or_null(row: Option<Row<'_>>) -> Outcome<'_> {
    row.map_or(Outcome::Null, |row| Outcome::Bulk(row.value()))
}
