//! What is being given up in slices, and how far that has come.

use std::collections::{HashMap, HashSet};

use crate::origin::{LinkId, Origin, Source};
use crate::refusal::Refusal;
use crate::replies::ReplySink;

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
    /// What is known of those whose commands were looked at.
    pub(super) askers: Askers,
}

/// What is known of those who have sent commands by a route, as far as their commands were looked at.
#[derive(Default)]
pub(super) struct Askers {
    /// Who has sent writes that may have run.
    writers: HashSet<(usize, Source)>,
    /// The last request of each that was answered before its turn, when the first of its commands was looked at.
    answered: HashMap<(usize, Source), Option<u64>>,
}

impl Askers {
    /// Keeps what concerns routes of which that is true.
    pub(super) fn retain(&mut self, is_kept: impl Fn(usize) -> bool) {
        self.writers.retain(|(route, _)| is_kept(*route));
        self.answered.retain(|(route, _), _| is_kept(*route));
    }

    /// A write may have run.
    pub(super) fn wrote(&mut self, route: usize, source: Source) {
        self.writers.insert((route, source));
    }

    /// Whether a command that came behind this one from the same source is answered, or is a write that may have run. Then it is too
    /// late for this one to run: it would show what came behind that.
    ///
    /// Replies of reads come in any order, since rows must be read for some of them.
    pub(super) fn are_ahead_of(&mut self, route: usize, origin: Origin, out: &impl ReplySink) -> bool {
        let of = (route, origin.source());
        let Origin::Client { conn, seq, .. } = origin else { return self.writers.contains(&of) };
        let answered = *self.answered.entry(of).or_insert_with(|| out.last_early_by(conn, route));
        answered.is_some_and(|last| seq < last) || self.writers.contains(&of)
    }
}

/// A way through the commands that wait for a route, for those that have waited for too long.
pub(super) struct LateLook {
    pub(super) route: usize,
    /// The place of the next command.
    pub(super) from: i64,
    /// What they have waited for.
    pub(super) refusal: Refusal,
}
