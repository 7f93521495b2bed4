//! Messages, entries and states as a script shows them.

use std::collections::VecDeque;

use raft::{Counters, PeerStatus, Persist, ProgressState, Raft, Role};
use types::ReplicaId;
use wire::{Body, Entry, EntryKind, HardState, Member, Membership, Message};

use crate::replica::{Disk, membership};

/// `1->2 t3 append after 4@2, commit 4: 5@3 x`
pub(crate) fn message(message: &Message) -> String {
    let Message { from, to, term, body, .. } = message;
    format!("{from}->{to} t{term} {}", self::body(body))
}

/// The word by which a script selects messages.
pub(crate) fn kind(body: &Body) -> &'static str {
    match body {
        Body::Vote { pre: true, .. } => "pre-vote",
        Body::Vote { .. } => "vote",
        Body::VoteReply { pre: true, .. } => "pre-vote-reply",
        Body::VoteReply { .. } => "vote-reply",
        Body::Append { .. } => "append",
        Body::AppendAccepted { .. } => "accepted",
        Body::AppendRejected { .. } => "rejected",
        Body::Snapshot { .. } => "snapshot",
        Body::Heartbeat { .. } => "heartbeat",
        Body::HeartbeatReply { .. } => "heartbeat-reply",
        Body::TimeoutNow => "timeout-now",
    }
}

fn body(body: &Body) -> String {
    let kind = kind(body);
    match body {
        Body::Vote { transfer, last_index, last_term, .. } => {
            let ordered = if *transfer { ", ordered by the leader" } else { "" };
            format!("{kind}, last {last_index}@{last_term}{ordered}")
        }
        Body::VoteReply { granted, .. } => format!("{kind} {}", if *granted { "yes" } else { "no" }),
        Body::Append { prev_index, prev_term, commit, entries } if entries.is_empty() => {
            format!("{kind} after {prev_index}@{prev_term}, commit {commit}: nothing")
        }
        Body::Append { prev_index, prev_term, commit, entries } => {
            format!("{kind} after {prev_index}@{prev_term}, commit {commit}: {}", self::entries(entries))
        }
        Body::AppendAccepted { match_index } => format!("{kind} {match_index}"),
        Body::Snapshot { last_index, last_term } => format!("{kind} {last_index}@{last_term}"),
        Body::AppendRejected { prev_index, hint_index, hint_term } => {
            format!("{kind} {prev_index}, hint {hint_index}@{hint_term}")
        }
        Body::Heartbeat { commit, round, quiesce, .. } => {
            let last = if *quiesce { ", the last for now" } else { "" };
            format!("{kind} {round}, commit {commit}{last}")
        }
        Body::HeartbeatReply { round, .. } => format!("{kind} {round}"),
        Body::TimeoutNow => kind.into(),
    }
}

/// `1@1, 2@1 x, 3@1 <1000 bytes>`; more than four of one term and without payload are shown as a range.
pub(crate) fn entries(entries: &[Entry]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let alike =
            rest.iter().take_while(|other| other.term == first.term && other.payload == first.payload).count();
        let last = &rest[alike - 1];
        if alike > 4 {
            parts.push(format!("{}..{}@{}{}", first.index, last.index, first.term, payload(first)));
        } else {
            parts.extend(rest[..alike].iter().map(entry));
        }
        rest = &rest[alike..];
    }
    parts.join(", ")
}

fn entry(entry: &Entry) -> String {
    format!("{}@{}{}", entry.index, entry.term, payload(entry))
}

fn payload(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Empty => String::new(),
        EntryKind::Batch if entry.payload.len() > 16 => format!(" <{} bytes>", entry.payload.len()),
        EntryKind::Batch => format!(" {}", String::from_utf8_lossy(&entry.payload)),
        EntryKind::Membership => membership(entry).map_or(" ?".into(), |found| format!(" {}", members(&found))),
        other => format!(" {other:?}"),
    }
}

/// `{1,2,3}`, `{1,2,4 and 1,2,3}` for the joint state, `{1,2,3 learners 4}`, and `later` for those who will be learners.
pub(crate) fn members(membership: &Membership) -> String {
    let Membership { voters, outgoing, learners, learners_next } = membership;
    let list = |word: &str, members: &[Member]| {
        let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
        if ids.is_empty() { String::new() } else { format!("{word}{}", ids.join(",")) }
    };
    let parts =
        [list("", voters), list(" and ", outgoing), list(" learners ", learners), list(" later ", learners_next)];
    format!("{{{}}}", parts.concat())
}

pub(crate) fn hard_state(state: &HardState) -> String {
    format!("t{} {}, commit {}", state.term, vote(state.vote), state.commit)
}

fn vote(vote: Option<ReplicaId>) -> String {
    vote.map_or("no vote".into(), |id| format!("vote {id}"))
}

/// `follower of 1, t3`
pub(crate) fn role(raft: &Raft) -> String {
    let role = match (raft.role(), raft.leader()) {
        (Role::Follower, Some(leader)) => format!("follower of {leader}"),
        (Role::Follower, None) => "follower".into(),
        (Role::PreCandidate, _) => "pre-candidate".into(),
        (Role::Candidate, _) => "candidate".into(),
        (Role::Leader, _) => "leader".into(),
    };
    format!("{role}, t{}", raft.term())
}

/// One line of `status`.
pub(crate) fn status(raft: &Raft) -> String {
    let last = raft.last_index();
    let term = raft.term_at(last).unwrap_or(0);
    let (commit, durable) = (raft.commit_index(), raft.durable_index());
    let mut line = format!("{} {}: last {last}@{term}", raft.id(), role(raft));
    if durable != last {
        line += &format!(", durable {durable}");
    }
    line += &format!(", commit {commit}");
    if raft.applied_index() != commit {
        line += &format!(", applied {}", raft.applied_index());
    }
    if raft.is_quiescent() {
        line += ", silent";
    }
    if let Some(to) = raft.transferring_to() {
        line += &format!(", hands over to {to}");
    }
    line
}

/// One line of `progress`.
pub(crate) fn progress(peer: &PeerStatus) -> String {
    let state = match peer.state {
        ProgressState::Probe => "probe",
        ProgressState::Replicate => "replicate",
        ProgressState::Snapshot => "snapshot",
    };
    let PeerStatus { id, match_index, next_index, inflight_count, .. } = peer;
    format!("{id} {state}, match {match_index}, next {next_index}, {inflight_count} under way")
}

/// The log as the replica has it: what is on disk, and over it the writes under way. `|` stands behind the last
/// committed entry.
pub(crate) fn log(raft: &Raft, disk: &Disk, writes: &VecDeque<Persist>) -> String {
    let mut log = disk.entries.clone();
    for persist in writes {
        if persist.reset.is_some() {
            log.clear();
        }
        if let Some(first) = persist.entries.first() {
            log.retain(|entry| entry.index < first.index);
        }
        log.extend(persist.entries.iter().cloned());
    }
    let behind_commit = log.partition_point(|entry| entry.index <= raft.commit_index());
    let (committed, open) = log.split_at(behind_commit);
    let base = raft.base_index();
    let from = if base > 0 { format!("behind {base}: ") } else { String::new() };
    format!("{from}{}", format!("{} | {}", entries(committed), entries(open)).trim())
}

/// The counters that are not zero, by the names of their fields.
pub(crate) fn counters(counters: &Counters) -> String {
    let text = format!("{counters:?}");
    let fields = text.trim_start_matches("Counters {").trim_end_matches('}').split(',').map(str::trim);
    fields.filter(|field| !field.ends_with(": 0")).collect::<Vec<_>>().join(", ")
}
