//! Full disks: what is taken in all the same, by leaders and by followers.

use super::*;

/// Room for a few commands that delete.
const FREEING_BYTES: usize = 64 << 10;

fn fill(world: &mut World, sides: &[usize], freeing_bytes: usize) {
    for side in sides {
        let ctx = &mut world.sides[*side].ctx;
        (ctx.disk_full, ctx.freeing_bytes) = (Some("no space".into()), Some(freeing_bytes));
    }
}

fn make_room(world: &mut World) {
    for side in &mut world.sides {
        (side.ctx.disk_full, side.ctx.freeing_bytes) = (None, None);
    }
}

fn keys_counts(world: &World) -> Vec<usize> {
    world.sides.iter().map(|side| side.groups.list[GROUP].keyspace.keys_count()).collect()
}

fn ask(world: &mut World, leader: usize, number: u64, line: &str) {
    world.execute(leader, client(number), line);
    world.settle();
}

fn with_keys(keys: &str) -> (World, usize) {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (number, key) in (1_000..).zip(keys.split(' ')) {
        ask(&mut world, leader, number, &format!("SET {key} 1"));
    }
    world.sides[leader].answers.replies.clear();
    (world, leader)
}

#[test]
fn commands_that_delete_are_taken_in_while_all_disks_are_full_and_no_others() {
    let (mut world, leader) = with_keys("a b c d e f");
    fill(&mut world, &[0, 1, 2], FREEING_BYTES);
    let deleting = ["DEL a", "UNLINK b", "GETDEL c", "DELIFEQ d 1", "EXPIRE e -1"];
    for (number, line) in (1..).zip(deleting) {
        ask(&mut world, leader, number, line);
    }
    let replies: Vec<&str> = world.replies(leader).iter().map(|(_, text)| *text).collect();
    assert_eq!(replies, [":1\r\n", ":1\r\n", "$1\r\n1\r\n", ":1\r\n", ":1\r\n"]);
    world.run(Duration::from_millis(200));
    assert_eq!(keys_counts(&world), [1, 1, 1], "followers take them, too");
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!(counters.commands_admitted_full, deleting.len() as u64);
    assert!(world.sides[(leader + 1) % 3].ctx.counters.appends_admitted_full >= 1);
    let others = ["SET f 2", "EXPIRE f 100", "PERSIST f", "INCR f", "SET f 2 PX 1", "RENAME f g"];
    for (number, line) in (10..).zip(others) {
        ask(&mut world, leader, number, line);
        let (_, reply) = world.replies(leader).pop().expect("it is answered");
        assert!(reply.starts_with("-DISKFULL") && reply.contains("only commands that delete"), "{line}: {reply}");
    }
    ask(&mut world, leader, 20, "FLUSHALL");
    world.run(Duration::from_millis(200));
    assert_eq!(keys_counts(&world), [0, 0, 0]);
}

#[test]
fn commands_that_delete_leave_the_room_of_votes() {
    let (mut world, leader) = with_keys("a");
    let bytes = 8 << 10;
    fill(&mut world, &[0, 1, 2], bytes);
    for number in 1..=50 {
        world.execute(leader, client(number), "DEL a");
    }
    world.settle();
    let replies = world.replies(leader);
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|(_, reply)| reply.starts_with(':'));
    assert!(!taken.is_empty() && taken.len() <= bytes / 1_024, "{}", taken.len());
    assert!(refused.iter().all(|(_, reply)| reply.starts_with("-DISKFULL") && reply.contains("wait until")));
    let follower = (leader + 1) % 3;
    world.sides[follower].ctx.freeing_bytes = Some(0);
    world.sides[(leader + 2) % 3].ctx.freeing_bytes = Some(0);
    world.sides[leader].ctx.freeing_bytes = Some(bytes);
    world.sides[leader].answers.replies.clear();
    ask(&mut world, leader, 51, "DEL a");
    world.run(Duration::from_millis(200));
    assert_eq!(world.replies(leader), [], "no follower has room");
    assert!(world.sides[follower].ctx.counters.appends_refused > 0);
    make_room(&mut world);
    world.run(Duration::from_millis(200));
    assert_eq!(world.replies(leader), [(51, ":0\r\n")]);
}

#[test]
fn one_full_disk_leaves_writes_to_the_others_and_catches_up() {
    let (mut world, leader) = with_keys("a b");
    let full = (leader + 1) % 3;
    fill(&mut world, &[full], FREEING_BYTES);
    for (number, line) in (1..).zip(["DEL a", "SET c 1", "DEL b"]) {
        ask(&mut world, leader, number, line);
    }
    world.run(Duration::from_millis(200));
    assert_eq!(world.replies(leader), [(1, ":1\r\n"), (2, "+OK\r\n"), (3, ":1\r\n")]);
    let mut expected = [1, 1, 1];
    // It has taken the deletion, and leaves all behind the first write to later.
    expected[full] = 1;
    assert_eq!(keys_counts(&world), expected);
    let behind = world.sides[full].groups.list[GROUP].raft.last_index();
    assert!(behind < world.sides[leader].groups.list[GROUP].raft.last_index());
    make_room(&mut world);
    world.run(Duration::from_millis(200));
    let last = world.sides[leader].groups.list[GROUP].raft.last_index();
    assert_eq!(world.sides[full].groups.list[GROUP].raft.last_index(), last);
}
