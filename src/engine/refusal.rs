//! Why a command is refused: one line gives a reason its message, its counter and its words in the log.
//!
//! Several reasons share a message, since clients know messages and operators want reasons: INFO and the log tell
//! which one it was.

use std::borrow::Cow;

use resp::errors;

/// What a command is answered that can be sent again once there is room.
const OVERLOADED: &str = "TRYAGAIN The node is overloaded, try again";
/// What a write is answered that never ran.
const NOT_APPLIED: &str = "TRYAGAIN Leadership changed before the write was replicated, and it was not applied";
/// What a write is answered whose fate is not known. Nobody sends it again.
const OUTCOME_UNKNOWN: &str =
    "UNKNOWNOUTCOME Leadership was lost before the write was confirmed: it may or may not have been applied";
/// What a read is answered that cannot be carried out at its place any more.
const READ_LOST: &str =
    "TRYAGAIN Leadership was lost between this read and a write behind it: ask again, if that is still of interest";
/// What a read is answered when too much waits for its receiver.
const CHOKED: &str = "TRYAGAIN Too many bytes of replies are waiting to be sent: read them first";
/// What a write is answered that was applied and whose reply found no room.
const REPLY_WITHHELD: &str =
    "ERR the command was applied, but too many bytes of replies are waiting to be sent, and its reply was dropped";
const REPLY_TOO_LONG: &str = "ERR the reply would be longer than 32 MiB: ask for fewer keys at a time";
const DISK_FULL: &str = "DISKFULL The disk is full: only commands that delete (DEL, UNLINK, FLUSHALL and their like) are accepted \
     until there is room, reads go on";
/// What a command that deletes is answered when it would take the room of what must not wait.
const NO_ROOM_TO_FREE: &str = "DISKFULL The disk is full, and the log has no room for commands that delete either: wait until what \
     was deleted is flushed, or free room on the file system; reads go on";
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const UNKNOWN_COMMAND: &str = "ERR the leader runs a release that does not know this command";
const NO_GROUP: &str = "ERR there is no such group: CORACLE GROUPS names them";
const INVALID_KEYS_COUNT: &str = "ERR Invalid slot or number of keys";

/// Whether the log tells of a refusal: of those that the node or its peers cause it does, of a client's own mistakes not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    Operators,
    Client,
}

/// Declares the reasons once, and from them everything that follows from a reason.
macro_rules! refusals {
    ($($variant:ident, $counter:literal, $message:expr, $audience:ident, $reason:literal;)*) => {
        /// A reason for which commands are refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal {
            $(#[doc = concat!("Refused because ", $reason, ".")] $variant,)*
        }

        impl Refusal {
            /// All reasons. A reason's number is its place here.
            pub(crate) const ALL: [Refusal; [$($counter),*].len()] = [$(Refusal::$variant),*];

            /// The name of its counter.
            pub(crate) const fn counter(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $counter,)*
                }
            }

            /// What the counter counts.
            pub(crate) const fn help(self) -> &'static str {
                match self {
                    $(Refusal::$variant => concat!("Commands refused because ", $reason, "."),)*
                }
            }

            /// The reason in the log, behind "commands were refused because".
            pub(crate) const fn reason(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $reason,)*
                }
            }

            /// What the client is told. Clients know these texts to the letter.
            pub(crate) const fn message(self) -> &'static str {
                match self {
                    $(Refusal::$variant => $message,)*
                }
            }

            const fn audience(self) -> Audience {
                match self {
                    $(Refusal::$variant => Audience::$audience,)*
                }
            }
        }
    };
}

refusals! {
    NoLeader, "refused_no_leader", errors::CLUSTERDOWN, Operators,
        "no leader of their group is known";
    NoLeaderInTime, "refused_no_leader_in_time", errors::CLUSTERDOWN, Operators,
        "no leader of their group became known while they waited";
    LeaderSilent, "refused_leader_silent", errors::CLUSTERDOWN, Operators,
        "the core that leads their group is not heard";
    LeaderUnreachable, "refused_leader_unreachable", errors::CLUSTERDOWN, Operators,
        "the link to the core that leads their group is down";
    LeaderBusy, "refused_leader_busy", errors::CLUSTERDOWN, Operators,
        "the core that leads their group took no more commands while they waited";
    QueueFull, "refused_queue_full", OVERLOADED, Operators,
        "too many commands wait for their group already";
    RequestsFull, "refused_requests_full", OVERLOADED, Operators,
        "requests hold all the memory that they may";
    AnswerTimedOut, "refused_answer_timed_out", OVERLOADED, Operators,
        "the core that leads their group did not answer reads in time";
    ReadLost, "refused_read_lost", READ_LOST, Operators,
        "the leadership was lost between a read and a write behind it";
    NotApplied, "refused_not_applied", NOT_APPLIED, Operators,
        "another leader's entry took the place of their batch in the log, so that they never ran";
    OutcomeUnknownLink, "outcome_unknown_link", OUTCOME_UNKNOWN, Operators,
        "the link to the core that they were forwarded to broke before it answered";
    OutcomeUnknownDeposed, "outcome_unknown_deposed", OUTCOME_UNKNOWN, Operators,
        "a former leader that they were forwarded to did not answer";
    OutcomeUnknownTimeout, "outcome_unknown_timeout", OUTCOME_UNKNOWN, Operators,
        "the core that they were forwarded to did not answer writes in time";
    OutcomeUnknownLeadership, "outcome_unknown_leadership", OUTCOME_UNKNOWN, Operators,
        "this core lost the leadership and did not learn in time what became of them";
    OutcomeUnknownSnapshot, "outcome_unknown_snapshot", OUTCOME_UNKNOWN, Operators,
        "a snapshot replaced the state, and it does not tell what became of them";
    RepliesFull, "refused_replies_full", CHOKED, Operators,
        "too many bytes of replies wait for whoever asked";
    ReplyWithheld, "reply_withheld", REPLY_WITHHELD, Operators,
        "they were applied, but too many bytes of replies wait for whoever asked";
    ReplyTooLong, "refused_reply_too_long", REPLY_TOO_LONG, Client,
        "their reply would be too long";
    RowReadsFull, "refused_row_reads_full", OVERLOADED, Operators,
        "too many reads wait for the disk already";
    RowsNotRead, "refused_rows_not_read", OVERLOADED, Operators,
        "the disk did not give what they look for";
    DiskFull, "refused_disk_full", DISK_FULL, Operators,
        "the disk is full, and they do not delete";
    NoRoomToFree, "refused_no_room_to_free", NO_ROOM_TO_FREE, Operators,
        "the disk is full, and the log has no room for commands that delete either";
    OutOfMemory, "refused_out_of_memory", OUT_OF_MEMORY, Operators,
        "keys hold all the memory that they may";
    UnknownCommand, "refused_unknown_command", UNKNOWN_COMMAND, Operators,
        "another core forwarded them that runs a release with more commands";
    CrossSlot, "refused_cross_slot", errors::CROSSSLOT, Client,
        "their keys lie in different slots";
    NoKeys, "refused_no_keys", errors::GETKEYS_NO_KEYS, Client,
        "they name no keys";
    NoGroup, "refused_no_group", NO_GROUP, Client,
        "they name a group that does not exist";
    InvalidSlot, "refused_invalid_slot", errors::INVALID_SLOT, Client,
        "they name a slot that does not exist";
    InvalidKeysCount, "refused_invalid_keys_count", INVALID_KEYS_COUNT, Client,
        "they ask for an invalid number of keys";
}

impl Refusal {
    /// How many reasons there are.
    pub(crate) const COUNT: usize = Refusal::ALL.len();

    /// As an index.
    pub(crate) const fn idx(self) -> usize {
        self as usize
    }

    /// The first word of the message, by which clients tell errors apart.
    pub(crate) fn code(self) -> &'static str {
        self.message().split(' ').next().unwrap_or_default()
    }

    /// The message for [`Refusal::DiskFull`] with what is the matter with the disk.
    pub(crate) fn disk_full_message(fault: Option<&str>) -> Cow<'static, str> {
        match fault {
            Some(fault) => {
                format!("DISKFULL The disk is full ({fault}){}", &DISK_FULL["DISKFULL The disk is full".len()..])
                    .into()
            }
            None => Refusal::DiskFull.message().into(),
        }
    }

    /// Whether a write may have run although it was refused.
    pub(crate) fn is_outcome_unknown(self) -> bool {
        self.message() == OUTCOME_UNKNOWN
    }

    /// Whether the log tells of it: a client's own mistakes only concern that client.
    pub(crate) fn is_logged(self) -> bool {
        self.audience() == Audience::Operators
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_number_and_a_counter_of_its_own() {
        let counters: HashSet<&str> = Refusal::ALL.iter().map(|refusal| refusal.counter()).collect();
        assert_eq!(counters.len(), Refusal::COUNT);
        for (idx, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(refusal.idx(), idx, "{refusal:?}");
        }
    }

    #[test]
    fn messages_begin_with_a_code_that_clients_know() {
        let known = ["CLUSTERDOWN", "TRYAGAIN", "UNKNOWNOUTCOME", "ERR", "DISKFULL", "OOM", "CROSSSLOT"];
        for refusal in Refusal::ALL {
            assert!(known.contains(&refusal.code()), "{refusal:?}: {}", refusal.message());
            assert!(refusal.help().ends_with('.') && refusal.help().contains(refusal.reason()), "{refusal:?}");
        }
    }

    #[test]
    fn only_writes_whose_fate_is_unknown_say_so() {
        for refusal in Refusal::ALL {
            let counted_as_unknown = refusal.counter().starts_with("outcome_unknown_");
            assert_eq!(refusal.is_outcome_unknown(), counted_as_unknown, "{refusal:?}");
            assert_eq!(refusal.code() == "UNKNOWNOUTCOME", counted_as_unknown, "{refusal:?}");
        }
    }

    #[test]
    fn the_message_of_a_full_disk_names_the_fault_if_it_is_known() {
        assert_eq!(
            Refusal::disk_full_message(Some("no space left")),
            "DISKFULL The disk is full (no space left): only commands that delete (DEL, UNLINK, FLUSHALL and their like) are \
             accepted until there is room, reads go on"
        );
        assert_eq!(Refusal::disk_full_message(None), Refusal::DiskFull.message());
    }
}
