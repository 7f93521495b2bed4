//! Steps and states in words. The words of a step name it: a run can be told, and taken again, by them.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use wire::{Body, Message};

use super::space::{Facts, Input, Space, id_of, voters_behind};
use super::state::{Action, State};
use crate::{Change, Role};

/// A step that leads from `state` to `next`, if it leads anywhere.
pub(super) fn step(space: &Space, state: &State, action: Action, next: Option<&State>) -> String {
    let (text, crashes) = match action {
        Action::Tick => ("a tick passes".to_string(), false),
        Action::Do { replica_idx, input, crashes } => {
            let id = id_of(usize::from(replica_idx));
            (format!("{id} {}", local(space, input)), crashes)
        }
        Action::Receive { message, comes_again, crashes } => {
            let again = if comes_again { ", which will come again" } else { "" };
            (format!("{}{again}", message_in_words(space.message(message))), crashes)
        }
    };
    let crash = if crashes { ", and crashes before that is durable" } else { "" };
    let lost = next.map_or_else(Vec::new, |next| lost(space, state, action, next));
    let lost: String = lost.iter().map(|message| format!(" [lost: {}]", message_in_words(message))).collect();
    format!("{text}{crash}{lost}")
}

/// The messages that were under way, or were sent, and are so no more, though they were not received.
fn lost<'a>(space: &'a Space, state: &State, action: Action, next: &State) -> Vec<&'a Message> {
    let (input, crashes) = match action {
        Action::Tick => return Vec::new(),
        Action::Do { input, crashes, .. } => (input, crashes),
        Action::Receive { message, crashes, .. } => (Input::Message(message), crashes),
    };
    let actor = (0..state.replicas.len()).find(|idx| match action {
        Action::Do { replica_idx, .. } => usize::from(replica_idx) == *idx,
        Action::Receive { message, .. } => space.letter(message).to == id_of(*idx),
        Action::Tick => false,
    });
    let outcome = actor.and_then(|idx| space.known(state.replicas[idx], input, crashes));
    let sent = outcome.into_iter().flat_map(|outcome| outcome.sent.iter().copied());
    let mut gone: Vec<u32> =
        state.letters().chain(sent).filter(|letter| !next.letters().any(|left| left == *letter)).collect();
    gone.sort_unstable();
    gone.dedup();
    gone.retain(|letter| input != Input::Message(*letter) && !next.is_dead(space, *letter));
    gone.into_iter().map(|letter| space.message(letter)).collect()
}

fn local(space: &Space, input: Input) -> String {
    match input {
        Input::Message(message) => message_in_words(space.message(message)),
        Input::ElectionTimeout => "misses a leader".into(),
        Input::Heartbeat => "sends heartbeats".into(),
        Input::QuorumLost => "has heard no majority for long".into(),
        Input::TransferTimeout => "gives its transfer up".into(),
        Input::Propose(nth) => format!("proposes batch {nth}"),
        Input::Change(nth) => {
            let changes = space.scenario.changes[usize::from(nth)].iter().map(|change| match change {
                Change::AddLearner(member) => format!("{} learns", member.id),
                Change::Promote(id) => format!("{id} votes"),
                Change::Remove(id) => format!("{id} leaves"),
            });
            format!("is asked that {}", changes.collect::<Vec<_>>().join(", "))
        }
        Input::Transfer(to) => format!("hands over to {to}"),
        Input::Compact => "makes its state durable and drops its log".into(),
        Input::Restore(snapshot) => format!("takes over state {snapshot}"),
        Input::Read(index) => format!("is asked to read what is committed up to {index}"),
        Input::Tick => "lets a tick pass".into(),
        Input::Persist => "completes a write".into(),
        Input::Crash(0) => "crashes and starts again".into(),
        Input::Crash(survivors) => format!("crashes and starts again; {survivors} of its writes were made"),
    }
}

fn message_in_words(message: &Message) -> String {
    let Message { from, to, term, body, .. } = message;
    let what = match body {
        Body::Vote { pre, transfer, last_index, last_term } => {
            let pre = if *pre { "Pre-" } else { "" };
            let ordered = if *transfer { ", ordered" } else { "" };
            format!("{pre}Vote({last_index} of term {last_term}{ordered})")
        }
        Body::VoteReply { pre, granted } => {
            format!("{}VoteReply({})", if *pre { "Pre-" } else { "" }, if *granted { "yes" } else { "no" })
        }
        Body::Append { prev_index, prev_term, commit, entries } => {
            let entries: Vec<String> =
                entries.iter().map(|entry| format!("{}:{:?}", entry.term, entry.kind)).collect();
            format!("Append(behind {prev_index} of term {prev_term}, commit {commit}, [{}])", entries.join(" "))
        }
        Body::AppendAccepted { match_index } => format!("Accepted({match_index})"),
        Body::AppendRejected { prev_index, hint_index, hint_term } => {
            format!("Rejected({prev_index}, hint {hint_index} of term {hint_term})")
        }
        Body::Snapshot { last_index, last_term } => format!("Snapshot({last_index} of term {last_term})"),
        Body::Heartbeat { commit, round, .. } => format!("Heartbeat(commit {commit}, round {round})"),
        Body::HeartbeatReply { round, .. } => format!("HeartbeatReply(round {round})"),
        Body::TimeoutNow => "TimeoutNow".into(),
    };
    format!("{to} receives {what} of {from} in term {term}")
}

/// A line for each replica.
pub(super) fn state(space: &Space, state: &State) -> String {
    let mut text = String::new();
    for number in state.replicas {
        let Facts { id, role, term, commit, log, durable, lease, writes_count, .. } = space.facts(number);
        let terms: Vec<String> = log.iter().map(|entry| space.entry(*entry).term.to_string()).collect();
        let voters = voters_behind(space, log);
        let lease = lease.map_or(String::new(), |index| format!(", a lease to read {index}"));
        let leads = if *role == Role::Leader { "*" } else { " " };
        text += &format!(
            "  {id}{leads} {role:?} in term {term}, terms of the log [{}], {} durable, commit {commit}, voters {:04b}/{:04b}, \
             {writes_count} writes under way{lease}\n",
            terms.join(" "),
            durable.len(),
            voters.incoming >> 1,
            voters.outgoing >> 1,
        );
    }
    let letters: Vec<String> = state.letters().map(|letter| message_in_words(space.message(letter))).collect();
    text + "  under way: " + &letters.join("; ") + "\n"
}
