//! Commands that work on keys of any type.

use resp::{Args, CommandId, Reply};
use types::Slot;

use super::arguments::{arg, key_only, keys};
use super::registration::{Action, Registration};
use crate::outcome::{Error, Outcome};
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Del, keys, Action::Apply(remove)),
    Registration::new(CommandId::Unlink, keys, Action::Apply(remove)),
    Registration::new(CommandId::Exists, keys, Action::Query(count)),
    Registration::new(CommandId::Touch, keys, Action::Query(count)),
    Registration::new(CommandId::Type, key_only, Action::Query(type_of)),
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
    reply.simple(if store.look_up(slot, arg(args, 1)).is_some() { "string" } else { "none" });
    Ok(())
}
