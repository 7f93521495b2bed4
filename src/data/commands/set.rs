//! The options of `SET`.

use resp::Args;
use resp::number::parse_i64;

use crate::outcome::Error;

/// The condition on which `SET` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetWhen {
    Always,
    Missing,
    Present,
}

/// The options of `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetOptions {
    pub(super) when: SetWhen,
    /// Whether the old value is the answer.
    pub(super) get: bool,
}

impl SetOptions {
    /// Parses what follows the value. A syntax error anywhere comes before a bad expiry.
    #[inline]
    pub(super) fn parse(args: Args<'_>) -> Result<SetOptions, Error> {
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
