//! How full the queues of a core are, against what bounds them.
//!
//! Limits are looked at before something is taken in, so a queue may exceed its limit by what is taken in at once: a
//! command, or all commands of one run of bytes. Those bounds are put together here, and nowhere else relied on.

use types::limits::REPLY_BYTES_MAX;

use crate::core::{Core, CoreHost};
use crate::limits::{CHECKPOINT_TURN_BYTES, CHECKPOINT_WALKED_BYTES_MAX, CHUNKS_COUNT_MAX};
use crate::links::HELD_OVERHEAD_BYTES;
use crate::outlets::SHORT_REPLY_BYTES_MAX;
use crate::watch::QueueLen;

/// How many kinds of queues there are.
const KINDS_COUNT: usize = 18;
/// What an entry's payload has beside the bytes of its commands, and more.
const ENTRY_OVERHEAD_BYTES: usize = 64 << 10;

impl<H: CoreHost> Core<H> {
    /// The queues of this core, the fullest of each kind.
    pub(crate) fn queue_lens(&self) -> [QueueLen; KINDS_COUNT] {
        let [requests, input, replies] = self.client_queues();
        let [commands, messages, held, chunks] = self.link_queues();
        let [forming, batch, uncommitted, reads] = self.group_queues();
        let [parked, parked_bytes, forwards, forwards_bytes] = self.forward_queues();
        let copies =
            self.checkpoints.writing.as_ref().map_or(0, |one| self.groups[one.group].keyspace.walked_bytes());
        // What clients do until they are held back, in one turn: much less than once more as much.
        let copies_max = 2 * CHECKPOINT_WALKED_BYTES_MAX + CHECKPOINT_TURN_BYTES;
        // One per link is under way, one per group waits.
        let fetches_max = self.out.links.count() as usize + self.config.map.groups.len();
        [
            requests,
            input,
            replies,
            commands,
            messages,
            held,
            chunks,
            forming,
            batch,
            uncommitted,
            reads,
            parked,
            parked_bytes,
            forwards,
            forwards_bytes,
            queue("copies of keys for a checkpoint, bytes", copies, copies_max),
            queue("checkpoints being taken over", self.fetches.count(), fetches_max),
            queue("checkpoints being handed over", self.serving.files_count(), self.config.limits.served_files_max),
        ]
    }

    fn client_queues(&self) -> [QueueLen; 3] {
        let limits = &self.config.limits;
        let (mut requests, mut input, mut replies) = (0, 0, 0);
        for client in self.out.conns.clients() {
            requests = requests.max(client.replies.open_count());
            input = input.max(client.input.as_ref().map_or(0, |input| input.rest.len()));
            replies = replies.max(client.replies.bytes() + client.sending_bytes);
        }
        // A command in the middle of which a client is, and what it sends before it is paused.
        let input_max = 2 * limits.client_input_bytes_max + limits.commands.command_bytes_max;
        // One reply may exceed the limit, and short ones are not held back.
        let short_bytes = limits.client_requests_count_max * SHORT_REPLY_BYTES_MAX;
        let replies_max = limits.client_replies_bytes_max + REPLY_BYTES_MAX + short_bytes;
        [
            queue("requests of a client", requests, limits.client_requests_count_max),
            queue("input of a client, bytes", input, input_max),
            queue("replies for a client, bytes", replies, replies_max),
        ]
    }

    fn link_queues(&self) -> [QueueLen; 4] {
        let limits = &self.config.limits;
        let (mut commands, mut messages, mut held, mut chunks) = (0, 0, 0, 0);
        for link in self.out.links.iter() {
            commands = commands.max(link.commands_bytes);
            messages = messages.max(link.messages_bytes);
            held = held.max(link.held_bytes);
            chunks = chunks.max(link.outbox.chunks.len());
        }
        // Beyond the limit come a command and a reply, and short replies to all that was forwarded before.
        let short_bytes = limits.forwards_count_max * SHORT_REPLY_BYTES_MAX;
        let commands_max =
            limits.outbox_bytes_max + limits.commands.command_bytes_max + REPLY_BYTES_MAX + short_bytes;
        let held_max = limits.held_bytes_max + limits.commands.command_bytes_max + HELD_OVERHEAD_BYTES;
        // A message that is the only one may be of any length that Raft makes.
        let messages_max =
            limits.outbox_messages_bytes_max.max(self.config.inflight_bytes_max + self.entry_bytes_max());
        [
            queue("commands and replies for a core, bytes", commands, commands_max),
            queue("Raft messages for a core, bytes", messages, messages_max),
            queue("commands of a core that wait, bytes", held, held_max),
            queue("pieces of checkpoints for a core", chunks, CHUNKS_COUNT_MAX),
        ]
    }

    fn group_queues(&self) -> [QueueLen; 4] {
        let limits = &self.config.limits;
        let (mut forming, mut batch, mut uncommitted, mut reads) = (0, 0, 0, 0);
        for group in &self.groups {
            forming = forming.max(group.forming.bytes());
            batch = batch.max(group.forming.oldest_bytes());
            uncommitted = uncommitted.max(group.raft.uncommitted_bytes());
            reads += group.waiting_reads.len() + group.index_reads.values().map(Vec::len).sum::<usize>();
        }
        let run_bytes = limits.client_input_bytes_max + limits.commands.command_bytes_max;
        let forming_max = limits.forming_bytes_max + run_bytes + ENTRY_OVERHEAD_BYTES;
        let uncommitted_max = self.config.uncommitted_bytes_max.max(self.entry_bytes_max()) + ENTRY_OVERHEAD_BYTES;
        let sources_count = self.out.links.count() as usize + 1;
        [
            queue("commands to be proposed, bytes", forming, forming_max),
            queue("commands of a batch, bytes", batch, self.entry_bytes_max()),
            queue("what a group has not committed, bytes", uncommitted, uncommitted_max),
            queue("reads that wait", reads, sources_count * self.commands_under_way_max()),
        ]
    }

    fn forward_queues(&self) -> [QueueLen; 4] {
        let limits = &self.config.limits;
        let commands_max = self.commands_under_way_max();
        // What is taken in at once, and what looks for another leader, beyond the limit.
        let bytes_max = limits.forwards_bytes_max + commands_max * limits.commands.command_bytes_max;
        [
            queue("commands that wait for a leader", self.lanes.parked_count(), commands_max),
            queue("commands that wait for a leader, bytes", self.lanes.parked_bytes(), bytes_max),
            queue("commands forwarded", self.forwards.count(), commands_max),
            queue("commands forwarded, bytes", self.forwards.bytes(), bytes_max),
        ]
    }

    /// Longest payload of an entry: a batch is full with the command by which it reaches its limit.
    fn entry_bytes_max(&self) -> usize {
        self.config.batch_bytes_max + self.config.limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES
    }

    /// Most commands of its own clients that this core has under way with others: up to the limits, those of one run of
    /// bytes more, and those that were taken in here when a leadership was lost.
    fn commands_under_way_max(&self) -> usize {
        let limits = &self.config.limits;
        let of_clients = (self.config.clients_count_max + 1) * limits.client_requests_count_max;
        limits.forwards_count_max + limits.parked_count_max + of_clients
    }
}

fn queue(name: &'static str, len: usize, max: usize) -> QueueLen {
    QueueLen { name, len: len as u64, max: max as u64 }
}
