//! Commands on strings that are numbers: `INCR`, `DECR`, `INCRBY`, `DECRBY`, `INCRBYFLOAT`.

use resp::number::{parse_i64, with_digits};
use resp::{Args, CommandId};
use types::Slot;

use super::arguments::{arg, integer, key_and, key_only};
use super::bounds;
use super::registration::{Action, Registration};
use crate::float::{DECIMAL_BYTES_MAX, Float};
use crate::outcome::{Error, Outcome};
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Incr, key_only, Action::Apply(incr)),
    Registration::new(CommandId::Decr, key_only, Action::Apply(decr)),
    Registration::new(CommandId::IncrBy, key_and::<1>, Action::Apply(incr_by)).options(check_increment),
    Registration::new(CommandId::DecrBy, key_and::<1>, Action::Apply(decr_by)).options(check_decrement),
    Registration::new(CommandId::IncrByFloat, key_and::<1>, Action::Apply(incr_by_float))
        .options(check_float)
        .reply(decimal_bound),
];

fn incr<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    add_integer(store, slot, args, 1)
}

fn decr<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    add_integer(store, slot, args, -1)
}

fn incr_by<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    add_integer(store, slot, args, integer(args, 2)?)
}

fn decr_by<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    add_integer(store, slot, args, negated_decrement(args)?)
}

/// The sum, which is stored. A key that does not exist counts as 0.
fn add_integer<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>, delta: i64) -> Result<Outcome<'s>, Error> {
    let key = arg(args, 1);
    let Some(mut row) = store.get_mut(slot, key) else {
        with_digits(delta, |digits| store.set(slot, key, digits));
        return Ok(Outcome::Integer(delta));
    };
    let number = parse_i64(row.row().value()).ok_or(Error::NotAnInteger)?;
    let sum = number.checked_add(delta).ok_or(Error::Overflow)?;
    with_digits(sum, |digits| row.set_value(digits));
    Ok(Outcome::Integer(sum))
}

/// `INCRBYFLOAT`: the sum, as it is stored. A key that does not exist counts as 0.
fn incr_by_float<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let key = arg(args, 1);
    let number = match store.get(slot, key) {
        Some(row) => Float::parse(row.value()).ok_or(Error::NotAFloat)?,
        None => Float::ZERO,
    };
    let sum = number.add(float(args)?).ok_or(Error::NanOrInfinity)?;
    let decimal = sum.to_decimal();
    match store.get_mut(slot, key) {
        Some(mut row) => row.set_value(&decimal),
        None => store.set(slot, key, &decimal),
    }
    Ok(store.get(slot, key).map_or(Outcome::Null, |row| Outcome::Bulk(row.value())))
}

fn check_increment(args: Args<'_>) -> Result<(), Error> {
    integer(args, 2).map(drop)
}

fn negated_decrement(args: Args<'_>) -> Result<i64, Error> {
    integer(args, 2)?.checked_neg().ok_or(Error::DecrementOverflow)
}

fn check_decrement(args: Args<'_>) -> Result<(), Error> {
    negated_decrement(args).map(drop)
}

fn float(args: Args<'_>) -> Result<Float, Error> {
    Float::parse(arg(args, 2)).ok_or(Error::NotAFloat)
}

fn check_float(args: Args<'_>) -> Result<(), Error> {
    float(args).map(drop)
}

fn decimal_bound(_: &Store, _: Slot, _: Args<'_>) -> usize {
    bounds::bulk(DECIMAL_BYTES_MAX)
}
