//! What the way of a command depends on, of the group's replica on this core.

use resp::Command;

/// A replica of a group on this core, as far as it decides where commands for the group go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalReplica {
    /// Its index among the core's replicas.
    pub(crate) group: usize,
    /// Whether it leads and takes commands in.
    pub(crate) leads: bool,
    /// Whether it has no room for commands at the moment.
    pub(crate) is_full: bool,
    /// Whether the log is as long as it may be because of this group. Then writes wait; reads need no log.
    pub(crate) must_writers_wait: bool,
    /// Whether commands taken in here have no answer yet although it does not lead: newer ones must wait for them.
    pub(crate) has_unsettled: bool,
}

impl LocalReplica {
    /// Whether it has room for a command at the moment.
    pub(crate) fn has_room_for(&self, command: &Command) -> bool {
        !(self.is_full || self.must_writers_wait && command.is_write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_holds_up_writes_and_a_full_group_all_commands() {
        let replica =
            LocalReplica { group: 0, leads: true, is_full: false, must_writers_wait: false, has_unsettled: false };
        let command = |name: &[u8]| resp::lookup(name).unwrap();
        let takes = |replica: LocalReplica| [b"get", b"set"].map(|name| replica.has_room_for(command(name)));
        assert_eq!(takes(replica), [true, true]);
        assert_eq!(takes(LocalReplica { must_writers_wait: true, ..replica }), [true, false]);
        assert_eq!(takes(LocalReplica { is_full: true, ..replica }), [false, false]);
    }
}
