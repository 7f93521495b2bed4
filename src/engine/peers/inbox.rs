//! Replies and commands that came in frames and were not taken in yet: a turn takes in so many, whatever the frames hold.

use std::collections::VecDeque;

use resp::{ArgRange, Args};
use wire::{Replies, ReplyHead, RequestHead, Requests};

/// The replies of one frame, as far as they were not taken in.
pub(crate) struct ReceivedReplies {
    replies: Replies,
    next: usize,
    /// Where the bytes of the next one begin.
    start: usize,
}

impl ReceivedReplies {
    /// The next reply.
    pub(crate) fn next(&mut self) -> Option<(ReplyHead, &[u8])> {
        let head = *self.replies.heads.get(self.next)?;
        let end = self.start + head.len as usize;
        let bytes = &self.replies.bytes[self.start..end];
        (self.next, self.start) = (self.next + 1, end);
        Some((head, bytes))
    }

    fn is_done(&self) -> bool {
        self.next == self.replies.heads.len()
    }

    fn bytes(&self) -> usize {
        self.replies.bytes.len() + size_of::<ReplyHead>() * self.replies.heads.len()
    }
}

/// The commands of one frame, as far as they were not taken in.
pub(crate) struct ReceivedRequests {
    requests: Requests,
    next: usize,
    /// Number of the first argument of the next one, and where its bytes begin.
    next_argument: usize,
    start: u32,
}

impl ReceivedRequests {
    /// The next command. `ranges` is where its arguments are listed: memory that is used again and again.
    pub(crate) fn next<'a>(&'a mut self, ranges: &'a mut Vec<ArgRange>) -> Option<(RequestHead, Args<'a>)> {
        let head = *self.requests.heads.get(self.next)?;
        ranges.clear();
        // The name is not among them; nobody looks at it.
        ranges.push(ArgRange { start: 0, end: 0 });
        let end = self.next_argument + head.arguments_count as usize;
        for end in &self.requests.ends[self.next_argument..end] {
            ranges.push(ArgRange { start: self.start, end: *end });
            self.start = *end;
        }
        (self.next, self.next_argument) = (self.next + 1, end);
        Some((head, Args::new(&self.requests.bytes, ranges)))
    }

    /// The commands that come next, with the first argument of each.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = (&RequestHead, &[u8])> {
        let Requests { heads, ends, bytes } = &self.requests;
        let (mut argument, mut start) = (self.next_argument, self.start);
        heads[self.next..].iter().map(move |head| {
            let behind = argument + head.arguments_count as usize;
            let first = if head.arguments_count == 0 { start } else { ends[argument] };
            let key = &bytes[start as usize..first as usize];
            if head.arguments_count > 0 {
                start = ends[behind - 1];
            }
            argument = behind;
            (head, key)
        })
    }

    fn is_done(&self) -> bool {
        self.next == self.requests.heads.len()
    }

    fn bytes(&self) -> usize {
        let Requests { heads, ends, bytes } = &self.requests;
        bytes.len() + size_of::<u32>() * ends.len() + size_of::<RequestHead>() * heads.len()
    }
}

/// What one frame has brought.
pub(crate) enum Received {
    /// Replies to commands that this core has forwarded.
    Replies(ReceivedReplies),
    /// Commands for groups led here.
    Requests(ReceivedRequests),
}

impl Received {
    /// Whether all of it was taken in.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Received::Replies(replies) => replies.is_done(),
            Received::Requests(requests) => requests.is_done(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Received::Replies(replies) => replies.bytes(),
            Received::Requests(requests) => requests.bytes(),
        }
    }
}

/// What came over one link and was not taken in, in the order in which it came.
#[derive(Default)]
pub(super) struct Inbox {
    received: VecDeque<Received>,
    bytes: usize,
    /// How many of the first are replies over a connection that has ended.
    ended_count: usize,
}

impl Inbox {
    /// Adds what a frame has brought.
    pub(super) fn push(&mut self, replies: Replies, requests: Requests) {
        if !replies.is_empty() {
            self.push_back(Received::Replies(ReceivedReplies { replies, next: 0, start: 0 }));
        }
        if !requests.is_empty() {
            self.push_back(Received::Requests(ReceivedRequests { requests, next: 0, next_argument: 0, start: 0 }));
        }
    }

    fn push_back(&mut self, received: Received) {
        self.bytes += received.bytes();
        self.received.push_back(received);
    }

    /// Takes out what came first.
    pub(super) fn pop(&mut self) -> Option<Received> {
        let received = self.received.pop_front()?;
        self.bytes -= received.bytes();
        Some(received)
    }

    /// Puts back what was not taken in to its end.
    pub(super) fn restore(&mut self, received: Received) {
        self.bytes += received.bytes();
        self.received.push_front(received);
    }

    /// The connection has ended over which all of this came: the commands are forgotten, the replies still count. Returns whether
    /// there are any.
    pub(super) fn end(&mut self) -> bool {
        self.received.retain(|received| matches!(received, Received::Replies(_)));
        self.bytes = self.held_bytes();
        self.ended_count = self.received.len();
        self.ended_count > 0
    }

    /// What came first was taken in to its end. Returns whether that was the last over a connection that has ended.
    pub(super) fn is_done(&mut self) -> bool {
        let is_of_ended = self.ended_count > 0;
        self.ended_count = self.ended_count.saturating_sub(1);
        is_of_ended && self.ended_count == 0
    }

    /// Whether everything was taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.received.iter().map(Received::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use wire::{RepliesBuilder, ReplyStatus, RequestsBuilder};

    use super::*;

    #[test]
    fn what_frames_have_brought_comes_out_in_order_with_its_bytes() {
        let mut replies = RepliesBuilder::default();
        for (id, text) in [(1, "one"), (2, ""), (3, "three")] {
            replies.push(id, ReplyStatus::Done, |out| out.extend_from_slice(text.as_bytes()));
        }
        let mut requests = RequestsBuilder::default();
        for (id, arguments) in [(7, &["a", "bc"][..]), (8, &[]), (9, &["def"])] {
            let head =
                RequestHead { id, group: 1, arguments_count: 0, command: 0, slot: 0, resp3: false, resumes: false };
            requests.push(head, arguments.iter().map(|argument| argument.as_bytes()));
        }
        let mut inbox = Inbox::default();
        inbox.push(replies.take_up_to(1_000), requests.finish());
        inbox.push(Replies::default(), Requests::default());
        let (mut seen, mut ranges) = (Vec::new(), Vec::new());
        while let Some(mut received) = inbox.pop() {
            // One at a time, as in the smallest slice.
            match &mut received {
                Received::Replies(replies) => {
                    let (head, bytes) = replies.next().unwrap();
                    seen.push(format!("{} {}", head.id, String::from_utf8_lossy(bytes)));
                }
                Received::Requests(requests) => {
                    let (head, args) = requests.next(&mut ranges).unwrap();
                    let words: Vec<_> = args.iter_from(1).map(String::from_utf8_lossy).collect();
                    seen.push(format!("{} {}", head.id, words.join(" ")));
                }
            }
            if !received.is_done() {
                inbox.restore(received);
            }
            assert_eq!(inbox.bytes(), inbox.held_bytes());
        }
        assert_eq!(seen, ["1 one", "2 ", "3 three", "7 a bc", "8 ", "9 def"]);
        assert!(inbox.is_empty() && inbox.bytes() == 0);
    }

    #[test]
    fn what_comes_next_is_seen_ahead() {
        let mut builder = RequestsBuilder::default();
        for (id, arguments) in [(1, &["a", "bc"][..]), (2, &[]), (3, &["def"]), (4, &["", "x"])] {
            let head =
                RequestHead { id, group: 1, arguments_count: 0, command: 0, slot: 0, resp3: false, resumes: false };
            builder.push(head, arguments.iter().map(|argument| argument.as_bytes()));
        }
        let mut inbox = Inbox::default();
        inbox.push(Replies::default(), builder.finish());
        let Some(Received::Requests(mut requests)) = inbox.pop() else { panic!("there are commands") };
        let (mut ranges, mut expected) = (Vec::new(), vec![(1, "a"), (2, ""), (3, "def"), (4, "")]);
        loop {
            let ahead: Vec<(u64, &[u8])> = requests.ahead().map(|(head, key)| (head.id, key)).collect();
            let told: Vec<(u64, &[u8])> = expected.iter().map(|(id, key)| (*id, key.as_bytes())).collect();
            assert_eq!(ahead, told);
            if requests.next(&mut ranges).is_none() {
                break;
            }
            expected.remove(0);
        }
        assert!(expected.is_empty());
    }
}
