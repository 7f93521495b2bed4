//! Commands on their way to the core that leads their group, and the replies on their way back.
//!
//! Used between nodes (inside a [`crate::Frame`]) and between the cores of a node alike.

use alloc::vec::Vec;

use bytes::Bytes;
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
    /// All arguments back to back. Shared with whoever may have to send them again.
    pub bytes: Bytes,
}

/// Commands for one core that are being put together.
#[derive(Debug, Default)]
pub struct RequestsBuilder {
    heads: Vec<RequestHead>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
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
    pub bytes: Bytes,
}

/// Replies for one core that are being put together.
#[derive(Debug, Default)]
pub struct RepliesBuilder {
    heads: Vec<ReplyHead>,
    bytes: Vec<u8>,
}

impl Requests {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

impl RequestsBuilder {
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

    /// End of each argument so far.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// All arguments so far, back to back.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the commands and their arguments.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len() + size_of::<RequestHead>() * self.heads.len()
    }

    /// Takes the commands out.
    pub fn finish(&mut self) -> Requests {
        let RequestsBuilder { heads, ends, bytes } = core::mem::take(self);
        Requests { heads, ends, bytes: bytes.into() }
    }
}

impl Replies {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

impl RepliesBuilder {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Adds a reply whose bytes `write` appends.
    pub fn push(&mut self, id: u64, status: ReplyStatus, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.heads.push(ReplyHead { id, len: (self.bytes.len() - before) as u32, status });
    }

    /// Bytes of the replies.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + size_of::<ReplyHead>() * self.heads.len()
    }

    /// Takes the first replies out, up to `bytes_max` bytes but at least one.
    pub fn take_up_to(&mut self, bytes_max: usize) -> Replies {
        let mut bytes = 0;
        let mut count = 0;
        for head in &self.heads {
            if count > 0 && bytes + head.len as usize > bytes_max {
                break;
            }
            bytes += head.len as usize;
            count += 1;
        }
        let rest_heads = self.heads.split_off(count);
        let rest_bytes = self.bytes.split_off(bytes);
        Replies {
            heads: core::mem::replace(&mut self.heads, rest_heads),
            bytes: core::mem::replace(&mut self.bytes, rest_bytes).into(),
        }
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
