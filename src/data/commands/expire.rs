//! Commands on when keys expire: `EXPIRE`, `TTL`, `EXPIRETIME` and their like, `PERSIST`.

use resp::{Args, CommandId, Reply};
use types::Slot;

use super::arguments::{arg, key_and_options, key_only};
use super::expiry::{ExpireWhen, ExpiryUnit, expire_at};
use super::registration::{Action, Registration};
use crate::outcome::{Error, ExpiryCommand, Outcome};
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Expire, key_and_options::<1>, Action::Apply(expire)).options(check_expire),
    Registration::new(CommandId::PExpire, key_and_options::<1>, Action::Apply(p_expire)).options(check_p_expire),
    Registration::new(CommandId::ExpireAt, key_and_options::<1>, Action::Apply(expire_at_s)).options(check_expire_at),
    Registration::new(CommandId::PExpireAt, key_and_options::<1>, Action::Apply(expire_at_ms))
        .options(check_p_expire_at),
    Registration::new(CommandId::Persist, key_only, Action::Apply(persist)),
    Registration::new(CommandId::Ttl, key_only, Action::QueryByClock(ttl)).without_values(),
    Registration::new(CommandId::PTtl, key_only, Action::QueryByClock(p_ttl)).without_values(),
    Registration::new(CommandId::ExpireTime, key_only, Action::Query(expire_time)).without_values(),
    Registration::new(CommandId::PExpireTime, key_only, Action::Query(p_expire_time)).without_values(),
];

const EXPIRE: (ExpiryUnit, ExpiryCommand) = (ExpiryUnit::Seconds, ExpiryCommand::Expire);
const P_EXPIRE: (ExpiryUnit, ExpiryCommand) = (ExpiryUnit::Millis, ExpiryCommand::PExpire);
const EXPIRE_AT: (ExpiryUnit, ExpiryCommand) = (ExpiryUnit::SecondsAt, ExpiryCommand::ExpireAt);
const P_EXPIRE_AT: (ExpiryUnit, ExpiryCommand) = (ExpiryUnit::MillisAt, ExpiryCommand::PExpireAt);

fn expire<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    set_expiry(store, slot, args, EXPIRE)
}

fn p_expire<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    set_expiry(store, slot, args, P_EXPIRE)
}

fn expire_at_s<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    set_expiry(store, slot, args, EXPIRE_AT)
}

fn expire_at_ms<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    set_expiry(store, slot, args, P_EXPIRE_AT)
}

fn check_expire(args: Args<'_>) -> Result<(), Error> {
    check(args, EXPIRE)
}

fn check_p_expire(args: Args<'_>) -> Result<(), Error> {
    check(args, P_EXPIRE)
}

fn check_expire_at(args: Args<'_>) -> Result<(), Error> {
    check(args, EXPIRE_AT)
}

fn check_p_expire_at(args: Args<'_>) -> Result<(), Error> {
    check(args, P_EXPIRE_AT)
}

fn check(args: Args<'_>, (unit, command): (ExpiryUnit, ExpiryCommand)) -> Result<(), Error> {
    ExpireWhen::parse(args)?;
    expire_at(args, unit, command, None).map(drop)
}

/// Whether such a command gives its key a time that has come: then it removes the key, if it does anything.
pub(super) fn is_past(id: CommandId, args: Args<'_>, time_ms: u64) -> bool {
    let (unit, command) = match id {
        CommandId::Expire => EXPIRE,
        CommandId::PExpire => P_EXPIRE,
        CommandId::ExpireAt => EXPIRE_AT,
        CommandId::PExpireAt => P_EXPIRE_AT,
        _ => return false,
    };
    let at = expire_at(args, unit, command, Some(time_ms));
    at.is_ok_and(|at| u64::try_from(at).is_ok_and(|at| at <= time_ms) || at < 0)
}

/// Whether the key exists and may expire at that time: 1, else 0. It is gone at once if the time has come.
fn set_expiry<'s>(
    store: &'s mut Store,
    slot: Slot,
    args: Args<'_>,
    (unit, command): (ExpiryUnit, ExpiryCommand),
) -> Result<Outcome<'s>, Error> {
    let when = ExpireWhen::parse(args)?;
    let at = expire_at(args, unit, command, Some(store.time_ms()))?;
    let key = arg(args, 1);
    let time_ms = store.time_ms();
    let Some(mut row) = store.get_mut(slot, key) else { return Ok(Outcome::Integer(0)) };
    if !when.allows(row.row().expiry_ms(), at) {
        return Ok(Outcome::Integer(0));
    }
    match u64::try_from(at) {
        Ok(at) if at > time_ms => row.set_expiry(Some(at)),
        _ => {
            store.remove(slot, key);
        }
    }
    Ok(Outcome::Integer(1))
}

/// `PERSIST`: 1 if the key would have expired, else 0.
fn persist<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let Some(mut row) = store.get_mut(slot, arg(args, 1)) else { return Ok(Outcome::Integer(0)) };
    let expired = row.row().expiry_ms().is_some();
    row.set_expiry(None);
    Ok(Outcome::Integer(expired.into()))
}

/// What stands for a key that does not exist.
const NO_KEY: i64 = -2;
/// What stands for a key that does not expire.
const NO_EXPIRY: i64 = -1;

/// When a key expires, in milliseconds since 1970, or what stands for that there is no such time.
fn look_up_expiry(store: &Store, slot: Slot, args: Args<'_>) -> Result<i64, i64> {
    let row = store.look_up(slot, arg(args, 1)).ok_or(NO_KEY)?;
    row.expiry_ms().map(|at| i64::try_from(at).unwrap_or(i64::MAX)).ok_or(NO_EXPIRY)
}

fn left_ms(store: &Store, clock_ms: u64, slot: Slot, args: Args<'_>) -> Result<i64, i64> {
    // By the leader's clock: replicated time stands still while nothing is written.
    let now = i64::try_from(store.time_ms().max(clock_ms)).unwrap_or(i64::MAX);
    look_up_expiry(store, slot, args).map(|at| at.saturating_sub(now).max(0))
}

/// Rounded to whole seconds, as Redis does it.
fn seconds(millis: i64) -> i64 {
    millis.saturating_add(500) / 1_000
}

fn ttl(store: &Store, clock_ms: u64, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.integer(left_ms(store, clock_ms, slot, args).map_or_else(|none| none, seconds));
    Ok(())
}

fn p_ttl(store: &Store, clock_ms: u64, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.integer(left_ms(store, clock_ms, slot, args).unwrap_or_else(|none| none));
    Ok(())
}

fn expire_time(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.integer(look_up_expiry(store, slot, args).map_or_else(|none| none, seconds));
    Ok(())
}

fn p_expire_time(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    reply.integer(look_up_expiry(store, slot, args).unwrap_or_else(|none| none));
    Ok(())
}
