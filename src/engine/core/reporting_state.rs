//! How far the reports of a core are.

use std::cell::Cell;
use std::rc::Rc;

use types::Instant;

/// How far a core's reports are.
#[derive(Default)]
pub(super) struct Reporting {
    /// When the next one begins.
    pub(super) next_at: Instant,
    /// With which group the one under way goes on.
    pub(super) next_group: Option<usize>,
    pub(super) next_disk_look: Instant,
    pub(super) disk: Rc<Cell<DiskLook>>,
}

/// What is known of the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskLook {
    /// Bytes in use, and in all.
    pub(super) found: Option<(u64, u64)>,
    pub(super) is_under_way: bool,
}
