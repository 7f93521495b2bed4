//! Permits for memory: who may hold how much, and who holds what.
//!
//! A core has [`Config::memory_bytes_max`](crate::Config) bytes. [`Budget`] divides them into pools, and whoever keeps bytes
//! in a queue holds a [`Permit`] of the pool concerned and sets it to what the queue holds: growing asks first
//! ([`Permit::try_grow`]), dropping gives back. There is no other way into a queue, so the sums are what is held.
//!
//! Two kinds of pools: *requests* (what clients and peers make a core hold: input, arguments, replies, batches, frames)
//! have a share of their own and push back when it is used up; *data* (keys, parts of tables, entry caches) takes the rest, and when that
//! is used up, commands that add data are refused and everything else goes on.

use std::cell::Cell;
use std::rc::Rc;

/// What memory is held for. Each has a counter of its own, shown by INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// What the process held when the core had started: receive buffers, blocks of the log, the program itself.
    Fixed,
    /// Keys and values.
    Keys,
    /// Parts of tables that were read and may be needed again.
    Tables,
    /// Entries kept for followers, and what is proposed and not applied.
    Entries,
    /// Commands that wait to be proposed, and reads that wait.
    Batches,
    /// Input of clients that was not executed yet.
    ClientInput,
    /// Replies that clients have not taken yet.
    ClientOutput,
    /// Commands that wait for a leader or for its answer.
    Forwarded,
    /// Frames to and from other cores, and commands of other cores that wait.
    Links,
    /// Blocks of the log that are not written yet, and log that was read back.
    Log,
    /// Snapshots on their way.
    Snapshots,
    /// Reads that wait for rows of tables.
    Rows,
}

impl Pool {
    /// All pools, in the order in which INFO shows them.
    pub(crate) const ALL: [Pool; 12] = [
        Pool::Fixed,
        Pool::Keys,
        Pool::Tables,
        Pool::Entries,
        Pool::Batches,
        Pool::ClientInput,
        Pool::ClientOutput,
        Pool::Forwarded,
        Pool::Links,
        Pool::Log,
        Pool::Snapshots,
        Pool::Rows,
    ];

    /// The name in INFO, behind `used_memory_`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pool::Fixed => "fixed",
            Pool::Keys => "keys",
            Pool::Tables => "tables",
            Pool::Entries => "entries",
            Pool::Batches => "batches",
            Pool::ClientInput => "client_input",
            Pool::ClientOutput => "client_output",
            Pool::Forwarded => "forwarded",
            Pool::Links => "links",
            Pool::Log => "log",
            Pool::Snapshots => "snapshots",
            Pool::Rows => "rows",
        }
    }

    /// Whether it is bounded by the share of requests.
    fn is_of_requests(self) -> bool {
        matches!(
            self,
            Pool::Batches | Pool::ClientInput | Pool::ClientOutput | Pool::Forwarded | Pool::Links | Pool::Rows
        )
    }
}

/// The accounts behind a [`Budget`]. Cells, as one core's parts share them.
struct Accounts {
    bytes_max: usize,
    requests_bytes_max: usize,
    used: [Cell<usize>; Pool::ALL.len()],
    /// What keys use of what is held for them, as far as it was looked at: pages that are not full take new ones.
    keys_used: Cell<usize>,
    peak: Cell<usize>,
}

impl Accounts {
    fn used(&self) -> usize {
        self.used.iter().map(Cell::get).sum()
    }

    fn requests_used(&self) -> usize {
        Pool::ALL.iter().filter(|pool| pool.is_of_requests()).map(|pool| self.used[*pool as usize].get()).sum()
    }

    fn add(&self, pool: Pool, bytes: usize) {
        let cell = &self.used[pool as usize];
        cell.set(cell.get() + bytes);
    }

    fn sub(&self, pool: Pool, bytes: usize) {
        let cell = &self.used[pool as usize];
        cell.set(cell.get().checked_sub(bytes).expect("a permit gives back what it took, once"));
    }
}

/// The memory of a core, divided.
#[derive(Clone)]
pub(crate) struct Budget {
    accounts: Rc<Accounts>,
}

/// Requests may hold one in this many bytes of a core's memory.
const REQUESTS_SHARE: usize = 3;
/// From this share of the memory for keys on, some of them leave it.
const KEYS_MARK_SHARE: (usize, usize) = (7, 8);

impl Budget {
    /// A budget of `bytes_max` bytes, of which nothing is used.
    pub(crate) fn new(bytes_max: usize) -> Budget {
        let requests_bytes_max = bytes_max / REQUESTS_SHARE;
        let used = Default::default();
        Budget {
            accounts: Rc::new(Accounts {
                bytes_max,
                requests_bytes_max,
                used,
                keys_used: Cell::new(usize::MAX),
                peak: Cell::new(0),
            }),
        }
    }

    /// A permit of no bytes, for a queue that is empty.
    pub(crate) fn permit(&self, pool: Pool) -> Permit {
        Permit { accounts: Rc::clone(&self.accounts), pool, bytes: 0 }
    }

    /// Bytes held for `pool`.
    pub(crate) fn used_by(&self, pool: Pool) -> usize {
        self.accounts.used[pool as usize].get()
    }

    /// Bytes held in all.
    pub(crate) fn used(&self) -> usize {
        self.accounts.used()
    }

    /// The most that was held at a tick.
    pub(crate) fn peak(&self) -> usize {
        self.accounts.peak.get()
    }

    /// Notes what is held now, for the peak. Called once per tick.
    pub(crate) fn sample(&self) {
        self.accounts.peak.set(self.peak().max(self.used()));
    }

    /// The limit.
    pub(crate) fn bytes_max(&self) -> usize {
        self.accounts.bytes_max
    }

    /// The limit of all that requests hold.
    pub(crate) fn requests_bytes_max(&self) -> usize {
        self.accounts.requests_bytes_max
    }

    /// Whether requests hold all they may: then nothing more is read from clients.
    pub(crate) fn requests_are_full(&self) -> bool {
        self.accounts.requests_used() >= self.accounts.requests_bytes_max
    }

    /// Whether `bytes` more of requests fit.
    pub(crate) fn has_room_for_requests(&self, bytes: usize) -> bool {
        self.accounts.requests_used() + bytes <= self.accounts.requests_bytes_max
    }

    /// Whether requests hold more than half of what they may: then it is looked at more closely who asks for more.
    pub(crate) fn requests_are_tight(&self) -> bool {
        self.accounts.requests_used() > self.accounts.requests_bytes_max / 2
    }

    /// Bytes that keys may hold, with all that is not of requests.
    pub(crate) fn keys_bytes_max(&self) -> usize {
        self.accounts.bytes_max - self.accounts.requests_bytes_max
    }

    /// Bytes of keys and of all else that is not of requests, up to which no key leaves memory.
    pub(crate) fn keys_bytes_mark(&self) -> usize {
        self.keys_bytes_max() / KEYS_MARK_SHARE.1 * KEYS_MARK_SHARE.0
    }

    /// How many bytes more keys may take up before some of them leave memory.
    pub(crate) fn room_for_rows(&self) -> usize {
        let data = self.accounts.used() - self.accounts.requests_used();
        self.keys_bytes_mark().saturating_sub(data)
    }

    /// Whether keys may take up more than they should.
    pub(crate) fn keys_may_be_over(&self) -> bool {
        self.accounts.used() - self.accounts.requests_used() > self.keys_bytes_mark()
    }

    /// By how much keys take up more than they should, if they use so many bytes of what is held for them: more than the mark, or so much in
    /// pages that are not full that these must become fewer.
    pub(crate) fn keys_over(&self, used_bytes: usize) -> usize {
        self.accounts.keys_used.set(used_bytes);
        let data = self.accounts.used() - self.accounts.requests_used();
        let others = data - self.used_by(Pool::Keys);
        let of_used = (others + used_bytes).saturating_sub(self.keys_bytes_mark());
        of_used.max(data.saturating_sub(self.keys_bytes_max()))
    }

    /// Whether `bytes` more of keys fit. The share of requests is kept free, so that full memory never stops reads.
    pub(crate) fn has_room_for_keys(&self, bytes: usize) -> bool {
        let data = self.accounts.used() - self.accounts.requests_used();
        let keys = self.used_by(Pool::Keys);
        let in_use = data - keys + keys.min(self.accounts.keys_used.get());
        data + bytes <= self.keys_bytes_max() || in_use + bytes <= self.keys_bytes_mark()
    }
}

/// The right to hold bytes. Dropping it gives them back.
pub(crate) struct Permit {
    accounts: Rc<Accounts>,
    pool: Pool,
    bytes: usize,
}

impl Permit {
    /// Takes `bytes` more if the share of requests has room for them. What asks while the permit holds nothing always
    /// gets it, so that one request can always be served: the limit is exceeded by one request per queue at most.
    #[must_use]
    pub(crate) fn try_grow(&mut self, bytes: usize) -> bool {
        let has_room = self.accounts.requests_used() + bytes <= self.accounts.requests_bytes_max;
        if has_room || self.bytes == 0 {
            self.set(self.bytes + bytes);
            return true;
        }
        false
    }

    /// Makes it a permit for exactly `bytes`, whatever the limits say: for what was asked for before, or cannot be
    /// refused.
    pub(crate) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.accounts.add(self.pool, more),
            None => self.accounts.sub(self.pool, self.bytes - bytes),
        }
        self.bytes = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_give_back_what_they_took() {
        let budget = Budget::new(3_000);
        let mut input = budget.permit(Pool::ClientInput);
        let mut batches = budget.permit(Pool::Batches);
        assert!(input.try_grow(600) && batches.try_grow(400));
        assert!(budget.requests_are_full());
        assert_eq!((budget.used(), budget.used_by(Pool::ClientInput)), (1_000, 600));
        assert!(!input.try_grow(1), "the share of requests is used up");
        input.set(100);
        assert!(input.try_grow(500) && budget.requests_are_full());
        drop(input);
        assert_eq!((budget.used(), budget.used_by(Pool::ClientInput)), (400, 0));
        drop(batches);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_queue_that_holds_nothing_may_always_take_one_request() {
        let budget = Budget::new(300);
        let (mut one, mut other) = (budget.permit(Pool::Links), budget.permit(Pool::Forwarded));
        assert!(one.try_grow(1_000));
        assert!(other.try_grow(1_000), "it holds nothing yet");
        assert!(!one.try_grow(1));
    }

    #[test]
    fn requests_leave_no_room_to_data_and_data_none_to_requests() {
        let budget = Budget::new(3_000);
        let mut keys = budget.permit(Pool::Keys);
        keys.set(1_990);
        assert!(budget.has_room_for_keys(10) && !budget.has_room_for_keys(11));
        let mut output = budget.permit(Pool::ClientOutput);
        assert!(output.try_grow(1_000), "full keys do not stop replies");
        assert!(budget.has_room_for_keys(10), "full replies do not stop writes");
    }

    #[test]
    fn the_peak_is_what_was_sampled() {
        let budget = Budget::new(3_000);
        let mut keys = budget.permit(Pool::Keys);
        keys.set(700);
        budget.sample();
        keys.set(10);
        budget.sample();
        assert_eq!((budget.peak(), budget.used()), (700, 10));
    }
}
