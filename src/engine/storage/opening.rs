//! Opening what a core keeps on its disk: told if it takes long.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use host::{Clock, Spawn, TaskClass};
use types::CoreAddr;

/// How often it is told. An opening that takes less tells nothing.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// A core that is being opened. Dropping it ends the telling.
pub(super) struct Opening {
    /// What is being read; `None` once all was.
    reads: Rc<Cell<Option<&'static str>>>,
}

impl Opening {
    /// Begins with what is read first.
    pub(super) fn begin<H: Clock + Spawn + Clone + 'static>(
        host: &H,
        place: CoreAddr,
        first: &'static str,
    ) -> Opening {
        let reads = Rc::new(Cell::new(Some(first)));
        let (begun_at, told) = (host.now(), Rc::clone(&reads));
        let (clock, mut at) = (host.clone(), begun_at + TOLD_EVERY);
        host.spawn(TaskClass::Background, async move {
            loop {
                clock.sleep_until(at).await;
                let Some(reads) = told.get() else { return };
                let elapsed = clock.now().since(begun_at);
                tracing::info!(core = %place, ?elapsed, "opening takes long: reading {reads}");
                at = clock.now() + TOLD_EVERY;
            }
        });
        Opening { reads }
    }

    /// What was read is here; this comes next.
    pub(super) fn go_on(&self, next: &'static str) {
        self.reads.set(Some(next));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.reads.set(None);
    }
}
