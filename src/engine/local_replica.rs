//! What the way of a command depends on, of the group's replica on this core.

/// A replica of a group on this core, as far as it decides where commands for the group go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalReplica {
    /// Its index among the core's replicas.
    pub(crate) group: usize,
    /// Whether it leads and takes commands in.
    pub(crate) leads: bool,
    /// Whether it has no room for commands at the moment.
    pub(crate) is_full: bool,
    /// Whether commands taken in here have no answer yet although it does not lead: newer ones must wait for them.
    pub(crate) has_unsettled: bool,
}
