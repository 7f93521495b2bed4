//! Slices of work, and pauses between them.

use std::future::Future;

/// Lets others go first. Whoever works on much calls it between slices of its work.
pub trait Pace {
    /// Returns when it may go on, having worked on so many bytes since it last asked: at most a block or a piece of a
    /// value, or a chunk that was written.
    fn pause(&self, bytes: usize) -> impl Future<Output = ()>;
}

impl<P: Pace> Pace for &P {
    fn pause(&self, bytes: usize) -> impl Future<Output = ()> {
        P::pause(self, bytes)
    }
}
