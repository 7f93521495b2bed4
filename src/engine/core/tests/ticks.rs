//! How often a core ticks.

use ::host::Clock;

use super::*;

/// How many turns a core needs for this many milliseconds, if it sleeps whenever it may.
fn turns_in(world: &mut World, ms: u64) -> u64 {
    let end = world.core.host.now() + Duration::from_millis(ms);
    let before = world.core.ctx.counters.turns;
    loop {
        while world.turn() {}
        let wakes_at = world.core.wakes_at();
        if wakes_at > end {
            return world.core.ctx.counters.turns - before;
        }
        world.host.disk.advance(wakes_at.since(world.host.now()));
    }
}

#[test]
fn a_core_ticks_often_only_while_something_waits_for_that() {
    let mut world = World::new(1, 8, |_| {});
    world.connect(1);
    turns_in(&mut world, 100);
    let idle = turns_in(&mut world, 10_000);
    assert!((99..=101).contains(&idle), "{idle} turns in ten seconds without work");
    let (key, ..) = world.key(true);
    world.disk_writes = false;
    world.send(conn(0), &format!("SET {key} 1\r\n"));
    let busy = turns_in(&mut world, 1_000);
    assert!((39..=45).contains(&busy), "{busy} turns in a second in which a write does not end");
    world.disk_writes = true;
    while world.host.disk.complete_write() {}
    // Until the group is quiet its timer wakes the core, too.
    turns_in(&mut world, 3_000);
    assert_eq!(world.host.take_sent(conn(0)), "+OK\r\n");
    let idle = turns_in(&mut world, 10_000);
    assert!((99..=101).contains(&idle), "{idle} turns in ten seconds after that");
}
