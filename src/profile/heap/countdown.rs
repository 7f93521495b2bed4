//! Which allocations are sampled: each thread counts down the bytes that it allocates.
//!
//! Samples are points that are strewn over all allocated bytes, each as likely as any other, `mean` bytes apart on average: the
//! distances between them are distributed exponentially. An allocation is sampled if a point falls into it, which has the
//! probability `1 - exp(-bytes / mean)` whatever came before. Nothing that allocates in a rhythm can keep step with that.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// After how many bytes a thread looks whether samples are taken by now.
const LOOK_EVERY_BYTES: i64 = 1 << 20;

/// The mean distance of samples, in bytes; 0 while none are taken.
static MEAN_BYTES: AtomicU64 = AtomicU64::new(0);
/// From which each thread takes a beginning of its own for its chance.
static SEEDS: AtomicU64 = AtomicU64::new(0x243f_6a88_85a3_08d3);

struct Countdown {
    /// Bytes to the next point.
    left: Cell<i64>,
    /// The mean that `left` was drawn for; 0 for none.
    mean_bytes: Cell<u64>,
    /// What chance comes from; 0 before the first draw.
    random: Cell<u64>,
    /// Whether the thread is at keeping a sample, or reading all of them.
    is_busy: Cell<bool>,
}

thread_local! {
    // It needs neither a beginning nor an end, so it can be used as long as its thread allocates.
    static COUNTDOWN: Countdown = const {
        Countdown { left: Cell::new(0), mean_bytes: Cell::new(0), random: Cell::new(0), is_busy: Cell::new(false) }
    };
}

/// While it lives its thread neither counts, nor samples, nor looks for samples. So what takes samples may itself allocate.
pub(super) struct Busy {
    /// What the thread goes on with.
    left: i64,
}

impl Busy {
    /// `None` if the thread is busy already.
    pub(super) fn begin() -> Option<Busy> {
        COUNTDOWN.with(|own| (!own.is_busy.replace(true)).then(|| Busy { left: own.left.get() }))
    }

    fn go_on_with(&mut self, left: i64) {
        self.left = left;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        COUNTDOWN.with(|own| {
            own.left.set(self.left);
            own.is_busy.set(false);
        });
    }
}

/// Takes samples from now on, so many bytes apart on average; 0 for none. Other threads that run notice it within
/// [`LOOK_EVERY_BYTES`], or at their next sample.
pub(super) fn set_mean_bytes(mean_bytes: u64) {
    MEAN_BYTES.store(mean_bytes, Ordering::Relaxed);
    COUNTDOWN.with(|own| own.left.set(0));
}

/// The mean distance of samples, in bytes; 0 while none are taken.
pub(super) fn mean_bytes() -> u64 {
    MEAN_BYTES.load(Ordering::Relaxed)
}

/// Counts an allocation. Returns whether [`due`] is to be asked about it.
#[inline(always)]
pub(super) fn has_run_out(bytes: usize) -> bool {
    COUNTDOWN.with(|own| {
        let left = own.left.get().wrapping_sub(bytes as i64);
        own.left.set(left);
        left < 0
    })
}

/// Whether an allocation for which the countdown [`has_run_out`] is sampled, and at which mean distance.
#[cold]
#[inline(never)]
pub(super) fn due(bytes: usize) -> Option<(u64, Busy)> {
    let mut busy = Busy::begin()?;
    COUNTDOWN.with(|own| {
        let mean_bytes = mean_bytes();
        let is_new = own.mean_bytes.replace(mean_bytes) != mean_bytes;
        if mean_bytes == 0 {
            busy.go_on_with(LOOK_EVERY_BYTES);
            return None;
        }
        if is_new {
            // What was counted down was no distance between points of this mean.
            let left = distance(own, mean_bytes).wrapping_sub(bytes as i64);
            busy.go_on_with(left);
            if left >= 0 {
                return None;
            }
        }
        // Points behind the first do not count twice, and the next allocation knows nothing of this one.
        busy.go_on_with(distance(own, mean_bytes));
        Some((mean_bytes, busy))
    })
}

/// The distance to the next point, in bytes.
fn distance(own: &Countdown, mean_bytes: u64) -> i64 {
    let mut state = own.random.get();
    if state == 0 {
        // Odd steps reach every number, so no two of the first 2^64 threads begin alike; 0 is one in as many.
        state = SEEDS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) | 1;
    }
    // xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    own.random.set(state);
    let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
    // In (0, 1]: its logarithm is finite.
    let uniform = (bits + 1) as f64 / (1_u64 << 53) as f64;
    // The cast ends at the greatest number.
    (-uniform.ln() * mean_bytes as f64) as i64
}

/// How many allocations of so many bytes a sampled one stands for.
pub(super) fn weight(bytes: usize, mean_bytes: u64) -> f64 {
    // 1 / (1 - exp(-x))
    -1.0 / (-(bytes as f64) / mean_bytes as f64).exp_m1()
}
