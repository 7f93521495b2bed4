//! Commands that look for keys: `SCAN`, `KEYS`, `RANDOMKEY`.

use lsm::Row;
use resp::number::parse_i64;
use resp::reply::{array_header_bytes, bulk_bytes};
use resp::{Args, CommandId, Reply, glob};
use types::limits::REPLY_BYTES_MAX;
use types::{SLOTS_COUNT, Slot};

use super::arguments::{arg, no_keys, one_argument};
use super::bounds::SHORT_REPLY_BYTES_MAX;
use super::keys::TYPE_NAME;
use super::registration::{Action, Registration, Rows};
use crate::outcome::Error;
use crate::row_range::{RowRange, position, slot_and_hash};
use crate::scan_cursor::ScanCursor;
use crate::store::Store;

pub(super) const COMMANDS: &[Registration] = &[
    Registration::new(CommandId::Scan, no_keys, Action::Query(scan))
        .rows(Rows::Slot)
        .range(scan_range)
        .options(check_scan)
        .reply(scan_bound),
    Registration::new(CommandId::Keys, one_argument, Action::Query(keys))
        .rows(Rows::Group)
        .range(|_, _, _, _| RowRange::of_all(0, KEYS_LOOKS_MAX + 1))
        .reply(keys_bound),
    Registration::new(CommandId::RandomKey, no_keys, Action::QueryByClock(random_key))
        .rows(Rows::Group)
        .range(random_range)
        .reply(random_key_bound),
];

/// Rows that a `SCAN` looks at if it does not say.
const COUNT_DEFAULT: usize = 10;
/// The most rows that one `SCAN` looks at, whatever it says: about 0.3 ms.
const LOOKS_MAX: usize = 4_096;
/// A `SCAN` whose keys have these bytes looks no further.
const KEYS_BYTES_MAX: usize = 1 << 20;
/// The most keys of a group among which `KEYS` looks: about 1 ms.
const KEYS_LOOKS_MAX: usize = 10_000;
const _: () = assert!(KEYS_LOOKS_MAX == 10_000, "the text of TooManyKeys names the limit");

/// What a `SCAN` looks for.
struct Wanted<'a> {
    pattern: Option<&'a [u8]>,
    /// Whether keys of the one type that there is are wanted.
    has_type: bool,
    looks_count: usize,
}

impl<'a> Wanted<'a> {
    fn parse(args: Args<'a>) -> Result<Wanted<'a>, Error> {
        let mut wanted = Wanted { pattern: None, has_type: true, looks_count: COUNT_DEFAULT };
        let mut at = 2;
        while at < args.len() {
            let (option, value) = (arg(args, at), args.get(at + 1).ok_or(Error::Syntax)?);
            if option.eq_ignore_ascii_case(b"COUNT") {
                let count = parse_i64(value).ok_or(Error::NotAnInteger)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::Syntax)?;
                wanted.looks_count = count.min(LOOKS_MAX);
            } else if option.eq_ignore_ascii_case(b"MATCH") {
                wanted.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if option.eq_ignore_ascii_case(b"TYPE") {
                wanted.has_type = value.eq_ignore_ascii_case(TYPE_NAME.as_bytes());
            } else {
                return Err(Error::Syntax);
            }
            at += 2;
        }
        Ok(wanted)
    }

    fn has(&self, key: &[u8]) -> bool {
        self.has_type && self.pattern.is_none_or(|pattern| glob::matches(pattern, key, false))
    }
}

/// The keys that a `SCAN` has come across, and where the next one goes on; 0 if nowhere.
struct Found<'s> {
    keys: Vec<&'s [u8]>,
    bytes: usize,
    next: u64,
}

impl<'s> Found<'s> {
    /// Looks at the slots from this one to the end of its run, from where the cursor says if that lies in this slot. Stops behind as
    /// many rows as are wanted.
    fn look(store: &'s Store, slot: Slot, args: Args<'_>) -> Result<Found<'s>, Error> {
        let cursor = ScanCursor::parse(arg(args, 1)).ok_or(Error::InvalidCursor)?;
        let wanted = Wanted::parse(args)?;
        let last = store.last_of_run(slot);
        let mut found = Found { keys: Vec::new(), bytes: 0, next: 0 };
        let mut looks_count = 0;
        let (mut at, mut hash) = (slot.idx(), if cursor.slot == slot { cursor.hash } else { 0 });
        while at <= last.idx() {
            let Some(here) = store.rows.next_slot(at).filter(|here| *here <= last) else { break };
            if here.idx() != at {
                (at, hash) = (here.idx(), 0);
            }
            let (rows, behind) = store.rows.some_in_slot(here, hash).expect("a slot with rows has a segment");
            for row in rows {
                looks_count += 1;
                found.take(store, &wanted, row);
            }
            (at, hash) = behind.map_or((at + 1, 0), |hash| (at, hash));
            if (looks_count >= wanted.looks_count || found.bytes > KEYS_BYTES_MAX) && ScanCursor::can_name(hash) {
                found.next = next_cursor(store, (at, hash));
                return Ok(found);
            }
        }
        found.next = next_cursor(store, (last.idx() + 1, 0));
        Ok(found)
    }

    fn take(&mut self, store: &Store, wanted: &Wanted<'_>, row: Row<'s>) {
        if !store.has_expired(row) && wanted.has(row.key()) {
            self.keys.push(row.key());
            self.bytes += bulk_bytes(row.key().len());
        }
    }
}

/// The cursor for a place, 0 behind the last slot. If not all rows before it are known, it is the place up to which they are.
fn next_cursor(store: &Store, (slot, hash): (usize, u64)) -> u64 {
    let place = position(slot, hash);
    let (slot, hash) = slot_and_hash(store.known_until.map_or(place, |until| place.min(until)));
    u16::try_from(slot).ok().and_then(Slot::new).map_or(0, |slot| ScanCursor { slot, hash }.number())
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`.
fn scan(store: &Store, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let found = Found::look(store, slot, args)?;
    reply.array(2);
    reply.bulk(found.next.to_string().as_bytes());
    reply.array(found.keys.len());
    found.keys.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

fn check_scan(args: Args<'_>) -> Result<(), Error> {
    ScanCursor::parse(arg(args, 1)).ok_or(Error::InvalidCursor)?;
    Wanted::parse(args).map(drop)
}

fn scan_bound(store: &Store, slot: Slot, args: Args<'_>) -> usize {
    let found = Found::look(store, slot, args).ok();
    SHORT_REPLY_BYTES_MAX + found.map_or(0, |found| found.bytes + array_header_bytes(found.keys.len()))
}

/// The rows that a `SCAN` looks at.
fn scan_range(store: &Store, slot: Slot, args: Args<'_>, _: u64) -> RowRange {
    let hash = ScanCursor::parse(arg(args, 1)).filter(|cursor| cursor.slot == slot).map_or(0, |cursor| cursor.hash);
    let rows_max = Wanted::parse(args).map_or(COUNT_DEFAULT, |wanted| wanted.looks_count);
    RowRange::of_slots((slot.idx(), hash), store.last_of_run(slot), rows_max)
}

/// `KEYS pattern`, of the group.
fn keys(store: &Store, _: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let found = matching(store, args)?;
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

fn matching<'s>(store: &'s Store, args: Args<'_>) -> Result<Vec<&'s [u8]>, Error> {
    if store.rows.count() > KEYS_LOOKS_MAX || store.known_until.is_some() {
        return Err(Error::TooManyKeys);
    }
    let rows = store.rows.iter().filter(|(_, row)| !store.has_expired(*row));
    let keys = rows.map(|(_, row)| row.key()).filter(|key| glob::matches(arg(args, 1), key, false));
    let (mut found, mut bytes) = (Vec::new(), 0);
    for key in keys {
        bytes += bulk_bytes(key.len());
        found.push(key);
        if bytes + array_header_bytes(found.len()) > REPLY_BYTES_MAX {
            return Err(Error::ReplyTooLong);
        }
    }
    Ok(found)
}

fn keys_bound(store: &Store, _: Slot, args: Args<'_>) -> usize {
    let found = matching(store, args).unwrap_or_default();
    let bytes = found.iter().map(|key| bulk_bytes(key.len())).sum::<usize>() + array_header_bytes(found.len());
    bytes.max(SHORT_REPLY_BYTES_MAX)
}

/// `RANDOMKEY`, of the group: how many keys it has, and one of them. Whoever merges the groups' answers needs both.
fn random_key(store: &Store, clock_ms: u64, _: Slot, _: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
    let drawn = draw(store, clock_ms);
    reply.array(2);
    reply.integer(drawn.map_or(0, |_| store.rows.count() as i64));
    match drawn {
        Some(row) => reply.bulk(row.key()),
        None => reply.null(),
    }
    Ok(())
}

/// Rows of tables among which a key is drawn.
const DRAWN_ROWS_COUNT: usize = 64;

/// The rows among which a `RANDOMKEY` draws: some, wherever.
fn random_range(store: &Store, _: Slot, _: Args<'_>, clock_ms: u64) -> RowRange {
    let (first, last) = match store.owned() {
        [] => (Slot::default(), Slot::MAX),
        owned => owned[store.draw(clock_ms) as usize % owned.len()],
    };
    let slots_count = last.idx() - first.idx() + 1;
    let slot = first.idx() + store.draw(clock_ms) as usize % slots_count;
    RowRange::of_all(position(slot, 0), DRAWN_ROWS_COUNT)
}

/// Segments that a draw looks into at most: where nearly all rows have expired it finds none.
const DRAW_SEGMENTS_MAX: usize = 64;

/// Some row that is there, or none in the neighbourhood that was drawn.
fn draw(store: &Store, clock_ms: u64) -> Option<Row<'_>> {
    let mut at = store.draw(clock_ms) as usize % SLOTS_COUNT;
    let mut hash = store.draw(clock_ms) >> 16;
    for _ in 0..DRAW_SEGMENTS_MAX {
        let slot = store.rows.next_slot(at).or_else(|| store.rows.next_slot(0))?;
        let start = if slot.idx() == at { hash } else { store.draw(clock_ms) >> 16 };
        let (rows, behind) = store.rows.some_in_slot(slot, start)?;
        let living: Vec<Row<'_>> = rows.filter(|row| !store.has_expired(*row)).collect();
        if !living.is_empty() {
            return living.get(store.draw(clock_ms) as usize % living.len()).copied();
        }
        (at, hash) = behind.map_or((slot.idx() + 1, 0), |hash| (slot.idx(), hash));
    }
    None
}

fn random_key_bound(_: &Store, _: Slot, _: Args<'_>) -> usize {
    SHORT_REPLY_BYTES_MAX + bulk_bytes(types::limits::KEY_BYTES_MAX)
}
