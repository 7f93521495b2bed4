//! Commands that work on keys of any type.

use resp::{Args, Reply};
use types::Slot;

use crate::check::arg;
use crate::outcome::Outcome;
use crate::store::Store;

/// `DEL` and `UNLINK`: how many keys there were.
pub(crate) fn remove<'a>(store: &'a mut Store, slot: Slot, args: Args<'_>) -> Outcome<'a> {
    let removed = args.iter_from(1).filter(|key| store.remove(slot, key).is_some()).count();
    Outcome::Integer(removed as i64)
}

/// `EXISTS` and `TOUCH`: how many of the keys exist, one that is named twice counting twice.
pub(crate) fn count(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) {
    let count = args.iter_from(1).filter(|key| store.contains(slot, key)).count();
    reply.integer(count as i64);
}

/// `TYPE`: the name of the value's type, or `none`.
pub(crate) fn type_of(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.simple(if store.contains(slot, arg(args, 1)) { "string" } else { "none" });
}
