//! The keys of one group, and what commands do to them.

use resp::{Args, CommandId, Reply};
use types::Slot;

use crate::commands::{self, Action, SHORT_REPLY_BYTES_MAX};
use crate::former::Former;
use crate::outcome::{Error, Outcome};
use crate::store::{Lookups, Store};

/// The keys of one group.
///
/// Replicas with the same log hold equal keyspaces: equal [`Keyspace::digest`], whatever their hash seeds.
pub struct Keyspace {
    store: Store,
}

impl Default for Keyspace {
    fn default() -> Keyspace {
        Keyspace::new()
    }
}

impl Keyspace {
    /// An empty keyspace whose tables are laid out the same way in every process.
    pub fn new() -> Keyspace {
        Keyspace::with_hash_seed(0)
    }

    /// An empty keyspace whose tables are laid out by `seed`. A seed that clients do not know keeps them from
    /// choosing keys that all fall into one bucket. It shows only in the order in
    /// which keys are listed.
    pub fn with_hash_seed(seed: u64) -> Keyspace {
        Keyspace { store: Store::new(seed) }
    }

    /// Applies a logged write. `slot` is the slot of the command's keys, which all share one; `time_ms` is
    /// the replicated time of the batch in milliseconds since the Unix epoch, on which no command depends as
    /// long as no key expires.
    ///
    /// The outcome may borrow from the keyspace and from nothing else: it is written or dropped before the
    /// next command is applied. A command that is no write leaves the state alone and answers
    /// [`Error::Unsupported`].
    pub fn apply(&mut self, id: CommandId, slot: Slot, args: Args<'_>, time_ms: u64) -> Outcome<'_> {
        let _ = time_ms;
        self.apply_checked(id, slot, args).unwrap_or_else(Outcome::Error)
    }

    /// Answers a read. `slot` is the slot of the command's keys, which all share one. Exactly one reply is
    /// written: the answer, or an error if the arguments are wrong or the command is no read. The error is returned, too.
    pub fn query(&self, id: CommandId, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Option<Error> {
        let error = self.query_checked(id, slot, args, reply).err()?;
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

    /// How many keys [`Keyspace::query`] has looked for since this was last called.
    #[inline]
    pub fn take_lookups(&self) -> Lookups {
        self.store.take_lookups()
    }

    /// How many keys there are.
    pub fn keys_count(&self) -> usize {
        self.store.keys_count()
    }

    /// All keys of `slot` with their values, in no particular order.
    pub fn entries_in_slot(&self, slot: Slot) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.store.entries_in_slot(slot)
    }

    /// Adds a key as a snapshot holds it; `false` if it is there already.
    pub fn restore(&mut self, slot: Slot, key: &[u8], value: &[u8]) -> bool {
        self.store.restore(slot, key, value)
    }

    /// Begins to walk over all keys and values as they are now, however they change meanwhile. `false` if an earlier
    /// walk has not ended yet; then go on with that one.
    pub fn begin_walk(&mut self) -> bool {
        self.store.begin_walk()
    }

    /// Walks on and copies about `budget_bytes` of what there was at the beginning. Returns whether all of it is
    /// copied.
    pub fn go_on_walking(&mut self, budget_bytes: usize) -> bool {
        self.store.go_on_walking(budget_bytes)
    }

    /// What the walk has copied so far; `None` if there is no walk, or it was given up.
    pub fn walked(&mut self) -> Option<&mut Former> {
        self.store.walk()?.former()
    }

    /// Bytes that the walk has copied and nobody has taken yet.
    pub fn walked_bytes(&self) -> usize {
        self.store.walk_bytes()
    }

    /// Copies no more. The walk must still be gone on with to its end.
    pub fn give_up_walk(&mut self) {
        if let Some(walk) = self.store.walk() {
            walk.give_up();
        }
    }

    /// Ends a walk that has copied everything.
    pub fn end_walk(&mut self) {
        self.store.end_walk();
    }

    /// About how much memory the keys and values take, in bytes. Replicas need not agree on it.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// A digest of all keys and values. Replicas that have applied the same log have the same digest, whatever
    /// order their tables are in and whatever machine they run on.
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

    fn query_checked(&self, id: CommandId, slot: Slot, args: Args<'_>, reply: &mut Reply<'_>) -> Result<(), Error> {
        let command = commands::find(id)?;
        let Action::Query(query) = command.action else { return Err(Error::Unsupported) };
        (command.shape)(args)?;
        query(&self.store, slot, args, reply)
    }
}
