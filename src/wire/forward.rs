//! Commands on their way to the core that leads their group, and the replies on their way back.
//!
//! Used between nodes (inside a [`crate::Frame`]) and between the cores of a node alike.

use alloc::vec::Vec;

use rkyv::{Archive, Serialize};
use types::GroupId;

/// One forwarded command. Its arguments are the next `arguments_count` of the run; the command's name is
/// not among them.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Chosen by the sender, repeated in the reply.
    pub id: u64,
    /// The group meant.
    pub group: u32,
    /// How many arguments follow the name.
    pub arguments_count: u32,
    /// Number of the command in the command table.
    pub command: u16,
    /// Slot of its keys; 0 for a command on a whole group.
    pub slot: u16,
    /// Whether the reply is to be written in RESP3.
    pub resp3: bool,
    /// Whether the sender has an answer to every earlier command for this group. A core that has refused one refuses
    /// all that follow until such a command, so that none overtakes those that were refused.
    pub resumes: bool,
}

/// Commands for one core, in order.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// The commands.
    pub heads: Vec<RequestHead>,
    /// End of each argument within `bytes`; ascending.
    pub ends: Vec<u32>,
    /// All arguments back to back.
    pub bytes: Vec<u8>,
}

/// How a forwarded command ended.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplyStatus {
    /// It ran; the bytes are the reply as the client shall see it (which may be an error).
    Done,
    /// It did not run and will not: the receiver does not lead the group. The sender looks for the leader.
    NotLeader,
}

/// One reply; its bytes are the next `len` of the run.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHead {
    /// Repeats the request's id.
    pub id: u64,
    /// Length of the reply in bytes.
    pub len: u32,
    /// How the command ended.
    pub status: ReplyStatus,
}

/// Replies for one core.
#[derive(Clone, Debug, Default)]
pub struct Replies {
    /// The replies.
    pub heads: Vec<ReplyHead>,
    /// Their bytes back to back.
    pub bytes: Vec<u8>,
}

impl Requests {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Adds a command with its arguments (the name left out); `arguments_count` of the head is filled in.
    pub fn push<'a>(&mut self, mut head: RequestHead, arguments: impl Iterator<Item = &'a [u8]>) {
        let before = self.ends.len();
        for argument in arguments {
            self.bytes.extend_from_slice(argument);
            self.ends.push(self.bytes.len() as u32);
        }
        head.arguments_count = (self.ends.len() - before) as u32;
        self.heads.push(head);
    }
}

impl Replies {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Keeps the first replies, up to `bytes_max` bytes but at least one, and returns the others.
    pub fn split_off_behind(&mut self, bytes_max: usize) -> Replies {
        let mut bytes = 0;
        let mut count = 0;
        for head in &self.heads {
            if count > 0 && bytes + head.len as usize > bytes_max {
                break;
            }
            bytes += head.len as usize;
            count += 1;
        }
        Replies { heads: self.heads.split_off(count), bytes: self.bytes.split_off(bytes) }
    }

    /// Adds a reply whose bytes `write` appends.
    pub fn push(&mut self, id: u64, status: ReplyStatus, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.heads.push(ReplyHead { id, len: (self.bytes.len() - before) as u32, status });
    }
}

impl RequestHead {
    /// The group meant.
    pub fn group(&self) -> GroupId {
        GroupId(self.group)
    }
}

impl ArchivedRequestHead {
    pub(crate) fn to_native(&self) -> RequestHead {
        RequestHead {
            id: self.id.to_native(),
            group: self.group.to_native(),
            arguments_count: self.arguments_count.to_native(),
            command: self.command.to_native(),
            slot: self.slot.to_native(),
            resp3: self.resp3,
            resumes: self.resumes,
        }
    }
}

impl ArchivedReplyHead {
    pub(crate) fn to_native(&self) -> Option<ReplyHead> {
        let status = match self.status {
            ArchivedReplyStatus::Done => ReplyStatus::Done,
            ArchivedReplyStatus::NotLeader => ReplyStatus::NotLeader,
        };
        Some(ReplyHead { id: self.id.to_native(), len: self.len.to_native(), status })
    }
}
