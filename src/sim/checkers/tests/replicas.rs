//! Observations of replicas.

use std::time::Duration;

use raft::Role;
use types::{CoreAddr, CoreId, GroupId, Index, Instant, NodeId, ReplicaId, Term};
use wire::HardState;

use crate::checkers::{Checkers, Violation, Voters};
use crate::history::{Call, History, Outcome};
use crate::observation::{EntryHash, Observation, ObservationKind};

const GROUP: GroupId = GroupId(1);

/// A group of three replicas that does as it is told.
struct Story {
    checkers: Checkers,
    now: u64,
    result: Result<(), Violation>,
}

fn entry(term: Term, hash: u64) -> EntryHash {
    EntryHash { term, hash }
}

fn state(term: Term, vote: u64) -> HardState {
    HardState { term, vote: (vote > 0).then_some(ReplicaId(vote)), commit: 0 }
}

impl Story {
    fn new() -> Story {
        let voters: Voters = [(GROUP, vec![ReplicaId(1), ReplicaId(2), ReplicaId(3)])].into();
        let checkers = Checkers::new(voters, Duration::from_secs(5));
        let mut story = Story { checkers, now: 0, result: Ok(()) };
        for replica in 1..=3 {
            story.start(replica, state(0, 0), (0, 0), 0);
        }
        story
    }

    fn see(&mut self, replica: u64, kind: ObservationKind) -> &mut Story {
        self.now += 1;
        let place = CoreAddr { node: NodeId(replica as u32), core: CoreId(0) };
        let at = Instant::from_nanos(self.now);
        let seen = Observation { at, place, group: GROUP, replica: ReplicaId(replica), kind };
        if self.result.is_ok() {
            self.result = self.checkers.observe(&seen);
        }
        self
    }

    fn start(&mut self, replica: u64, hard_state: HardState, last: (Index, Term), applied: Index) -> &mut Story {
        self.see(replica, ObservationKind::Started { hard_state, base: (0, 0), last, applied })
    }

    fn vote(&mut self, replica: u64, term: Term, candidate: u64) -> &mut Story {
        let hard_state = Some(state(term, candidate));
        self.see(replica, ObservationKind::Logged { hard_state, first: 0, entries: Vec::new() })
    }

    fn lead(&mut self, replica: u64, term: Term) -> &mut Story {
        self.see(replica, ObservationKind::Role { role: Role::Leader, term, leader: Some(ReplicaId(replica)) })
    }

    fn elect(&mut self, replica: u64, term: Term, voter: u64) -> &mut Story {
        self.vote(replica, term, replica).vote(voter, term, replica).lead(replica, term)
    }

    fn log(&mut self, replica: u64, first: Index, entries: &[EntryHash]) -> &mut Story {
        self.see(replica, ObservationKind::Logged { hard_state: None, first, entries: entries.to_vec() })
    }

    fn apply(&mut self, replica: u64, index: Index, entry: EntryHash) -> &mut Story {
        self.see(replica, ObservationKind::Applied { index, entry })
    }

    fn assert_sound(&self) {
        assert_eq!(self.result, Ok(()));
    }

    #[track_caller]
    fn assert_objects(&self, checker: &str, words: &str) {
        let violation = self.result.clone().expect_err("a checker must object");
        assert_eq!(violation.checker, checker, "{violation}");
        assert!(violation.message.contains(words), "{violation}");
    }
}

/// Replica 1 leads in term 1 and has committed two entries with replica 2.
fn committed() -> Story {
    let mut story = Story::new();
    let entries = [entry(1, 11), entry(1, 12)];
    story.elect(1, 1, 2).log(1, 1, &entries).log(2, 1, &entries);
    story.apply(1, 1, entries[0]).apply(1, 2, entries[1]).apply(2, 1, entries[0]);
    story
}

#[test]
fn a_sound_story_with_a_failover_and_a_restart() {
    let mut story = committed();
    story.log(1, 3, &[entry(1, 13)]);
    story.see(1, ObservationKind::Stopped);
    story.elect(2, 2, 3).log(2, 3, &[entry(2, 21)]).log(3, 1, &[entry(1, 11), entry(1, 12), entry(2, 21)]);
    story.apply(2, 2, entry(1, 12)).apply(2, 3, entry(2, 21));
    story.start(1, state(1, 1), (3, 1), 0).log(1, 3, &[entry(2, 21)]).apply(1, 1, entry(1, 11));
    story.assert_sound();
}

#[test]
fn election_safety_sees_two_leaders() {
    let mut story = Story::new();
    story.elect(1, 1, 2).vote(3, 1, 3).lead(3, 1);
    story.assert_objects("election-safety", "in which replica 1 has led");
}

#[test]
fn election_safety_sees_a_leader_without_votes() {
    let mut story = Story::new();
    story.vote(1, 1, 1).lead(1, 1);
    story.assert_objects("election-safety", "1 logged votes of [ReplicaId(1), ReplicaId(2), ReplicaId(3)]");
}

#[test]
fn election_safety_sees_a_second_vote_and_a_term_that_falls() {
    let mut story = Story::new();
    story.vote(2, 1, 1).vote(2, 1, 3);
    story.assert_objects("election-safety", "votes in term 1 first");
    let mut story = Story::new();
    story.vote(2, 2, 1).vote(2, 1, 1);
    story.assert_objects("election-safety", "back to 1");
}

#[test]
fn election_safety_sees_a_vote_that_was_not_durable() {
    let mut story = Story::new();
    story.elect(1, 1, 2).see(2, ObservationKind::Stopped).start(2, state(0, 0), (0, 0), 0);
    story.assert_objects("election-safety", "made that one leader of term 1");
    // Unless the disk has lied.
    let mut story = Story::new();
    story.elect(1, 1, 2).see(2, ObservationKind::Stopped).see(2, ObservationKind::Damaged).start(
        2,
        state(0, 0),
        (0, 0),
        0,
    );
    story.assert_sound();
}

#[test]
fn log_matching_sees_two_entries_of_one_index_and_term() {
    let mut story = Story::new();
    story.log(1, 1, &[entry(1, 11)]).log(2, 1, &[entry(1, 99)]);
    story.assert_objects("log-matching", "entry 1 of term 1");
}

#[test]
fn log_matching_sees_different_pasts_gaps_and_falling_terms() {
    let mut story = Story::new();
    story.log(1, 1, &[entry(1, 11), entry(3, 31)]).log(2, 1, &[entry(2, 21), entry(3, 31)]);
    story.assert_objects("log-matching", "behind one of term 2");
    let mut story = Story::new();
    story.log(1, 2, &[entry(1, 11)]);
    story.assert_objects("log-matching", "where its log spans 0 to 0");
    let mut story = Story::new();
    story.log(1, 1, &[entry(2, 11), entry(1, 12)]);
    story.assert_objects("log-matching", "behind one of term 2");
}

#[test]
fn log_matching_sees_a_start_on_what_nobody_wrote() {
    let mut story = committed();
    story.see(2, ObservationKind::Stopped).start(2, state(1, 1), (3, 1), 0);
    story.assert_objects("log-matching", "nobody logged");
}

#[test]
fn leader_completeness_sees_a_leader_that_lacks_what_was_committed() {
    let mut story = committed();
    story.elect(3, 2, 1);
    story.assert_objects("leader-completeness", "without entry 2");
}

#[test]
fn leader_completeness_sees_a_commit_that_a_later_leader_lacks() {
    let mut story = Story::new();
    let first = entry(1, 11);
    story.elect(1, 1, 2).log(1, 1, &[first]).elect(3, 2, 2).log(2, 1, &[first]).apply(1, 1, first);
    story.assert_objects("leader-completeness", "which leader 3 of term 2 lacks");
}

#[test]
fn leader_completeness_sees_a_committed_entry_dropped() {
    let mut story = committed();
    story.log(2, 2, &[entry(2, 22)]);
    story.assert_objects("leader-completeness", "drops the committed entry 2");
}

/// Found by a campaign (seed 4003548): what a late message of a former leader drops from a log was committed later, in a term
/// that its owner has not come to yet, and it took no part in that.
#[test]
fn who_has_not_come_to_the_term_of_a_commit_may_drop_its_entry() {
    let old = entry(1, 11);
    let mut story = Story::new();
    story.elect(1, 1, 3).log(1, 1, &[old]).log(2, 1, &[old]);
    story.elect(3, 2, 2).log(3, 1, &[entry(2, 21)]);
    story.elect(1, 3, 3).log(3, 1, &[old, entry(3, 31)]).log(1, 2, &[entry(3, 31)]);
    story.apply(1, 1, old).apply(1, 2, entry(3, 31));
    story.log(2, 1, &[entry(2, 21)]);
    story.assert_sound();
    let mut story = committed();
    story.see(2, ObservationKind::Logged { hard_state: Some(state(2, 0)), first: 2, entries: vec![entry(2, 22)] });
    story.assert_objects("leader-completeness", "drops the committed entry 2");
}

#[test]
fn state_machine_safety_sees_different_entries_repetitions_and_gaps() {
    let mut story = committed();
    story.log(3, 1, &[entry(0, 7)]).apply(3, 1, entry(0, 7));
    story.assert_objects("state-machine-safety", "where replica 1 has applied");
    let mut story = committed();
    story.apply(1, 2, entry(1, 12));
    story.assert_objects("state-machine-safety", "applies entry 2 behind entry 2");
    let mut story = committed();
    story.log(3, 1, &[entry(1, 11), entry(1, 12)]).apply(3, 2, entry(1, 12));
    story.assert_objects("state-machine-safety", "applies entry 2 behind entry 0");
}

#[test]
fn state_machine_safety_sees_a_commit_without_a_majority() {
    let mut story = Story::new();
    story.elect(1, 1, 2).log(1, 1, &[entry(1, 11)]).apply(1, 1, entry(1, 11));
    story.assert_objects("state-machine-safety", "only [ReplicaId(1)]");
}

#[test]
fn what_a_replica_acknowledged_before_its_disk_was_damaged_counts() {
    let mut story = Story::new();
    story.elect(1, 1, 2).log(1, 1, &[entry(1, 11)]).log(2, 1, &[entry(1, 11)]);
    story.see(2, ObservationKind::Stopped).see(2, ObservationKind::Damaged).apply(1, 1, entry(1, 11));
    story.assert_sound();
    let mut story = Story::new();
    story.elect(1, 1, 2).see(2, ObservationKind::Stopped).see(2, ObservationKind::Damaged);
    story.log(1, 1, &[entry(1, 11)]).apply(1, 1, entry(1, 11));
    story.assert_objects("state-machine-safety", "only [ReplicaId(1)]");
}

#[test]
fn state_machine_safety_sees_an_acknowledged_entry_that_was_not_durable() {
    let mut story = committed();
    story.see(2, ObservationKind::Stopped).start(2, state(1, 1), (1, 1), 0);
    story.assert_objects("state-machine-safety", "was committed because its log had it");
}

#[test]
fn state_machine_safety_sees_that_too_few_had_an_entry_on_stable_storage() {
    let mut story = Story::new();
    story.elect(1, 1, 2);
    for replica in 1..=3 {
        story.log(replica, 1, &[entry(1, 11)]);
    }
    story.apply(1, 1, entry(1, 11));
    story.see(3, ObservationKind::Stopped).start(3, state(1, 1), (0, 0), 0);
    story.assert_sound();
    // It has the entry again, and that is of no help: it had not when the entry was committed.
    story.log(3, 1, &[entry(1, 11)]);
    story.see(2, ObservationKind::Stopped).start(2, state(1, 1), (0, 0), 0);
    story.assert_objects(
        "state-machine-safety",
        "only [ReplicaId(1)] of [ReplicaId(1), ReplicaId(2), ReplicaId(3)] can have had it",
    );
}

#[test]
fn state_machine_safety_sees_a_state_from_the_future() {
    let mut story = committed();
    story.see(2, ObservationKind::Restored { last: (9, 1) });
    story.assert_objects("state-machine-safety", "nobody has applied more than 2");
}

#[test]
fn a_state_taken_over_and_a_log_cut_short_are_sound() {
    let mut story = committed();
    story.see(3, ObservationKind::Restored { last: (2, 1) });
    story.see(1, ObservationKind::Compacted(2)).log(1, 3, &[entry(1, 13)]).log(3, 3, &[entry(1, 13)]);
    story.apply(1, 3, entry(1, 13)).apply(3, 3, entry(1, 13)).elect(3, 2, 1);
    story.assert_sound();
}

#[test]
fn equal_digests_sees_states_that_differ() {
    let mut story = committed();
    story
        .see(1, ObservationKind::Digest { index: 1, digest: 5 })
        .see(2, ObservationKind::Digest { index: 1, digest: 5 });
    story.assert_sound();
    story.see(3, ObservationKind::Digest { index: 1, digest: 6 });
    story.assert_objects("equal-digests", "behind entry 1");
}

#[test]
fn equal_digests_sees_a_restart_and_a_state_taken_over_that_differ() {
    let mut story = committed();
    story.see(1, ObservationKind::Digest { index: 2, digest: 7 }).see(1, ObservationKind::Stopped);
    story.start(1, state(1, 1), (2, 1), 2).see(1, ObservationKind::Digest { index: 2, digest: 8 });
    story.assert_objects("equal-digests", "on 1/0 has digest");
    let mut story = committed();
    story.see(1, ObservationKind::Digest { index: 2, digest: 7 });
    story.see(3, ObservationKind::Restored { last: (2, 1) }).see(3, ObservationKind::Digest { index: 2, digest: 9 });
    story.assert_objects("equal-digests", "on 3/0 has digest");
}

#[test]
fn equal_digests_sees_a_replica_that_stays_behind() {
    let mut story = committed();
    story
        .see(1, ObservationKind::Digest { index: 2, digest: 7 })
        .see(2, ObservationKind::Digest { index: 1, digest: 5 })
        .see(3, ObservationKind::Digest { index: 2, digest: 7 });
    assert!(story.checkers.at_rest().is_err_and(|said| said.message.contains("on 2/0 has applied 1 entries")));
    story.see(2, ObservationKind::Digest { index: 2, digest: 7 });
    assert_eq!(story.checkers.at_rest(), Ok(()));
    // Replicas are compared also when nothing else happens, so one may not have come to the last of those entries.
    story.see(1, ObservationKind::Compare { index: 3 }).see(1, ObservationKind::Digest { index: 3, digest: 7 });
    assert_eq!(story.checkers.at_rest(), Ok(()));
    // One that does not run, or stays away, need not have come as far.
    story.see(2, ObservationKind::Digest { index: 1, digest: 5 }).see(2, ObservationKind::Stopped);
    story
        .see(3, ObservationKind::Digest { index: 0, digest: 0 })
        .see(3, ObservationKind::Quarantined { is_provoked: true });
    assert_eq!(story.checkers.at_rest(), Ok(()));
    story.assert_sound();
    let coverage = story.checkers.finish(&History::new(), at(1)).expect("nothing is wrong");
    assert_eq!(coverage.digests_compared, 3);
}

#[test]
fn sound_disks_sees_a_node_that_gives_up_for_no_reason() {
    let mut story = Story::new();
    let ended = |is_provoked| ObservationKind::Ended { error: "the log is full of holes".to_owned(), is_provoked };
    story.see(1, ended(true));
    story.assert_sound();
    story.see(1, ended(false));
    story.assert_objects("sound-disks", "node 1 ended although its disk had done nothing wrong: the log is full");
}

#[test]
fn sound_disks_sees_a_replica_that_stays_away_for_no_reason() {
    let mut story = Story::new();
    story.see(1, ObservationKind::Quarantined { is_provoked: true });
    story.assert_sound();
    story.see(1, ObservationKind::Quarantined { is_provoked: false });
    story.assert_objects("sound-disks", "stays away although its disk had done nothing wrong");
}

#[test]
fn snapshots_that_are_not_what_they_should_be_are_seen() {
    let bad = |is_provoked| ObservationKind::BadTables { error: "torn".to_owned(), is_provoked };
    let mut story = Story::new();
    story.see(1, bad(true));
    story.assert_sound();
    story.see(1, bad(false));
    story.assert_objects("sound-disks", "cannot be read back although its disk had done nothing wrong: torn");

    let mut story = Story::new();
    story.see(1, ObservationKind::Digest { index: 1, digest: 5 });
    story.see(1, ObservationKind::Tables { index: 1, digest: 5 });
    story.assert_sound();
    story.see(2, ObservationKind::Tables { index: 1, digest: 6 });
    story.assert_objects("equal-digests", "behind entry 1");
}

#[test]
fn accountant_sees_books_that_are_not_in_order() {
    let budget = |counted, held| ObservationKind::Budget { name: "connection", counted, held, max: 10 };
    let mut story = Story::new();
    story.see(1, budget(10, 10)).see(1, budget(0, 0));
    story.assert_sound();
    story.see(1, budget(7, 8));
    story.assert_objects("accountant", "`connection` of core 1/0 counts less than is held");
    let mut story = Story::new();
    story.see(1, budget(7, 3));
    story.assert_objects("accountant", "counts more than is held: it counts 7 bytes of at most 10, and 3 are held");
    let mut story = Story::new();
    story.see(1, budget(11, 11));
    story.assert_objects("accountant", "is overdrawn");
}

#[test]
fn bounded_queues_sees_one_that_is_too_long() {
    let mut story = Story::new();
    story.see(1, ObservationKind::Queue { name: "queued", len: 10, max: 10 });
    story.assert_sound();
    story.see(1, ObservationKind::Queue { name: "queued", len: 11, max: 10 });
    story.assert_objects("bounded-queues", "`queued`");
}

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

#[test]
fn progress_sees_a_group_without_a_leader() {
    let mut history = History::new();
    history.heal(at(1));
    let mut story = Story::new();
    assert!(story.checkers.finish(&history, at(5)).is_ok(), "it is not time yet");
    let violation = story.checkers.finish(&history, at(6)).expect_err("nobody leads");
    assert_eq!(violation.checker, "progress");
    story.elect(1, 1, 2);
    story.assert_sound();
    assert!(story.checkers.finish(&history, at(6)).is_ok());
    story.see(1, ObservationKind::Stopped);
    assert!(story.checkers.finish(&history, at(6)).is_err());
}

#[test]
fn progress_sees_a_command_that_takes_long_though_no_fault_has_happened() {
    let history = |took: u64| {
        let mut history = History::new();
        history.expect_answers_within(Duration::from_secs(2));
        let early = history.begin(1, at(1), Call::Get("k".into()));
        history.end(early, at(9), Outcome::Value(None), None);
        let late = history.begin(1, at(11), Call::Get("k".into()));
        history.end(late, at(11 + took), Outcome::Value(None), None);
        history.heal(at(20));
        history
    };
    let mut story = Story::new();
    story.elect(1, 1, 2);
    assert!(story.checkers.finish(&history(2), at(40)).is_ok());
    let violation = story.checkers.finish(&history(3), at(40)).expect_err("it took too long");
    assert!(violation.message.contains("took 3.000 s"), "{violation}");
}

#[test]
fn progress_sees_operations_that_fail_or_never_end() {
    let call = || Call::Get("k".into());
    let refused = Some("CLUSTERDOWN The cluster is down".to_owned());
    let mut story = Story::new();
    story.elect(1, 1, 2);
    let mut history = History::new();
    history.heal(at(1));
    let early = history.begin(1, at(2), call());
    history.end(early, at(3), Outcome::NotApplied, refused.clone());
    assert!(story.checkers.finish(&history, at(20)).is_ok(), "it failed within the bound");
    let late = history.begin(1, at(7), call());
    history.end(late, at(8), Outcome::NotApplied, refused);
    let violation = story.checkers.finish(&history, at(20)).expect_err("it failed too late");
    assert!(violation.message.contains("1 times \"CLUSTERDOWN"), "{violation}");
    story.now = at(8).as_nanos();
    story.see(2, ObservationKind::StateLost { is_provoked: true });
    assert!(story.checkers.finish(&history, at(20)).is_ok(), "rot was found just then");
    let mut history = History::new();
    history.heal(at(1));
    history.begin(1, at(2), call());
    let violation = story.checkers.finish(&history, at(20)).expect_err("no answer");
    assert!(violation.message.contains("no answer"), "{violation}");
}

#[test]
fn promises_are_kept_by_what_a_start_finds() {
    let entries = [entry(1, 11), entry(1, 12), entry(1, 13)];
    let accepted = |index| {
        let mut story = Story::new();
        story.vote(2, 1, 1).log(2, 1, &entries).see(2, ObservationKind::Accepted { term: 1, index });
        story.see(2, ObservationKind::Voted { term: 1, candidate: ReplicaId(1) });
        story
    };
    accepted(2).start(2, state(1, 1), (2, 1), 0).assert_sound();
    accepted(3).start(2, state(1, 1), (2, 1), 0).assert_objects("promises", "accepted entries up to 3");
    accepted(0).start(2, HardState::default(), (3, 1), 0).assert_objects("promises", "answered in term 1");
    accepted(0).start(2, state(1, 3), (3, 1), 0).assert_objects("promises", "last vote");
    accepted(3).log(2, 2, &[entry(2, 21)]).start(2, state(2, 1), (2, 2), 0).assert_sound();
    accepted(3).see(2, ObservationKind::Damaged).start(2, HardState::default(), (0, 0), 0).assert_sound();
    let mut late = accepted(0);
    late.vote(2, 2, 3).log(2, 2, &[entry(2, 21)]).see(2, ObservationKind::Accepted { term: 1, index: 3 });
    late.start(2, state(2, 3), (2, 2), 0).assert_sound();
}

#[test]
fn damage_that_a_scrub_calls_sound_is_objected_to() {
    let mut story = committed();
    story.see(1, ObservationKind::OverlookedRot { error: "a checksum".to_owned() });
    story.assert_objects("scrubs", "passed over this: a checksum");
}

#[test]
fn comparisons_that_find_a_difference_are_objected_to() {
    let mut story = committed();
    story.see(1, ObservationKind::RowsDiffer { index: 2 });
    story.assert_objects("comparisons", "different rows behind entry 2");
}
