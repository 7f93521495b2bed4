//! The options of `SET` and `GETEX`.

use resp::Args;

use super::arguments::arg;
use super::expiry::{Expiry, ExpiryUnit};
use crate::outcome::{Error, ExpiryCommand};

/// The condition on which `SET` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetWhen<'a> {
    Always,
    Missing,
    Present,
    /// The value is this one.
    Equal(&'a [u8]),
}

/// What becomes of a key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpiryChange {
    /// Whatever the command does without an option: `SET` lets it go, `GETEX` lets it be.
    Default,
    /// It stays.
    Keep,
    /// The key does not expire any more.
    Persist,
    /// The argument at this place says when the key expires.
    At(ExpiryUnit, usize),
}

/// The options of `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetOptions<'a> {
    pub(super) when: SetWhen<'a>,
    /// Whether the old value is the answer.
    pub(super) get: bool,
    /// Whether the old expiry stays.
    pub(super) keeps_expiry: bool,
    pub(super) expiry: Option<Expiry>,
}

impl<'a> SetOptions<'a> {
    /// Parses what follows the value. A syntax error anywhere comes before a bad expiry.
    #[inline]
    pub(super) fn parse(args: Args<'a>) -> Result<SetOptions<'a>, Error> {
        let options = SetOptions { when: SetWhen::Always, get: false, keeps_expiry: false, expiry: None };
        if args.len() == 3 { Ok(options) } else { options.parse_rest(args) }
    }

    fn parse_rest(mut self, args: Args<'a>) -> Result<SetOptions<'a>, Error> {
        let mut change = ExpiryChange::Default;
        let mut at = 3;
        while at < args.len() {
            let option = arg(args, at);
            if option.eq_ignore_ascii_case(b"NX") && matches!(self.when, SetWhen::Always | SetWhen::Missing) {
                self.when = SetWhen::Missing;
            } else if option.eq_ignore_ascii_case(b"XX") && matches!(self.when, SetWhen::Always | SetWhen::Present) {
                self.when = SetWhen::Present;
            } else if option.eq_ignore_ascii_case(b"IFEQ") && self.when == SetWhen::Always && at + 1 < args.len() {
                at += 1;
                self.when = SetWhen::Equal(arg(args, at));
            } else if option.eq_ignore_ascii_case(b"GET") {
                self.get = true;
            } else if option.eq_ignore_ascii_case(b"KEEPTTL")
                && matches!(change, ExpiryChange::Default | ExpiryChange::Keep)
            {
                change = ExpiryChange::Keep;
            } else {
                change = change.next(args, at)?;
                at += 1;
            }
            at += 1;
        }
        self.keeps_expiry = change == ExpiryChange::Keep;
        if let ExpiryChange::At(unit, idx) = change {
            self.expiry = Some(Expiry::parse(args, idx, unit, ExpiryCommand::Set)?);
        }
        Ok(self)
    }
}

impl ExpiryChange {
    /// The option at `at` and the number behind it. A unit may be repeated, and then the last number counts.
    fn next(self, args: Args<'_>, at: usize) -> Result<ExpiryChange, Error> {
        let unit = ExpiryUnit::of_option(arg(args, at)).ok_or(Error::Syntax)?;
        let may_follow = match self {
            ExpiryChange::Default => true,
            ExpiryChange::At(earlier, _) => earlier == unit,
            ExpiryChange::Keep | ExpiryChange::Persist => false,
        };
        if may_follow && at + 1 < args.len() { Ok(ExpiryChange::At(unit, at + 1)) } else { Err(Error::Syntax) }
    }

    /// Parses what follows the key of `GETEX`. Its number is not looked at: it counts only if there is a key.
    pub(super) fn parse_of_get_ex(args: Args<'_>) -> Result<ExpiryChange, Error> {
        let mut change = ExpiryChange::Default;
        let mut at = 2;
        while at < args.len() {
            if arg(args, at).eq_ignore_ascii_case(b"PERSIST")
                && matches!(change, ExpiryChange::Default | ExpiryChange::Persist)
            {
                change = ExpiryChange::Persist;
            } else {
                change = change.next(args, at)?;
                at += 1;
            }
            at += 1;
        }
        Ok(change)
    }
}
