//! How long replies may be, from the state as it is.

use resp::Args;
use resp::reply::bulk_bytes;
use types::Slot;

use super::arguments::arg;
use crate::store::Store;

/// Longest reply that holds no value: an integer, a status, a null, or any error of this crate.
pub const SHORT_REPLY_BYTES_MAX: usize = 128;

/// A reply without a value.
pub(super) fn short(_: &Store, _: Slot, _: Args<'_>) -> usize {
    SHORT_REPLY_BYTES_MAX
}

/// A reply that is the value of the first key, or has no value.
pub(super) fn value(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    bulk(store.value_len(slot, arg(args, 1)))
}

/// A reply that is a bulk string of at most `len` bytes, or has no value.
pub(super) fn bulk(len: usize) -> usize {
    bulk_bytes(len).max(SHORT_REPLY_BYTES_MAX)
}
