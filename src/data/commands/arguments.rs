//! What commands have in common in what can be said about their arguments without looking at the keys.

use resp::Args;
use resp::number::parse_i64;
use types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::outcome::Error;

/// The argument at `idx`, empty if it does not exist.
#[inline]
pub(super) fn arg(args: Args<'_>, idx: usize) -> &[u8] {
    args.get(idx).unwrap_or_default()
}

/// The integer at `idx`.
pub(super) fn integer(args: Args<'_>, idx: usize) -> Result<i64, Error> {
    parse_i64(arg(args, idx)).ok_or(Error::NotAnInteger)
}

/// Key and value after key and value, from the first argument on.
pub(super) fn key_values(args: Args<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    args.iter_from(1).step_by(2).zip(args.iter_from(2).step_by(2))
}

/// No options.
pub(super) fn no_options(_: Args<'_>) -> Result<(), Error> {
    Ok(())
}

/// Any number of arguments, none of which is a key.
pub(super) fn no_keys(_: Args<'_>) -> Result<(), Error> {
    Ok(())
}

/// One argument, which is no key.
pub(super) fn one_argument(args: Args<'_>) -> Result<(), Error> {
    if args.len() == 2 { Ok(()) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key`.
#[inline]
pub(super) fn key_only(args: Args<'_>) -> Result<(), Error> {
    key_and::<0>(args)
}

/// `COMMAND key` and `N` arguments more, which are no values.
#[inline]
pub(super) fn key_and<const N: usize>(args: Args<'_>) -> Result<(), Error> {
    if args.len() == 2 + N { key(arg(args, 1)) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key`, `N` arguments more, which are no values, and whatever follows.
pub(super) fn key_and_options<const N: usize>(args: Args<'_>) -> Result<(), Error> {
    if args.len() >= 2 + N { key(arg(args, 1)) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key key`.
pub(super) fn two_keys(args: Args<'_>) -> Result<(), Error> {
    if args.len() == 3 { two_keys_and_options(args) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key key` and whatever follows.
pub(super) fn two_keys_and_options(args: Args<'_>) -> Result<(), Error> {
    if args.len() < 3 {
        return Err(Error::ArgumentsCount);
    }
    key(arg(args, 1))?;
    key(arg(args, 2))
}

/// `COMMAND SUBCOMMAND key`.
pub(super) fn subcommand_key(args: Args<'_>) -> Result<(), Error> {
    if args.len() == 3 { key(arg(args, 2)) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND SUBCOMMAND key` and whatever follows.
pub(super) fn subcommand_key_and_options(args: Args<'_>) -> Result<(), Error> {
    if args.len() >= 3 { key(arg(args, 2)) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key number value`.
pub(super) fn key_number_value(args: Args<'_>) -> Result<(), Error> {
    if args.len() != 4 {
        return Err(Error::ArgumentsCount);
    }
    key(arg(args, 1))?;
    value(arg(args, 3))
}

/// `COMMAND key value`.
#[inline]
pub(super) fn key_value(args: Args<'_>) -> Result<(), Error> {
    if args.len() == 3 { key_value_at_front(args) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key value` and whatever follows.
#[inline]
pub(super) fn key_value_and_options(args: Args<'_>) -> Result<(), Error> {
    if args.len() >= 3 { key_value_at_front(args) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key [key ...]`.
pub(super) fn keys(args: Args<'_>) -> Result<(), Error> {
    if args.len() >= 2 { args.iter_from(1).try_for_each(key) } else { Err(Error::ArgumentsCount) }
}

/// `COMMAND key value [key value ...]`; a key without a value is the error given.
pub(super) fn pairs(args: Args<'_>, incomplete: Error) -> Result<(), Error> {
    if args.len() < 3 {
        return Err(Error::ArgumentsCount);
    }
    if args.len().is_multiple_of(2) {
        return Err(incomplete);
    }
    key_values(args).try_for_each(|(k, v)| key(k).and_then(|()| value(v)))
}

#[inline]
fn key_value_at_front(args: Args<'_>) -> Result<(), Error> {
    key(arg(args, 1))?;
    value(arg(args, 2))
}

#[inline]
fn key(key: &[u8]) -> Result<(), Error> {
    if key.len() <= KEY_BYTES_MAX { Ok(()) } else { Err(Error::KeyTooLong) }
}

#[inline]
fn value(value: &[u8]) -> Result<(), Error> {
    if value.len() <= VALUE_BYTES_MAX { Ok(()) } else { Err(Error::ValueTooLong) }
}
