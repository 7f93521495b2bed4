//! What is being given up in slices, and how far that has come.

use std::collections::HashSet;

use crate::origin::{LinkId, Source};
use crate::refusal::Refusal;

/// Which of the commands in flight over a link nobody will answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SweepScope {
    /// All: the link is gone, or the way back.
    Link,
    /// Those of the routes that are marked as failing: the core behind the link does not lead their groups any more.
    DeposedRoutes,
}

/// A way through the commands in flight over a link that nobody will answer, from the newest to the oldest, since it
/// depends on the newer ones of a source what becomes of an older read.
pub(super) struct Sweep {
    pub(super) link: LinkId,
    pub(super) scope: SweepScope,
    /// Commands with this number and above were looked at.
    pub(super) end_id: u64,
    /// Who has sent writes that may have run, among those that were looked at, and to which route.
    pub(super) writers: HashSet<(usize, Source)>,
}

/// A way through the commands that wait for a route, for those that have waited for too long.
pub(super) struct LateLook {
    pub(super) route: usize,
    /// The place of the next command.
    pub(super) from: i64,
    /// What they have waited for.
    pub(super) refusal: Refusal,
}
