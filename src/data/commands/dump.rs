//! Values that move between servers: `DUMP` and `RESTORE`.

use lsm::Content;
use resp::reply::bulk_bytes;
use resp::{Args, CommandId, Reply};
use types::Slot;

use super::arguments::{arg, integer, key_and_options, key_only};
use super::bounds::SHORT_REPLY_BYTES_MAX;
use super::registration::{Action, Registration};
use crate::outcome::{Error, ExpiryCommand, Outcome};
use crate::rdb::{Payload, Serialized, payload_bytes};
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Dump, key_only, Action::Query(dump)).reply(dump_bound),
    Registration::new(CommandId::Restore, key_and_options::<2>, Action::Apply(restore))
        .options(check_restore)
        .without_values(),
];

/// `DUMP key`: the value as Redis serializes it, without compression.
fn dump(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    match store.look_up(slot, arg(args, 1)) {
        None => reply.null(),
        Some(row) => reply.bulk_of_parts(&Payload::new(row.value()).parts()),
    }
    Ok(())
}

fn dump_bound(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    let row = store.get(slot, arg(args, 1));
    row.map_or(0, |row| bulk_bytes(payload_bytes(row.value()))).max(SHORT_REPLY_BYTES_MAX)
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]`: `OK`, also if the time to live is over already;
/// then the key is gone. What is wrong with the arguments comes before what the key has against it, unlike in Redis: no damaged payload
/// gets into a log.
fn restore<'s>(store: &'s mut Store, slot: Slot, args: Args<'_>) -> Result<Outcome<'s>, Error> {
    let options = RestoreOptions::parse(args)?;
    let serialized = Serialized::parse(arg(args, 3))?;
    let (key, time_ms) = (arg(args, 1), store.time_ms());
    if !options.replaces && store.exists(slot, key) {
        return Err(Error::BusyKey);
    }
    let expiry_ms = options.expiry_ms(time_ms)?;
    if expiry_ms.is_some_and(|expiry_ms| expiry_ms <= time_ms) {
        store.remove(slot, key);
        return Ok(Outcome::Ok);
    }
    store.put(slot, key, &Content { expiry_ms, ..Content::plain(&serialized.value()) });
    Ok(Outcome::Ok)
}

fn check_restore(args: Args<'_>) -> Result<(), Error> {
    RestoreOptions::parse(args)?;
    Serialized::parse(arg(args, 3)).map(drop)
}

/// What `RESTORE` says beside key and payload. How often or when the key was used is checked and kept nowhere.
struct RestoreOptions {
    /// In milliseconds, from 1970 or from now on; 0 for ever.
    ttl_ms: u64,
    is_absolute: bool,
    replaces: bool,
}

/// The highest frequency that Redis counts.
const FREQ_MAX: i64 = 255;

impl RestoreOptions {
    fn parse(args: Args<'_>) -> Result<RestoreOptions, Error> {
        let mut options = RestoreOptions { ttl_ms: 0, is_absolute: false, replaces: false };
        let (mut has_idle_time, mut has_freq) = (false, false);
        let mut at = 4;
        while at < args.len() {
            let (option, has_number) = (arg(args, at), at + 1 < args.len());
            if option.eq_ignore_ascii_case(b"REPLACE") {
                options.replaces = true;
            } else if option.eq_ignore_ascii_case(b"ABSTTL") {
                options.is_absolute = true;
            } else if option.eq_ignore_ascii_case(b"IDLETIME") && has_number && !has_freq {
                at += 1;
                within(args, at, i64::MAX, Error::IdleTimeNegative)?;
                has_idle_time = true;
            } else if option.eq_ignore_ascii_case(b"FREQ") && has_number && !has_idle_time {
                at += 1;
                within(args, at, FREQ_MAX, Error::FreqOutOfRange)?;
                has_freq = true;
            } else {
                return Err(Error::Syntax);
            }
            at += 1;
        }
        options.ttl_ms = within(args, 2, i64::MAX, Error::TtlNegative)?;
        Ok(options)
    }

    /// When the key expires, in milliseconds since 1970 UTC.
    fn expiry_ms(&self, now_ms: u64) -> Result<Option<u64>, Error> {
        let expiry_ms = match (self.ttl_ms, self.is_absolute) {
            (0, _) => return Ok(None),
            (ttl_ms, true) => Some(ttl_ms),
            (ttl_ms, false) => ttl_ms.checked_add(now_ms),
        };
        // Commands tell it as a signed number.
        let expiry_ms = expiry_ms.filter(|expiry_ms| i64::try_from(*expiry_ms).is_ok());
        expiry_ms.map(Some).ok_or(Error::ExpiryInvalid(ExpiryCommand::Restore))
    }
}

/// The integer at `idx`, from 0 to `number_max`.
fn within(args: Args<'_>, idx: usize, number_max: i64, error: Error) -> Result<u64, Error> {
    let number = integer(args, idx)?;
    u64::try_from(number).ok().filter(|_| number <= number_max).ok_or(error)
}
