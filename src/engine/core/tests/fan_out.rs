//! Commands on all groups, some of which have no room.

use super::*;

/// Fills the group of one key, and tells another key, of another group.
fn with_full_group(world: &mut World) -> String {
    world.connect(3);
    let (full, slot, _) = world.key(true);
    let route_of = |key: &String| world.core.router.of_slot(Slot::of_key(key.as_bytes()));
    let other =
        (0..).map(|number| format!("other{number}")).find(|key| route_of(key) != world.core.router.of_slot(slot));
    let other = other.unwrap();
    world.send(conn(0), &format!("SET {other} 1\r\n"));
    world.turns(4);
    assert_eq!(world.host.take_sent(conn(0)), "+OK\r\n");
    world.disk_writes = false;
    // The first one is proposed and not written; what comes behind it collects.
    world.send(conn(1), &format!("SET {full} 1\r\n"));
    world.turn();
    world.send(conn(1), &format!("SET {full} {}\r\n", "x".repeat(2_000)).repeat(4));
    world.turn();
    other
}

fn refused_count(world: &World) -> u64 {
    world.core.ctx.counts().into_iter().find(|(name, _)| *name == "refused_queue_full").unwrap().1
}

#[test]
fn a_command_on_all_groups_is_refused_whole_while_a_group_is_full() {
    let mut world = World::new(1, 2, |config| config.limits.batches_bytes_max = 4 << 10);
    let other = with_full_group(&mut world);
    let held = world.core.groups.requests_held_bytes();
    for command in ["FLUSHALL", "DBSIZE"] {
        world.send(conn(2), &format!("{command}\r\n"));
        world.turn();
        assert_eq!(world.host.take_sent(conn(2)), "-TRYAGAIN The node is overloaded, try again\r\n", "{command}");
    }
    assert_eq!((refused_count(&world), world.core.groups.requests_held_bytes()), (2, held));
    world.disk_writes = true;
    world.send(conn(2), &format!("GET {other}\r\n"));
    world.turns(8);
    assert_eq!(world.host.take_sent(conn(2)), "$1\r\n1\r\n", "no part of it was executed");
    world.send(conn(2), "FLUSHALL\r\nDBSIZE\r\n");
    world.turns(8);
    assert_eq!(world.host.take_sent(conn(2)), "+OK\r\n:0\r\n", "there is room again");
}

#[test]
fn a_command_on_all_groups_is_refused_whole_while_the_queue_to_one_is_full() {
    let mut world = World::new(2, 2, |config| config.limits.queued_count_max = 2);
    world.connect(3);
    let (near, ..) = world.key(true);
    let (far, ..) = world.key(false);
    world.send(conn(0), &format!("SET {near} 1\r\n"));
    // Nobody is known to lead the group of the other core.
    world.send(conn(1), &format!("GET {far}\r\n").repeat(2));
    world.turns(4);
    world.send(conn(2), "FLUSHALL\r\n");
    world.turns(4);
    assert_eq!(world.host.take_sent(conn(2)), "-TRYAGAIN The node is overloaded, try again\r\n");
    assert_eq!(refused_count(&world), 1);
    world.send(conn(2), &format!("GET {near}\r\n"));
    world.turn();
    assert_eq!(world.host.take_sent(conn(2)), "$1\r\n1\r\n", "no part of it was executed");
}
