//! What has allocated memory, and what of it is in use.
//!
//! An allocator of the process that samples ([`Sampled`]) keeps of one allocation in so many bytes who asked for it, and notices when
//! it is freed, on whatever thread. Figures are those of the samples, each multiplied by how many allocations of its size one
//! sample stands for: right on average, whatever sizes there are.
//!
//! A thread that allocates takes off a counter of its own; one that frees looks at the low bits of the address. Locks are taken
//! for samples alone, one of many shards at a time, for the time of a look into a table, and never while anybody asks the allocator for
//! something that is sampled.

mod allocator;
mod blocks;
mod countdown;
mod stacks;

use std::collections::HashMap;
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, SystemTime};

pub use allocator::Sampled;

use crate::error::Error;
use crate::modules;
use crate::pprof::{Head, Profile};
use crate::symbols;
use countdown::Busy;
use stacks::Allocating;

/// What values of a sample are, as Go names them, so that tools know what they are about.
const VALUES: [(&str, &str); 4] =
    [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];

/// Functions that pprof leaves out, with all that they call: what the compiler calls for each allocation.
const ALLOCATOR_FUNCTIONS: &str = "(.*::)?__rust_(alloc|alloc_zeroed|realloc)";

/// Held by whoever writes a profile.
static WRITING: Mutex<()> = Mutex::new(());

/// Samples allocations from now on, one in `mean_bytes` on average; 0 for none. What was allocated before is never seen.
pub fn start(mean_bytes: u64) {
    countdown::set_mean_bytes(mean_bytes);
}

/// Has mimalloc, the allocator of the program, give back to the system what it keeps and nobody uses: what the calling thread has freed, and what
/// threads that have ended had. It would do so by and by while the thread allocates, and on one that is idle never. May take some
/// milliseconds.
pub fn trim() {
    // SAFETY: any thread may call it at any time; it touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// What was allocated since [`start`], and what of it is in use, as pprof reads it: compressed, with names of functions.
///
/// Samples have the values `alloc_objects`, `alloc_space`, `inuse_objects` and `inuse_space`.
///
/// # Errors
/// [`Error::Busy`] if another one is being written; [`Error::NotStarted`].
pub fn heap() -> Result<Vec<u8>, Error> {
    let _writing = match WRITING.try_lock() {
        Ok(writing) => writing,
        Err(TryLockError::Poisoned(writing)) => writing.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(Error::Busy),
    };
    let mean_bytes = countdown::mean_bytes();
    if mean_bytes == 0 {
        return Err(Error::NotStarted);
    }
    let begun = SystemTime::now();
    let busy = Busy::begin().expect("nobody reads samples while one is kept");
    let (stacks, lost_count) = (stacks::read(&busy), stacks::lost_count());
    drop(busy);
    let head = Head {
        values: VALUES.to_vec(),
        default_value: Some("inuse_space"),
        drop_frames: Some(ALLOCATOR_FUNCTIONS),
        period_type: ("space", "bytes"),
        period: mean_bytes,
        begun,
        duration: Duration::ZERO,
    };
    let mut samplers = Samplers::default();
    let mut profile = Profile::new(&head, modules::loaded(), symbols::resolve);
    for Allocating { stack, totals } in &stacks {
        // They are those that calls return to.
        let addresses: Vec<u64> = stack.iter().map(|address| (*address as u64).saturating_sub(1)).collect();
        let values = [totals.allocated_count, totals.allocated_bytes, totals.used_count, totals.used_bytes];
        let own_count = addresses.iter().take_while(|address| samplers.holds(**address)).count();
        profile.sample(&addresses[own_count..], &values, &[]);
    }
    if lost_count > 0 {
        profile.comment(&format!("{lost_count} samples were lost: there were too many different stacks"));
    }
    let bytes = profile.into_gzip();
    symbols::release();
    Ok(bytes)
}

/// Which addresses lie in what takes samples, and not in who has asked for memory.
#[derive(Default)]
struct Samplers {
    known: HashMap<u64, bool>,
}

impl Samplers {
    fn holds(&mut self, address: u64) -> bool {
        let find = || {
            // What was inlined belongs to the function that it was inlined into. Its name may lack the module, its file does not.
            let file = symbols::resolve(address).pop().unwrap_or_default().file;
            ["/profile/heap/", "/backtrace-"].iter().any(|part| file.contains(part))
        };
        *self.known.entry(address).or_insert_with(find)
    }
}
