//! Groups that are left to the next turn, so that none is long.

use super::*;

#[test]
fn a_turn_applies_what_some_groups_have_committed_and_says_that_others_are_left() {
    const GROUPS_COUNT: usize = 20;
    let mut world = World::new(1, GROUPS_COUNT, |config| config.limits.commands_per_turn_max = 60);
    world.connect(GROUPS_COUNT as u32);
    world.disk_writes = false;
    let keys: Vec<String> = (1..=GROUPS_COUNT as u32)
        .map(|group| {
            let of_group = |key: &String| {
                let route = world.core.router.of_slot(Slot::of_key(key.as_bytes()));
                world.core.router.route(route).id == GroupId(group)
            };
            (0..).map(|number| format!("key{number}")).find(of_group).unwrap()
        })
        .collect();
    // The block that the first one begins is under way while the others collect; they are committed together.
    world.send(conn(0), &format!("SET {} 1\r\n", keys[0]));
    world.turn();
    for (idx, key) in keys.iter().enumerate() {
        world.send(conn(idx as u32), &format!("SET {key} 1\r\n").repeat(30));
    }
    while world.turn() {}
    assert!(world.host.disk.complete_write());
    while world.turn() {}
    let before = world.core.ctx.counters.commands_applied;
    assert!(world.host.disk.complete_write());
    let mut counts = Vec::new();
    loop {
        let seen = world.core.ctx.counters.commands_applied;
        let is_busy = world.turn();
        counts.push(world.core.ctx.counters.commands_applied - seen);
        if !is_busy {
            break;
        }
    }
    assert_eq!(world.core.ctx.counters.commands_applied - before, 30 * GROUPS_COUNT as u64, "{counts:?}");
    // What one group has committed is applied in one go.
    assert!(counts.iter().all(|count| *count < 60 + 30), "{counts:?}");
}

#[test]
fn a_turn_applies_some_of_what_one_group_has_committed_and_goes_on_in_the_next() {
    let mut world = World::new(1, 1, |config| {
        config.limits.commands_per_turn_max = 60;
        config.limits.batch_commands_max = 10;
    });
    world.connect(1);
    world.disk_writes = false;
    let (key, ..) = world.key(true);
    let long = "x".repeat(2_000);
    // While the block of the first one is under way the others collect; they are written and committed together.
    world.send(conn(0), &format!("SET {key} 1\r\n"));
    world.turn();
    world.send(conn(0), &format!("SET {key} {long}\r\n").repeat(300));
    let (mut counts, begin) = (Vec::new(), world.core.ctx.counters.commands_applied);
    let mut seen = begin;
    while seen - begin < 301 {
        let is_busy = world.turn();
        counts.push(world.core.ctx.counters.commands_applied - seen);
        seen = world.core.ctx.counters.commands_applied;
        assert!(is_busy || seen - begin == 301 || world.host.disk.complete_write(), "{counts:?}");
    }
    assert!(counts.iter().all(|count| *count <= 60), "{counts:?}");
    assert!(counts.contains(&40), "ten commands of 2 kB count as 15, with their entry: {counts:?}");
}
