//! The keys of one group, and what commands do to them.

use lsm::{Content, Payloads, Prefetch, Row, Swept, Warmed};
use resp::{Args, Command, CommandId, Reply};
use types::Slot;

use crate::commands::{self, Action, SHORT_REPLY_BYTES_MAX};
use crate::outcome::{Error, Outcome};
use crate::store::{Lookups, Store};

/// The keys of one group.
///
/// Replicas with the same log hold equal keyspaces: equal [`Keyspace::digest`].
pub struct Keyspace {
    pub(crate) store: Store,
}

impl Default for Keyspace {
    fn default() -> Keyspace {
        Keyspace::new()
    }
}

impl Keyspace {
    /// An empty keyspace, its keys ordered as nobody needs to be kept from knowing.
    pub fn new() -> Keyspace {
        Keyspace::with_hash_seed(0)
    }

    /// An empty keyspace whose keys are ordered by their hashes with this seed, the same on all replicas of a group. A seed that
    /// clients do not know keeps them from choosing keys whose hashes are equal.
    pub fn with_hash_seed(seed: u64) -> Keyspace {
        Keyspace { store: Store::new(seed) }
    }

    /// The group owns these runs of slots, ascending, both ends included; without this, all slots.
    pub fn own(&mut self, owned: Vec<(Slot, Slot)>) {
        self.store.own(owned);
    }

    /// Replicated time, in milliseconds since 1970 UTC: what has expired by it is not there any more.
    pub fn time_ms(&self) -> u64 {
        self.store.time_ms()
    }

    /// Replicated time goes on to that of a batch or a snapshot; never back.
    pub fn advance_time(&mut self, time_ms: u64) {
        self.store.advance_time(time_ms);
    }

    /// Adds a key to those whose rows are to be loaded into the CPU's caches.
    #[inline]
    pub fn prefetch<'r>(&'r self, prefetch: &mut Prefetch<'r>, slot: Slot, key: &[u8]) {
        prefetch.add(&self.store.rows, slot, key);
    }

    /// Applies a logged write. `slot` is the slot of the command's keys, which all share one.
    ///
    /// The outcome may borrow from the keyspace and from nothing else: it is written or dropped before the
    /// next command is applied. A command that is no write leaves the state alone and answers
    /// [`Error::Unsupported`].
    pub fn apply(&mut self, id: CommandId, slot: Slot, args: Args<'_>) -> Outcome<'_> {
        self.apply_checked(id, slot, args).unwrap_or_else(Outcome::Error)
    }

    /// Answers a read. `slot` is the slot of the command's keys, which all share one; `clock_ms` the leader's clock in milliseconds
    /// since 1970 UTC, of which nothing but the time left to keys depends. Exactly one reply is
    /// written: the answer, or an error if the arguments are wrong or the command is no read. The error is returned, too.
    pub fn query(
        &self,
        id: CommandId,
        slot: Slot,
        args: Args<'_>,
        clock_ms: u64,
        reply: &mut Reply<'_>,
    ) -> Option<Error> {
        let error = self.query_checked(id, slot, args, clock_ms, reply).err()?;
        reply.error(error.message());
        Some(error)
    }

    /// The most bytes that the reply to a command may have if the command is the next one to be executed: enough for
    /// either protocol and for any error of this crate, at most [`types::limits::REPLY_BYTES_MAX`].
    ///
    /// It costs a lookup for each key whose value the command reads, and for `CLUSTER GETKEYSINSLOT` a look at each key
    /// that it would list; where a limit is exceeded it looks no further.
    pub fn reply_bytes_bound(&self, id: CommandId, slot: Slot, args: Args<'_>) -> usize {
        commands::find(id)
            .map_or(SHORT_REPLY_BYTES_MAX, |command| (command.reply_bytes_bound)(&self.store, slot, args))
    }

    /// Whether a read looks for a key that is due by the leader's clock and still there by replicated time. Its answer is to wait
    /// until that time has gone on: else a key would be there longer than it was to live, as long as nothing is written.
    pub fn has_due(&self, command: &Command, args: Args<'_>, slot: Slot, clock_ms: u64) -> bool {
        self.store.rows.expiring_count() > 0 && command.keys(args).any(|key| self.store.is_due(slot, key, clock_ms))
    }

    /// Looks at about so many rows and removes those that have expired by replicated time.
    pub fn sweep(&mut self, rows_count: usize, clock_ms: u64) -> Swept {
        self.store.sweep(rows_count, clock_ms)
    }

    /// How many keys expire.
    pub fn expiring_count(&self) -> usize {
        self.store.rows.expiring_count()
    }

    /// How many keys [`Keyspace::query`] has looked for since this was last called.
    #[inline]
    pub fn take_lookups(&self) -> Lookups {
        self.store.take_lookups()
    }

    /// How many keys there are, about if not all are in memory.
    pub fn keys_count(&self) -> usize {
        self.store.keys_count()
    }

    /// How many keys there are in memory.
    pub fn rows_count(&self) -> usize {
        self.store.rows.count()
    }

    /// The tables have about so many rows that are not hidden by others, of which the first expires then.
    pub fn set_stored(&mut self, count: usize, earliest_expiry_ms: Option<u64>) {
        self.store.set_stored(count, earliest_expiry_ms);
    }

    /// How many keys were removed because their time had come, since this was last called.
    pub fn take_expired(&mut self) -> u64 {
        self.store.take_expired()
    }

    /// All rows of `slot` whose time has not come, in no particular order.
    pub fn rows_in_slot(&self, slot: Slot) -> impl Iterator<Item = Row<'_>> {
        self.store.rows_in_slot(slot)
    }

    /// Adds a key as a snapshot of another replica holds it, which no table of this one does; `false` if it is there already.
    pub fn restore(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) -> bool {
        let is_new = self.store.rows.get(slot, key).is_none();
        if is_new {
            self.store.rows.put(slot, key, content);
        }
        is_new
    }

    /// Adds a key as the group's tables hold it; `false` if something newer is known of it.
    pub fn load(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) -> bool {
        self.store.rows.load(slot, key, content)
    }

    /// Whether all keys that the tables hold are in memory.
    pub fn is_resident(&self) -> bool {
        self.store.rows.is_resident()
    }

    /// Tables may hold keys from now on that are not in memory.
    pub fn end_residency(&mut self) {
        self.store.rows.end_residency();
    }

    /// All rows of the tables of now will be handed over with [`Keyspace::warm`]: see [`lsm::Rows::begin_warming`].
    pub fn begin_warming(&mut self) {
        self.store.rows.begin_warming();
    }

    /// Adds a key as the group's tables held it when the warming began, unless something is known of it or its time has come.
    pub fn warm(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) -> Warmed {
        let has_expired = content.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.time_ms());
        if has_expired {
            // It never comes back, so there is nothing to know of it.
            return Warmed::Known;
        }
        self.store.rows.warm(slot, key, content)
    }

    /// All rows were handed over. Returns whether all keys are in memory now: not if the warming has ended before.
    pub fn end_warming(&mut self) -> bool {
        self.store.rows.end_warming()
    }

    /// Not all rows will be handed over.
    pub fn give_up_warming(&mut self) {
        self.store.rows.give_up_warming();
    }

    /// Removes keys of about `want_bytes` from memory of which the tables say the same, and looks at about `looks_max` of all for that,
    /// those first that nobody has looked for lately. Returns the bytes of what was removed.
    pub fn evict_some(&mut self, want_bytes: usize, looks_max: usize) -> usize {
        self.store.rows.evict_some(want_bytes, looks_max)
    }

    /// Keeps what was read of a key in memory, or will be, until [`Keyspace::unpin_all`].
    pub fn pin(&mut self, slot: Slot, key: &[u8]) {
        self.store.rows.pin(slot, key);
    }

    /// No key is pinned any more, and what [`Keyspace::fill_head`] has told is forgotten.
    pub fn unpin_all(&mut self) {
        self.store.rows.unpin_all();
        self.store.heads.clear();
    }

    /// A number that changes when what was read from tables before may not hold any more: when a flush was committed, or all keys
    /// were removed or replaced.
    pub fn epoch(&self) -> u64 {
        self.store.rows.epoch()
    }

    /// Bytes of what the tables do not say yet. What has been copied by the flush under way is not among it.
    pub fn dirty_bytes(&self) -> usize {
        self.store.rows.dirty_bytes()
    }

    /// Begins to copy all that the tables do not say, as it is now, however it changes meanwhile. `false` if a flush is under way, or
    /// if one that was given up is still being set back: each call does a part of that, and so does [`Keyspace::tidy_some`].
    pub fn begin_flush(&mut self) -> bool {
        self.store.rows.begin_flush()
    }

    /// Goes on with the flush and copies about `budget_bytes`, one row at least. Returns whether all of it is copied; then the flush ends
    /// with [`Keyspace::end_flush`] once it is committed.
    pub fn go_on_flushing(&mut self, budget_bytes: usize) -> bool {
        self.store.rows.go_on_flushing(budget_bytes)
    }

    /// What the flush has copied and nobody has taken yet, to be read with [`lsm::Records`]; `None` if there is no flush: removing all
    /// keys gives it up.
    pub fn flushed(&mut self) -> Option<&mut Payloads> {
        self.store.rows.flushed()
    }

    /// Bytes that the flush has copied and nobody has taken yet.
    pub fn copied_bytes(&self) -> usize {
        self.store.rows.copied_bytes()
    }

    /// Ends the flush, if there is one, without effect: what it has copied is to be flushed again.
    pub fn give_up_flush(&mut self) {
        self.store.rows.give_up_flush();
    }

    /// Ends a flush that has copied everything, when the tables hold all of that. Whoever asks tables from now on must ask those.
    ///
    /// # Panics
    /// If there is none, or it has not copied everything.
    pub fn end_flush(&mut self) {
        self.store.rows.end_flush();
    }

    /// Does a part of what is left to do behind flushes, looking at about so many rows. Returns whether there is more.
    pub fn tidy_some(&mut self, budget_rows: usize) -> bool {
        self.store.rows.tidy_some(budget_rows)
    }

    /// How often all keys were removed at once.
    pub fn clears_count(&self) -> u64 {
        self.store.rows.clears_count()
    }

    /// Keeps all keys that are in memory there until a flush has ended.
    pub fn hold(&mut self) {
        self.store.rows.hold();
    }

    /// Bytes of rows in memory and of what leads to them: [`Keyspace::bytes`] without what is free in the pages they lie in.
    pub fn used_bytes(&self) -> usize {
        self.store.rows.used_bytes()
    }

    /// The tables are of no use any more: the next flush copies all keys.
    pub fn write_anew(&mut self) {
        self.store.rows.write_anew();
    }

    /// These keys take the place of others, as of the time that they have: entries behind them are applied as of theirs. The memory of the
    /// others is given back a little at a time.
    pub fn succeed(&mut self, others: Keyspace) {
        self.store.own(others.store.owned().to_vec());
        self.store.rows.succeed(others.store.rows);
    }

    /// Whether there is memory to give back of keys that were removed all at once.
    pub fn has_to_release(&self) -> bool {
        self.store.rows.has_to_release()
    }

    /// Gives a part of the memory back of keys that were removed all at once: 4 MiB, or one long value. Returns whether there is
    /// more.
    pub fn release_some(&mut self) -> bool {
        self.store.rows.release_some()
    }

    /// How much memory the keys and values take of the system, in bytes. Replicas need not agree on it.
    pub fn bytes(&self) -> usize {
        self.store.rows.held_bytes()
    }

    /// A digest of all keys whose time has not come, with all that they hold. Replicas that have applied the same log have the same
    /// digest, whatever lies where and whatever machine they run on.
    ///
    /// It is computed here, by a walk over everything, and not kept up to date by the writes. Kept, it would
    /// add a hash to every write, 40 ns for a `SET` of 256 bytes that takes 70 in all, and milliseconds for an
    /// `APPEND` of one byte to a value of megabytes.
    pub fn digest(&self) -> u128 {
        self.store.digest()
    }

    fn apply_checked(&mut self, id: CommandId, slot: Slot, args: Args<'_>) -> Result<Outcome<'_>, Error> {
        let command = commands::find(id)?;
        let Action::Apply(apply) = command.action else { return Err(Error::Unsupported) };
        (command.shape)(args)?;
        apply(&mut self.store, slot, args)
    }

    fn query_checked(
        &self,
        id: CommandId,
        slot: Slot,
        args: Args<'_>,
        clock_ms: u64,
        reply: &mut Reply<'_>,
    ) -> Result<(), Error> {
        let command = commands::find(id)?;
        (command.shape)(args)?;
        match command.action {
            Action::Query(query) => query(&self.store, slot, args, reply),
            Action::QueryByClock(query) => query(&self.store, clock_ms, slot, args, reply),
            Action::Apply(_) => Err(Error::Unsupported),
        }
    }
}
