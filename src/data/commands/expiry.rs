//! Times at which keys expire, as commands state them.

use resp::Args;

use super::arguments::integer;
use crate::outcome::{Error, ExpiryCommand};

/// How a command states a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryUnit {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since 1970.
    SecondsAt,
    /// Milliseconds since 1970.
    MillisAt,
}

impl ExpiryUnit {
    /// The unit that an option of this name announces.
    pub(super) fn of_option(option: &[u8]) -> Option<ExpiryUnit> {
        let units: [(&[u8], ExpiryUnit); 4] = [
            (b"EX", ExpiryUnit::Seconds),
            (b"PX", ExpiryUnit::Millis),
            (b"EXAT", ExpiryUnit::SecondsAt),
            (b"PXAT", ExpiryUnit::MillisAt),
        ];
        units.iter().find(|(name, _)| option.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    fn is_seconds(self) -> bool {
        matches!(self, ExpiryUnit::Seconds | ExpiryUnit::SecondsAt)
    }

    fn is_relative(self) -> bool {
        matches!(self, ExpiryUnit::Seconds | ExpiryUnit::Millis)
    }

    /// The number in milliseconds, if there are that many.
    fn millis(self, number: i64) -> Option<i64> {
        if self.is_seconds() { number.checked_mul(1_000) } else { Some(number) }
    }

    /// The time in milliseconds since 1970 UTC, which may be before that.
    fn at(self, number: i64, now_ms: u64) -> Option<i64> {
        let millis = self.millis(number)?;
        if self.is_relative() { millis.checked_add(i64::try_from(now_ms).ok()?) } else { Some(millis) }
    }
}

/// A time that must lie behind 1970 and, if it is relative, behind now: of `SET` and its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    unit: ExpiryUnit,
    number: i64,
    command: ExpiryCommand,
}

impl Expiry {
    /// Of the argument at `idx`.
    ///
    /// # Errors
    /// What can be said against it whatever time it is.
    pub(super) fn parse(
        args: Args<'_>,
        idx: usize,
        unit: ExpiryUnit,
        command: ExpiryCommand,
    ) -> Result<Expiry, Error> {
        let number = integer(args, idx)?;
        let is_sound = number > 0 && unit.millis(number).is_some();
        if is_sound { Ok(Expiry { unit, number, command }) } else { Err(Error::ExpiryInvalid(command)) }
    }

    /// In milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// That there is no such time.
    pub(super) fn at(self, now_ms: u64) -> Result<u64, Error> {
        let at = self.unit.at(self.number, now_ms).and_then(|at| u64::try_from(at).ok());
        at.ok_or(Error::ExpiryInvalid(self.command))
    }
}

/// On which condition `EXPIRE` and its like set a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpireWhen {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl ExpireWhen {
    /// Parses what follows the time.
    pub(super) fn parse(args: Args<'_>) -> Result<ExpireWhen, Error> {
        let mut when = ExpireWhen::default();
        for option in args.iter_from(3) {
            let flags: [(&[u8], &mut bool); 4] =
                [(b"NX", &mut when.nx), (b"XX", &mut when.xx), (b"GT", &mut when.gt), (b"LT", &mut when.lt)];
            let flag = flags.into_iter().find(|(name, _)| option.eq_ignore_ascii_case(name));
            *flag.ok_or(Error::UnsupportedOption)?.1 = true;
        }
        if when.nx && (when.xx || when.gt || when.lt) {
            return Err(Error::NxWithOthers);
        }
        if when.gt && when.lt {
            return Err(Error::GtWithLt);
        }
        Ok(when)
    }

    /// Whether a key that expires at `current_ms`, or not at all, may expire at `at` from now on.
    pub(super) fn allows(self, current_ms: Option<u64>, at: i64) -> bool {
        let current = current_ms.map(|current_ms| i64::try_from(current_ms).unwrap_or(i64::MAX));
        match current {
            None => !self.xx && !self.gt,
            Some(current) => !(self.nx || self.gt && at <= current || self.lt && at >= current),
        }
    }
}

/// The time that `EXPIRE` and its like state, in milliseconds since 1970 UTC; it may lie before that.
///
/// # Errors
/// What is wrong with it. Without `now_ms` that is only what is wrong whatever time it is.
pub(super) fn expire_at(
    args: Args<'_>,
    unit: ExpiryUnit,
    command: ExpiryCommand,
    now_ms: Option<u64>,
) -> Result<i64, Error> {
    let number = integer(args, 2)?;
    unit.at(number, now_ms.unwrap_or(0)).ok_or(Error::ExpiryInvalid(command))
}
