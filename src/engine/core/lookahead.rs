//! When it is time to look at the commands of a client that come next, of which `prefetch` has the rows loaded.

use resp::Command;

/// How far the commands of a client were looked at ahead.
#[derive(Debug, Default)]
pub(super) struct Lookahead {
    /// Whether the last command read rows here. A pipeline goes on as it has begun, as a rule.
    is_reading: bool,
    /// Commands whose rows are on the way.
    count: usize,
}

impl Lookahead {
    /// Another client's turn.
    pub(super) fn begin(&mut self) {
        *self = Lookahead::default();
    }

    /// A command is executed on a group here.
    #[inline]
    pub(super) fn note(&mut self, command: &Command) {
        self.is_reading = !command.is_write();
    }

    /// So many commands were looked at. Where nothing is to be seen, the next one is not to look again.
    pub(super) fn looked_at(&mut self, count: usize) {
        self.count = count.max(1);
    }

    /// A command was executed.
    pub(super) fn executed(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Whether it is time to look at the commands that come next.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.is_reading && self.count == 0
    }
}
