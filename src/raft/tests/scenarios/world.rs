//! A few replicas, the network between them, and what is told about both.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use raft::{Purpose, Raft};
use types::{Index, ReplicaId};
use wire::{Message, SnapshotMeta};

use crate::check::Checker;
use crate::network::{Network, Selection};
use crate::replica::{Replica, membership};
use crate::show;

/// Rounds of deliveries after which a cluster that should have come to rest is given up.
const ROUNDS_MAX: usize = 1_000;

/// What the commands of a script work on.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) replicas: BTreeMap<ReplicaId, Replica>,
    pub(crate) network: Network,
    pub(crate) checker: Checker,
    pub(crate) reads_count: u64,
    /// Output of the block.
    pub(crate) out: String,
}

impl World {
    /// A line of output at the margin.
    pub(crate) fn say(&mut self, line: &str) {
        self.out += line;
        self.out += "\n";
    }

    /// A line about what a replica did.
    fn tell(&mut self, line: &str) {
        writeln!(self.out, "  {line}").unwrap();
    }

    pub(crate) fn replica(&mut self, id: ReplicaId) -> Result<&mut Replica, String> {
        self.replicas.get_mut(&id).ok_or_else(|| format!("there is no replica {id}"))
    }

    pub(crate) fn raft(&mut self, id: ReplicaId) -> Result<&mut Raft, String> {
        self.replica(id)?.raft.as_mut().ok_or_else(|| format!("{id} is down"))
    }

    pub(crate) fn running(&self) -> Vec<ReplicaId> {
        self.replicas.iter().filter(|(_, replica)| replica.raft.is_some()).map(|(id, _)| *id).collect()
    }

    pub(crate) fn deliver(&mut self, selection: &Selection) -> Result<(), String> {
        let taken = self.network.take(selection);
        if taken.is_empty() {
            self.say("nothing is on its way");
        }
        for message in taken {
            self.deliver_one(message)?;
        }
        Ok(())
    }

    fn deliver_one(&mut self, message: Message) -> Result<(), String> {
        let to = message.to;
        let line = show::message(&message);
        let replica = self.replica(to)?;
        let clock = replica.clock;
        match &mut replica.raft {
            Some(raft) => {
                raft.step(message, clock);
                self.say(&line);
                self.drain(to)
            }
            None => {
                self.say(&format!("{line} (down)"));
                Ok(())
            }
        }
    }

    /// Does what a replica wants done.
    pub(crate) fn drain(&mut self, id: ReplicaId) -> Result<(), String> {
        loop {
            self.show_role(id)?;
            let replica = self.replica(id)?;
            let clock = replica.clock;
            let Some(raft) = &mut replica.raft else { return Ok(()) };
            if raft.has_ready() {
                raft.ready(&mut replica.ready);
                self.carry_out(id)?;
            } else if !replica.manual && !replica.writes.is_empty() {
                self.persist(id, usize::MAX)?;
            } else if !replica.manual && !replica.log_reads.is_empty() {
                let read = replica.log_reads.pop_front().unwrap();
                let entries = replica.read_log(&read);
                self.raft(id)?.log_read(read.purpose, entries, clock);
            } else {
                return Ok(());
            }
        }
    }

    fn show_role(&mut self, id: ReplicaId) -> Result<(), String> {
        let replica = self.replicas.get_mut(&id).unwrap();
        let Some(raft) = &replica.raft else { return Ok(()) };
        self.checker.role(raft)?;
        let role = show::role(raft);
        if role != replica.shown {
            replica.shown = role.clone();
            self.tell(&format!("{id} is {role}"));
        }
        Ok(())
    }

    /// Does everything in the replica's `Ready`.
    fn carry_out(&mut self, id: ReplicaId) -> Result<(), String> {
        let mut ready = std::mem::take(&mut self.replica(id)?.ready);
        for message in ready.messages.drain(..) {
            self.post(message)?;
        }
        if let Some(persist) = ready.persist.take() {
            if self.replica(id)?.manual {
                let reset = persist.reset.map(|(index, term)| format!("the log begins behind {index}@{term}"));
                let state = persist.hard_state.as_ref().map(show::hard_state);
                let entries = Some(show::entries(&persist.entries)).filter(|shown| !shown.is_empty());
                let parts: Vec<String> = [reset, state, entries].into_iter().flatten().collect();
                self.tell(&format!("{id} writes #{}: {}", persist.seq, parts.join("; ")));
            }
            self.replica(id)?.writes.push_back(persist);
        }
        if let Some(last) = ready.committed.last() {
            self.tell(&format!("{id} applies {}", show::entries(&ready.committed)));
            for entry in &ready.committed {
                self.checker.applied(id, entry)?;
                if let Some(membership) = membership(entry) {
                    self.replica(id)?.membership = membership;
                }
            }
            self.replica(id)?.applied = last.index;
            self.raft(id)?.applied(last.index);
        }
        for read in ready.log_reads.drain(..) {
            let purpose = match read.purpose {
                Purpose::Apply => "to apply".into(),
                Purpose::Peer(to) => format!("for {to}"),
            };
            self.tell(&format!("{id} reads its log {}..{} {purpose}", read.first, read.last));
            self.replica(id)?.log_reads.push_back(read);
        }
        if let Some(membership) = ready.membership.take() {
            let shown = std::mem::replace(&mut self.replica(id)?.shown_members, membership.clone());
            if shown != membership {
                self.tell(&format!("{id} counts on {}", show::members(&membership)));
            }
        }
        if let Some(fetch) = ready.snapshot_request.take() {
            self.tell(&format!(
                "{id} wants the state up to {}@{} from {}",
                fetch.last_index, fetch.last_term, fetch.from
            ));
        }
        for read in &ready.reads {
            self.tell(&format!("{id} may serve read {} at {}", read.ctx, read.index));
        }
        for ctx in &ready.reads_failed {
            self.tell(&format!("{id} gives up read {ctx}"));
        }
        self.replica(id)?.ready = ready;
        Ok(())
    }

    fn post(&mut self, message: Message) -> Result<(), String> {
        let sender = &self.replicas[&message.from];
        self.checker.leaving(&message, &sender.disk)?;
        let lost = self.network.is_cut(&message);
        self.tell(&format!("{}{}", show::message(&message), if lost { " (lost)" } else { "" }));
        if !lost {
            self.network.flying.push(message);
        }
        Ok(())
    }

    /// The first `count_max` writes under way become durable.
    pub(crate) fn persist(&mut self, id: ReplicaId, count_max: usize) -> Result<(), String> {
        let replica = self.replica(id)?;
        let count = count_max.min(replica.writes.len());
        let mut done = None;
        for persist in replica.writes.drain(..count) {
            done = Some(persist.seq);
            replica.disk.write(persist);
        }
        let clock = replica.clock;
        if let (Some(seq), Some(raft)) = (done, &mut replica.raft) {
            raft.persisted(seq, clock);
        }
        self.drain(id)
    }

    /// The store of a replica makes a durable snapshot of what is applied.
    pub(crate) fn snapshot(&mut self, id: ReplicaId) -> Result<(), String> {
        let replica = self.replica(id)?;
        let (last_index, membership) = (replica.applied, replica.membership.clone());
        let last_term = self.raft(id)?.term_at(last_index).ok_or("what is applied has left the log")?;
        let meta = SnapshotMeta { last_index, last_term, membership };
        self.raft(id)?.set_snapshot(meta.clone());
        self.replica(id)?.disk.snapshot = Some(meta);
        self.drain(id)
    }

    /// The beginning of a log is dropped, up to what the snapshot holds.
    pub(crate) fn compact(&mut self, id: ReplicaId, index: Option<Index>) -> Result<(), String> {
        let covered = self.raft(id)?.snapshot().map_or(0, |snapshot| snapshot.last_index);
        let index = index.unwrap_or(covered);
        self.raft(id)?.compact(index);
        self.replica(id)?.disk.compact(index);
        self.drain(id)
    }

    /// A replica has fetched the snapshot of another one and made it durable.
    pub(crate) fn restore(&mut self, id: ReplicaId, meta: SnapshotMeta) -> Result<(), String> {
        let clock = self.replica(id)?.clock;
        // Durable before Raft hears of it, unless the log has brought the replica further by itself.
        let useful = meta.last_index > self.raft(id)?.commit_index();
        if useful {
            self.replica(id)?.disk.snapshot = Some(meta.clone());
        }
        match self.raft(id)?.restore(meta.clone(), clock) {
            Ok(()) => {
                let replica = self.replica(id)?;
                (replica.applied, replica.membership) = (meta.last_index, meta.membership);
                self.say(&format!("{id} stands at {}", meta.last_index));
            }
            Err(error) => self.say(&format!("refused: {error}")),
        }
        self.drain(id)
    }

    /// The clock of a replica moves on; then its tick.
    pub(crate) fn tick(&mut self, id: ReplicaId, by: Duration) -> Result<(), String> {
        let replica = self.replica(id)?;
        replica.clock += by;
        let clock = replica.clock;
        if let Some(raft) = &mut replica.raft {
            raft.tick(clock);
        }
        self.drain(id)
    }

    /// Delivers until nothing is on its way. Manual disks are left alone.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let flying = std::mem::take(&mut self.network.flying);
            if flying.is_empty() {
                return Ok(());
            }
            for message in flying {
                self.deliver_one(message)?;
            }
        }
        Err("the cluster does not come to rest".into())
    }

    /// Answers the log reads of a replica.
    pub(crate) fn answer(&mut self, id: ReplicaId) -> Result<(), String> {
        let replica = self.replica(id)?;
        let reads: Vec<_> = replica.log_reads.drain(..).collect();
        for read in reads {
            let replica = self.replica(id)?;
            let (entries, clock) = (replica.read_log(&read), replica.clock);
            self.raft(id)?.log_read(read.purpose, entries, clock);
        }
        self.drain(id)
    }
}
