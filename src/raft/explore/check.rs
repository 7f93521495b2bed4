//! What must hold in every state and step, from the Raft papers.
//!
//! What was promised once and may be forgotten by all replicas belongs to the state of the group: who led in which term, who
//! voted for whom, and what was committed in which term.

use std::collections::HashMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use types::{Index, Term};

use super::scenario::REPLICAS_COUNT;
use super::space::{Facts, Outcome, Space, voters_behind};
use crate::{PROMOTION_LAG_MAX, Role};

/// Terms that are told apart; no scenario gets beyond them.
const TERMS_COUNT: usize = 12;

/// What was promised so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Promises {
    /// Who led in each term; 0 if nobody did.
    leaders: [u8; TERMS_COUNT],
    /// Whom each replica voted for in each term; 0 for nobody.
    votes: [[u8; TERMS_COUNT]; REPLICAS_COUNT],
    /// The entries that were committed, from index 1 on, and in which term.
    committed: Vec<(u32, Term)>,
}

/// The promises of all states, each once.
#[derive(Debug, Default)]
pub(super) struct Checker {
    known: Vec<Promises>,
    numbers: HashMap<Promises, u32>,
}

/// A step as the checkers see it.
pub(super) struct Step<'a> {
    pub(super) outcome: &'a Outcome,
    /// All replicas before and behind it.
    pub(super) before: [u32; REPLICAS_COUNT],
    pub(super) behind: [u32; REPLICAS_COUNT],
    /// Which of them took it.
    pub(super) actor: usize,
}

impl Checker {
    /// The promises of a group all of whose replicas hold these entries, and are in term 1 if there are any.
    pub(super) fn first(&mut self, committed: Vec<u32>) -> u32 {
        let committed = committed.into_iter().map(|entry| (entry, 1)).collect();
        self.number(Promises { leaders: [0; TERMS_COUNT], votes: [[0; TERMS_COUNT]; REPLICAS_COUNT], committed })
    }

    fn number(&mut self, promises: Promises) -> u32 {
        let known = &mut self.known;
        *self.numbers.entry(promises).or_insert_with_key(|promises| {
            known.push(promises.clone());
            known.len() as u32 - 1
        })
    }

    /// Index of the last entry that was committed.
    pub(super) fn committed(&self, promises: u32) -> Index {
        self.known[promises as usize].committed.len() as Index
    }

    /// Checks a step, and numbers the promises behind it.
    ///
    /// # Errors
    /// What is broken.
    pub(super) fn check(&mut self, space: &Space, promises: u32, step: &Step<'_>) -> Result<u32, String> {
        let Step { outcome, before, behind, actor, .. } = *step;
        let (was, is) = (space.facts(before[actor]), space.facts(behind[actor]));
        let all = behind.map(|replica| space.facts(replica));
        let mut new = None;
        let old = &self.known[promises as usize];
        votes_are_given_once(old, &mut new, outcome)?;
        one_leads_per_term(old, &mut new, is)?;
        one_log_is_applied(old, &mut new, outcome, is)?;
        let now = new.as_ref().unwrap_or(old);
        if now.committed.len() > old.committed.len() && was.role == Role::Leader {
            a_majority_holds_it(space, was, &all, old, now)?;
        }
        if was.log != is.log {
            logs_match(space, is, &all)?;
            memberships_follow(space, was, is, &all, old, now)?;
        }
        for leader in all.iter().filter(|facts| facts.role == Role::Leader) {
            a_leader_has_everything(leader, now)?;
        }
        if is.role == Role::Leader {
            a_leader_votes(space, is)?;
            orders_are_for_the_complete(space, was, is, &all, outcome)?;
        }
        reads_see_everything(&all, outcome, now)?;
        Ok(match new {
            Some(new) => self.number(new),
            None => promises,
        })
    }

    /// Checks what holds between replicas at rest: no read by lease misses anything.
    ///
    /// # Errors
    /// What is broken.
    pub(super) fn check_leases(
        &self,
        space: &Space,
        promises: u32,
        replicas: [u32; REPLICAS_COUNT],
    ) -> Result<(), String> {
        leases_hold(&replicas.map(|replica| space.facts(replica)), &self.known[promises as usize])
    }
}

/// A vote is given to one candidate per term, whatever was forgotten in between (Raft paper §5.2).
fn votes_are_given_once(old: &Promises, new: &mut Option<Promises>, outcome: &Outcome) -> Result<(), String> {
    for vote in &outcome.votes {
        let (voter, term, candidate) = (vote.voter.0 as usize - 1, vote.term as usize, vote.candidate.0 as u8);
        match old.votes[voter][term] {
            0 => new.get_or_insert_with(|| old.clone()).votes[voter][term] = candidate,
            known if known != candidate => {
                return Err(format!("replica {} votes for {known} and {candidate} in term {term}", vote.voter));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Election safety (Raft paper, figure 3).
fn one_leads_per_term(old: &Promises, new: &mut Option<Promises>, is: &Facts) -> Result<(), String> {
    if is.role != Role::Leader {
        return Ok(());
    }
    let (id, term) = (is.id.0 as u8, is.term as usize);
    match old.leaders[term] {
        0 => new.get_or_insert_with(|| old.clone()).leaders[term] = id,
        known if known != id => return Err(format!("election safety: {known} and {id} lead in term {term}")),
        _ => {}
    }
    Ok(())
}

/// State machine safety (Raft paper, figure 3): all replicas apply the same entries in the same order.
fn one_log_is_applied(
    old: &Promises,
    new: &mut Option<Promises>,
    outcome: &Outcome,
    is: &Facts,
) -> Result<(), String> {
    let committed = old.committed.len();
    if let Some(index) = outcome.applied.iter().zip(&old.committed).position(|(one, (other, _))| one != other) {
        return Err(format!("state machine safety: replica {} applies another entry at {}", is.id, index + 1));
    }
    if let Some(more) = outcome.applied.get(committed..).filter(|more| !more.is_empty()) {
        let promises = new.get_or_insert_with(|| old.clone());
        promises.committed.extend(more.iter().map(|entry| (*entry, outcome.applied_in)));
    }
    let committed = &new.as_ref().unwrap_or(old).committed;
    let known = is.log.iter().take(is.commit as usize).zip(committed);
    if let Some(index) = known.into_iter().position(|(one, (other, _))| one != other) {
        return Err(format!("state machine safety: replica {} has another entry at {}", is.id, index + 1));
    }
    Ok(())
}

/// What a leader commits is durable on a majority of each set of voters, learners left out. The configuration in effect
/// counts: that before the step, or a later one for what was appended in it.
fn a_majority_holds_it(
    space: &Space,
    was: &Facts,
    all: &[&Facts; REPLICAS_COUNT],
    old: &Promises,
    now: &Promises,
) -> Result<(), String> {
    let entries: Vec<u32> = now.committed.iter().map(|(entry, _)| *entry).collect();
    for len in old.committed.len() + 1..=entries.len() {
        let holds = |facts: &&&Facts| facts.durable.get(len - 1) == Some(&entries[len - 1]);
        let holders = all.iter().filter(holds).fold(0, |bits, facts| bits | 1 << facts.id.0);
        let in_effect = if len > was.log.len() { &entries[..len] } else { &was.log[..] };
        if !voters_behind(space, in_effect).have_majority(holders) {
            return Err(format!("replica {} commits {len}, and no majority of each set of voters has it", was.id));
        }
    }
    Ok(())
}

/// Log matching (Raft paper, figure 3).
fn logs_match(space: &Space, is: &Facts, all: &[&Facts; REPLICAS_COUNT]) -> Result<(), String> {
    for other in all.iter().filter(|other| other.id != is.id) {
        let pairs = || is.log.iter().zip(&other.log);
        let has_same_term = |(one, other): (&u32, &u32)| space.entry(*one).term == space.entry(*other).term;
        let common = pairs().rposition(has_same_term).map_or(0, |last| last + 1);
        if pairs().take(common).any(|(one, other)| one != other) {
            return Err(format!("log matching: {} and {} differ before {common}", is.id, other.id));
        }
    }
    Ok(())
}

/// A leader appends configurations one at a time, each of which shares a replica with the last one in any two
/// majorities (thesis §4.3), and makes a voter only of who has caught up (thesis §4.2.1).
fn memberships_follow(
    space: &Space,
    was: &Facts,
    is: &Facts,
    all: &[&Facts; REPLICAS_COUNT],
    old: &Promises,
    now: &Promises,
) -> Result<(), String> {
    if is.role != Role::Leader {
        return Ok(());
    }
    let kept = was.log.iter().zip(&is.log).take_while(|(one, other)| one == other).count();
    for (at, entry) in is.log.iter().enumerate().skip(kept) {
        let Some(voters) = space.entry(*entry).voters else { continue };
        let before = voters_behind(space, &is.log[..at]);
        if !voters.may_follow(before) {
            return Err(format!("replica {} makes {voters:?} of {before:?}", is.id));
        }
        let is_new = |facts: &&&Facts| voters.contain(facts.id) && !before.contain(facts.id);
        if let Some(new) = all.iter().find(is_new) {
            let reached = new.durable.iter().zip(&is.log).take_while(|(one, other)| one == other).count();
            if reached as u64 + PROMOTION_LAG_MAX < at as u64 {
                return Err(format!("replica {} may vote from {} on and holds {reached} entries", new.id, at + 1));
            }
        }
    }
    let is_change = |entry: &&u32| space.entry(**entry).voters.is_some();
    let open = is.log.iter().skip(now.committed.len()).filter(is_change).count();
    if open > 1 {
        let committed = old.committed.len();
        return Err(format!("{open} changes of replica {} are not committed, behind {committed}", is.id));
    }
    Ok(())
}

/// Leader completeness (Raft paper, figure 3): what was committed in a term is in the log of each leader of a later one.
fn a_leader_has_everything(leader: &Facts, now: &Promises) -> Result<(), String> {
    let mut before = now.committed.iter().enumerate().filter(|(_, (_, term))| *term < leader.term);
    match before.find(|(at, (entry, _))| leader.log.get(*at) != Some(entry)) {
        Some((at, (_, term))) => Err(format!(
            "leader completeness: {} leads in term {} without entry {}, committed in {term}",
            leader.id,
            leader.term,
            at + 1
        )),
        None => Ok(()),
    }
}

/// A leader votes in the last configuration that it knows to be committed, or in one behind that (thesis §4.2.2). One that is to
/// leave may be elected as long as it does not know that this is committed: those that vote for it stay, its log has all that is
/// committed, and it steps down with the first entry of its term.
fn a_leader_votes(space: &Space, is: &Facts) -> Result<(), String> {
    let (known, later) = is.log.split_at((is.commit as usize).min(is.log.len()));
    let mut later = later.iter().filter_map(|entry| space.entry(*entry).voters);
    if voters_behind(space, known).contain(is.id) || later.any(|voters| voters.contain(is.id)) {
        return Ok(());
    }
    Err(format!("replica {} leads though it knows that it was removed", is.id))
}

/// A leader that hands over orders only one to campaign that holds its whole log (thesis §3.10).
fn orders_are_for_the_complete(
    space: &Space,
    was: &Facts,
    is: &Facts,
    all: &[&Facts; REPLICAS_COUNT],
    outcome: &Outcome,
) -> Result<(), String> {
    if was.role != Role::Leader {
        return Ok(());
    }
    for letter in outcome.sent.iter().map(|message| space.letter(*message)).filter(|letter| letter.is_order) {
        let to = all[letter.to.0 as usize - 1];
        // One that has got to a later term meanwhile drops the order.
        if to.term <= is.term && to.durable != is.log {
            return Err(format!("replica {} hands over to {}, which lacks entries", is.id, to.id));
        }
    }
    Ok(())
}

/// A read by ReadIndex sees what was committed when it was asked for; one by lease what is committed now (thesis §6.4).
fn reads_see_everything(all: &[&Facts; REPLICAS_COUNT], outcome: &Outcome, now: &Promises) -> Result<(), String> {
    if let Some((wanted, seen)) = outcome.reads.iter().find(|(wanted, seen)| seen < wanted) {
        return Err(format!("a read by ReadIndex sees entries up to {seen} and misses those up to {wanted}"));
    }
    leases_hold(all, now)
}

fn leases_hold(all: &[&Facts; REPLICAS_COUNT], now: &Promises) -> Result<(), String> {
    let committed = now.committed.len() as Index;
    match all.iter().find(|facts| facts.lease.is_some_and(|index| index < committed)) {
        Some(facts) => {
            Err(format!("replica {} has a lease and misses what is committed up to {committed}", facts.id))
        }
        None => Ok(()),
    }
}
