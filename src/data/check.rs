//! What can be said about a command without looking at the keys.

use resp::number::parse_i64;
use resp::{Args, CommandId};
use types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::float::Float;
use crate::outcome::Error;

/// Checks a command's arguments, its name being the first: their number, their lengths, options and numbers.
/// A command that passes may still fail on the state. The first error is the one that Redis 7.0 names.
///
/// Commands that do not work on keys answer [`Error::Unsupported`].
pub fn check(command: CommandId, args: Args<'_>) -> Result<(), Error> {
    shape(command, args)?;
    match command {
        CommandId::Set => SetOptions::parse(args).map(drop),
        CommandId::SetRange => set_range_offset(args).map(drop),
        CommandId::GetRange | CommandId::SubStr => range(args).map(drop),
        CommandId::IncrBy | CommandId::DecrBy => delta(command, args).map(drop),
        CommandId::IncrByFloat => increment(args).map(drop),
        CommandId::FlushAll | CommandId::FlushDb => flush_mode(args),
        _ => Ok(()),
    }
}

/// Checks the number of arguments, and the lengths of keys and values.
#[inline]
pub(crate) fn shape(command: CommandId, args: Args<'_>) -> Result<(), Error> {
    let len = args.len();
    let len_is_right = match command {
        CommandId::Get | CommandId::GetDel | CommandId::StrLen | CommandId::Type => len == 2,
        CommandId::Incr | CommandId::Decr => len == 2,
        CommandId::SetNx | CommandId::GetSet | CommandId::Append => len == 3,
        CommandId::IncrBy | CommandId::DecrBy | CommandId::IncrByFloat => len == 3,
        CommandId::GetRange | CommandId::SubStr | CommandId::SetRange => len == 4,
        CommandId::Set | CommandId::MSet | CommandId::MSetNx => len >= 3,
        CommandId::MGet | CommandId::Del | CommandId::Unlink | CommandId::Exists | CommandId::Touch => len >= 2,
        CommandId::FlushAll | CommandId::FlushDb => return Ok(()),
        _ => return Err(Error::Unsupported),
    };
    if !len_is_right {
        return Err(Error::ArgumentsCount);
    }
    match command {
        CommandId::MSet | CommandId::MSetNx => pairs(command, args),
        CommandId::MGet | CommandId::Del | CommandId::Unlink | CommandId::Exists | CommandId::Touch => {
            args.iter_from(1).try_for_each(key)
        }
        CommandId::Set | CommandId::SetNx | CommandId::GetSet | CommandId::Append => {
            key(arg(args, 1))?;
            value(arg(args, 2))
        }
        _ => key(arg(args, 1)),
    }
}

/// The argument at `idx`, empty if it does not exist.
#[inline]
pub(crate) fn arg(args: Args<'_>, idx: usize) -> &[u8] {
    args.get(idx).unwrap_or_default()
}

/// Key and value after key and value, from the first argument on.
pub(crate) fn key_values(args: Args<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    args.iter_from(1).step_by(2).zip(args.iter_from(2).step_by(2))
}

#[inline]
fn key(key: &[u8]) -> Result<(), Error> {
    if key.len() <= KEY_BYTES_MAX { Ok(()) } else { Err(Error::KeyTooLong) }
}

#[inline]
fn value(value: &[u8]) -> Result<(), Error> {
    if value.len() <= VALUE_BYTES_MAX { Ok(()) } else { Err(Error::ValueTooLong) }
}

fn pairs(command: CommandId, args: Args<'_>) -> Result<(), Error> {
    if args.len().is_multiple_of(2) {
        let is_mset = command == CommandId::MSet;
        return Err(if is_mset { Error::MSetArgumentsCount } else { Error::MSetNxArgumentsCount });
    }
    key_values(args).try_for_each(|(k, v)| key(k).and_then(|()| value(v)))
}

/// The condition on which `SET` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetWhen {
    Always,
    Missing,
    Present,
}

/// The options of `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetOptions {
    pub(crate) when: SetWhen,
    /// Whether the old value is the answer.
    pub(crate) get: bool,
}

impl SetOptions {
    /// Parses what follows the value. A syntax error anywhere comes before a bad expiry.
    #[inline]
    pub(crate) fn parse(args: Args<'_>) -> Result<SetOptions, Error> {
        let options = SetOptions { when: SetWhen::Always, get: false };
        if args.len() == 3 { Ok(options) } else { options.parse_rest(args) }
    }

    fn parse_rest(mut self, args: Args<'_>) -> Result<SetOptions, Error> {
        let mut keep_ttl = false;
        // The unit and the number; a unit may be repeated, and then the last number counts.
        let mut expire: Option<(ExpireUnit, &[u8])> = None;
        let mut rest = args.iter_from(3);
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"NX") && self.when != SetWhen::Present {
                self.when = SetWhen::Missing;
            } else if option.eq_ignore_ascii_case(b"XX") && self.when != SetWhen::Missing {
                self.when = SetWhen::Present;
            } else if option.eq_ignore_ascii_case(b"GET") {
                self.get = true;
            } else if option.eq_ignore_ascii_case(b"KEEPTTL") && expire.is_none() {
                keep_ttl = true;
            } else {
                let unit = ExpireUnit::of_option(option).ok_or(Error::Syntax)?;
                let is_other = expire.is_some_and(|(earlier, _)| earlier != unit);
                if keep_ttl || is_other {
                    return Err(Error::Syntax);
                }
                expire = Some((unit, rest.next().ok_or(Error::Syntax)?));
            }
        }
        match expire {
            None => Ok(self),
            Some((unit, number)) => Err(unit.refuse(number)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpireUnit {
    Seconds,
    Millis,
    SecondsAt,
    MillisAt,
}

impl ExpireUnit {
    fn of_option(option: &[u8]) -> Option<ExpireUnit> {
        let units: [(&[u8], ExpireUnit); 4] = [
            (b"EX", ExpireUnit::Seconds),
            (b"PX", ExpireUnit::Millis),
            (b"EXAT", ExpireUnit::SecondsAt),
            (b"PXAT", ExpireUnit::MillisAt),
        ];
        units.iter().find(|(name, _)| option.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    /// Why an expiry of `number` cannot be had.
    fn refuse(self, number: &[u8]) -> Error {
        let Some(number) = parse_i64(number) else { return Error::NotAnInteger };
        let is_seconds = matches!(self, ExpireUnit::Seconds | ExpireUnit::SecondsAt);
        if number <= 0 || (is_seconds && number > i64::MAX / 1000) {
            Error::ExpireInvalid
        } else {
            Error::ExpireUnsupported
        }
    }
}

/// The offset of `SETRANGE`, such that the value stays within its limit.
pub(crate) fn set_range_offset(args: Args<'_>) -> Result<usize, Error> {
    let offset = parse_i64(arg(args, 2)).ok_or(Error::NotAnInteger)?;
    let offset = u64::try_from(offset).map_err(|_| Error::OffsetOutOfRange)?;
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

/// Start and end of `GETRANGE`, both included, counted from the end if negative.
pub(crate) fn range(args: Args<'_>) -> Result<(i64, i64), Error> {
    let start = parse_i64(arg(args, 2)).ok_or(Error::NotAnInteger)?;
    let end = parse_i64(arg(args, 3)).ok_or(Error::NotAnInteger)?;
    Ok((start, end))
}

/// What `INCR`, `DECR`, `INCRBY` or `DECRBY` adds.
pub(crate) fn delta(command: CommandId, args: Args<'_>) -> Result<i64, Error> {
    match command {
        CommandId::Incr => Ok(1),
        CommandId::Decr => Ok(-1),
        CommandId::DecrBy => {
            let decrement = parse_i64(arg(args, 2)).ok_or(Error::NotAnInteger)?;
            decrement.checked_neg().ok_or(Error::DecrementOverflow)
        }
        _ => parse_i64(arg(args, 2)).ok_or(Error::NotAnInteger),
    }
}

/// What `INCRBYFLOAT` adds.
pub(crate) fn increment(args: Args<'_>) -> Result<Float, Error> {
    Float::parse(arg(args, 2)).ok_or(Error::NotAFloat)
}

/// `FLUSHALL` and `FLUSHDB` take one word at most, and both words mean the same here.
pub(crate) fn flush_mode(args: Args<'_>) -> Result<(), Error> {
    match (args.len(), args.get(1)) {
        (0 | 1, _) => Ok(()),
        (2, Some(mode)) if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") => Ok(()),
        _ => Err(Error::Syntax),
    }
}
