//! Nothing is told that a restart would not remember.

use wire::Body;

use crate::sim::{MS, Sim};
use crate::solo::{ONE, Solo, THREE, TWO, heartbeat, heartbeat_reply, recovered};

const REQUEST: Body = Body::Vote { pre: false, transfer: false, last_index: 0, last_term: 0 };

#[test]
fn a_vote_leaves_only_once_it_is_durable() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, REQUEST);
    assert_eq!(solo.messages, [], "held back");
    let hard_state = solo.writes[0].hard_state.unwrap();
    assert_eq!((hard_state.term, hard_state.vote), (1, Some(TWO)));
    solo.persist();
    assert_eq!(solo.take(TWO), [Body::VoteReply { pre: false, granted: true }]);
    solo.step(THREE, 1, REQUEST);
    assert_eq!(solo.take(THREE), [Body::VoteReply { pre: false, granted: false }], "one vote a term");
}

#[test]
fn a_candidate_asks_and_counts_itself_once_its_own_vote_is_durable() {
    let mut solo = Solo::with(recovered(0, &[]), |config| config.first_campaigner = true);
    solo.tick();
    solo.messages.clear();
    solo.step(TWO, 1, Body::VoteReply { pre: true, granted: true });
    assert_eq!(solo.writes[0].hard_state.unwrap().vote, Some(ONE));
    assert_eq!(solo.messages, [], "no request before the write is done");
    solo.persist();
    assert_eq!(solo.take(TWO), [Body::Vote { pre: false, transfer: false, last_index: 0, last_term: 0 }]);
    solo.step(THREE, 1, Body::VoteReply { pre: false, granted: true });
    assert!(solo.raft.is_leader());
}

#[test]
fn a_vote_given_twice_in_one_turn_to_two_terms_keeps_the_later_one_only() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, REQUEST);
    solo.step(THREE, 2, REQUEST);
    let seqs: Vec<_> = solo.writes.iter().map(|write| write.seq).collect();
    assert_eq!(seqs, [1, 2]);
    solo.persisted(1);
    assert_eq!(solo.messages, [], "the newer vote is not durable, the older one is of no use");
    solo.persisted(2);
    assert_eq!(solo.messages.len(), 1);
    assert_eq!(solo.take(THREE), [Body::VoteReply { pre: false, granted: true }]);
}

#[test]
fn a_follower_acknowledges_only_what_is_durable() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1], 0);
    solo.append(TWO, 1, (2, 1), &[1], 0);
    assert_eq!(solo.messages, []);
    let first = solo.writes[0].seq;
    solo.persisted(first);
    assert_eq!(solo.take(TWO), [Body::AppendAccepted { match_index: 2 }]);
    solo.persisted(first + 1);
    assert_eq!(solo.take(TWO), [Body::AppendAccepted { match_index: 3 }]);
    solo.append(TWO, 1, (2, 1), &[1], 0);
    assert_eq!(solo.take(TWO), [Body::AppendAccepted { match_index: 3 }], "a repetition is answered at once");
}

#[test]
fn one_acknowledgement_answers_all_appends_of_a_write() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1], 0);
    solo.append(TWO, 1, (1, 1), &[1], 0);
    solo.append(TWO, 1, (2, 1), &[1], 0);
    solo.persist();
    assert_eq!(solo.take(TWO), [Body::AppendAccepted { match_index: 3 }]);
}

#[test]
fn a_heartbeat_is_answered_once_its_term_is_durable() {
    let mut solo = Solo::new();
    solo.step(TWO, 4, heartbeat(0, 1));
    assert_eq!(solo.messages, [], "a restart would forget the term, and with it that a leader was heard");
    solo.persist();
    assert_eq!(solo.take(TWO), [heartbeat_reply(1)]);
    solo.step(TWO, 4, heartbeat(0, 2));
    assert_eq!(solo.take(TWO), [heartbeat_reply(2)]);
}

#[test]
fn a_storage_acknowledgement_after_a_change_of_term_is_ignored() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1, 1], 0);
    solo.append(THREE, 2, (1, 1), &[2], 0);
    assert_eq!(solo.writes[1].entries[0].index, 2, "the new entry cuts the log back");
    solo.persisted(1);
    assert_eq!((solo.raft.durable_index(), solo.raft.last_index()), (1, 2));
    assert_eq!(solo.messages, [], "the term is not durable, and neither is entry 2");
    solo.persisted(2);
    let accepted = |match_index| Body::AppendAccepted { match_index };
    assert_eq!(solo.take(THREE), [accepted(1), accepted(2)]);
}

#[test]
fn a_storage_acknowledgement_for_entries_that_went_and_came_back_is_ignored() {
    let mut solo = Solo::new();
    // Entries 2 and 3 are written, replaced, and written again with the same terms.
    solo.append(TWO, 1, (0, 0), &[1, 1, 1], 0);
    solo.append(THREE, 2, (1, 1), &[2], 0);
    solo.append(TWO, 3, (1, 1), &[1, 1], 0);
    solo.persisted(1);
    assert_eq!(solo.raft.durable_index(), 1, "write 2 may still replace on disk what write 1 put there");
    solo.persisted(2);
    assert_eq!(solo.raft.durable_index(), 1);
    solo.persisted(3);
    assert_eq!(solo.raft.durable_index(), 3);
    let accepted = |match_index| Body::AppendAccepted { match_index };
    assert_eq!(solo.take(TWO), [accepted(1), accepted(3)]);
}

#[test]
fn a_leader_sends_before_its_own_write_is_durable_and_may_be_the_last() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    sim.nodes[leader].disk_stopped = true;
    let (_, index) = sim.propose(leader, b"x").unwrap();
    sim.run(5);
    assert_eq!(sim.raft(leader).commit_index(), index, "two others hold it");
    assert!(sim.raft(leader).durable_index() < index);
    assert_eq!(sim.nodes[leader].applied, index);
    sim.crash(leader);
    sim.nodes[leader].disk_stopped = false;
    sim.elect();
    sim.restart(leader);
    sim.run(300);
    assert_eq!(
        sim.nodes[leader].disk.entries[index as usize - 1].payload.bytes(),
        "x",
        "it comes back from the others"
    );
}

#[test]
fn a_slow_disk_delays_neither_heartbeats_nor_their_answers() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    let term = sim.raft(leader).term();
    for node in &mut sim.nodes {
        node.disk_stopped = true;
    }
    sim.propose(leader, b"x").unwrap();
    sim.run(1_000);
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term), "no election");
    for node in &mut sim.nodes {
        node.disk_stopped = false;
    }
    sim.run(20);
    assert_eq!(sim.nodes[leader].applied, 2);
}

#[test]
fn a_single_voter_commits_after_its_own_write() {
    let mut sim = Sim::new(1);
    sim.run(5);
    let (_, index) = sim.propose(0, b"x").unwrap();
    assert_eq!(sim.raft(0).commit_index(), index - 1);
    sim.run(1);
    assert_eq!(sim.raft(0).commit_index(), index);
    sim.nodes[0].disk_stopped = true;
    sim.propose(0, b"y").unwrap();
    sim.run(500);
    assert_eq!(sim.raft(0).commit_index(), index);
    assert!(sim.raft(0).is_leader(), "there is nobody else");
}

#[test]
fn the_commit_index_alone_forces_no_write_and_never_overtakes_the_durable_log() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1], 0);
    solo.persist();
    solo.step(TWO, 1, heartbeat(2, 1));
    assert_eq!((solo.raft.commit_index(), solo.writes.len()), (2, 0));
    solo.append(TWO, 1, (2, 1), &[1], 3);
    assert_eq!(solo.raft.commit_index(), 3, "the leader says so");
    assert_eq!(solo.writes[0].hard_state.unwrap().commit, 2, "entry 3 is not durable yet");
}

#[test]
fn the_whole_group_restarts_without_losing_what_was_committed() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    let (term, index) = sim.propose(leader, b"x").unwrap();
    sim.run(5);
    assert_eq!(sim.raft(leader).commit_index(), index);
    (0..3).for_each(|idx| sim.crash(idx));
    sim.now += 5 * MS;
    (0..3).for_each(|idx| sim.restart(idx));
    let leader = sim.elect();
    assert!(sim.raft(leader).term() > term, "terms go on");
    sim.run(50);
    assert!(sim.nodes.iter().all(|node| node.applied > index));
}
