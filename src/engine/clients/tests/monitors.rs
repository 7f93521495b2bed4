//! MONITOR: what a client that is shown everything may make its core hold, and what it is not shown.

use super::*;
use crate::limits::{MONITOR_OUTPUT_BYTES_MAX, MONITORED_PER_TURN_BYTES_MAX, MONITORS_COUNT_MAX};

/// Shows a command of a client to whoever monitors.
fn show(world: &mut World, from: ConnId, line: &str) {
    let (mut parser, bytes) = (Parser::default(), format!("{line}\r\n"));
    let limits = world.ctx.config.limits.commands;
    let Step::Command { args, .. } = step(&mut parser, bytes.as_bytes(), 0, &limits) else { panic!("{line}") };
    let command = resp::resolve(args).unwrap();
    world.clients.note_monitored(&mut world.ctx, from, command, args);
}

fn end_turn(world: &mut World) {
    assert!(world.clients.end_monitored_turn(&mut world.ctx).is_empty(), "no other core wants lines");
}

#[test]
fn monitors_are_shown_what_all_clients_send_until_they_end_it() {
    let mut world = World::new(3, |_| {});
    assert!(!world.clients.are_monitored(world.ctx.now));
    world.receive(conn(0), "MONITOR\r\n");
    world.receive(conn(1), "MONITOR\r\nMONITOR\r\n");
    assert!(world.clients.are_monitored(world.ctx.now));
    show(&mut world, conn(2), "SET a 1");
    show(&mut world, conn(0), "PING");
    show(&mut world, conn(2), "CONFIG GET *");
    end_turn(&mut world);
    let [head, set, ping] =
        ["+OK\r\n", "[0 10.0.0.1:5002] \"SET\" \"a\" \"1\"\r\n", "[0 10.0.0.1:5000] \"PING\"\r\n"];
    let shown = world.output(conn(0));
    assert!(shown.starts_with(head) && shown.contains(set) && shown.ends_with(ping), "{shown}");
    assert_eq!(shown.lines().count(), 3, "what is for operators is not shown: {shown}");
    assert_eq!(world.output(conn(1)), shown, "a second MONITOR is not answered");
    world.receive(conn(0), "RESET\r\n");
    world.clients.closed(conn(1));
    assert_eq!(world.output(conn(0)), "+RESET\r\n");
    assert!(!world.clients.are_monitored(world.ctx.now));
}

#[test]
fn a_monitor_may_not_touch_keys_and_shows_in_the_list() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "MONITOR\r\nGET a\r\nDEL a\r\nDBSIZE\r\nCLIENT INFO\r\nRESET\r\nGET a\r\n");
    let output = world.output(conn(0));
    assert_eq!(output.matches("-ERR Replica can't interact with the keyspace\r\n").count(), 3, "{output}");
    assert!(output.contains(" flags=O ") && output.ends_with("+RESET\r\n"), "{output}");
    assert_eq!(world.taken, ["a"], "once it monitors no longer");
}

#[test]
fn a_slow_monitor_loses_lines_is_told_how_many_and_holds_up_nobody() {
    let mut world = World::new(3, |config| config.memory_bytes_max = 64 << 20);
    for slow in [conn(0), conn(1)] {
        world.receive(slow, "MONITOR\r\n");
        world.flush();
    }
    let fast = world.output(conn(1));
    assert_eq!(fast, "+OK\r\n");
    let (mut shown, mut turns) = (String::new(), 0u64);
    while world.ctx.counters.monitor_lines_lost == 0 {
        show(&mut world, conn(2), &format!("SET a {}", long(4_000)));
        end_turn(&mut world);
        shown += &world.output(conn(1));
        turns += 1;
        assert!(turns < 1_000, "nothing is ever lost");
    }
    let held = world.used(Pool::ClientOutput);
    assert!((MONITOR_OUTPUT_BYTES_MAX / 2..3 * MONITOR_OUTPUT_BYTES_MAX).contains(&held), "{held}");
    for _ in 0..9 {
        show(&mut world, conn(2), &format!("SET a {}", long(4_000)));
        end_turn(&mut world);
        shown += &world.output(conn(1));
        assert!(world.used(Pool::ClientOutput) < held + 4_000, "what is lost takes no memory");
    }
    assert_eq!(shown.lines().count() as u64, turns + 9, "the other one has lost nothing");
    assert!(!shown.contains("monitor-lost"));
    let late = world.output(conn(0));
    assert!(late.ends_with(" [0 0.0.0.0:0] \"coracle\" \"monitor-lost\" \"10\"\r\n"), "without any line behind it");
    assert_eq!(late.lines().count() as u64, 1 + turns - 1 + 1);
}

#[test]
fn a_turn_with_more_than_its_lines_may_take_loses_the_rest() {
    let mut world = World::new(2, |_| {});
    world.receive(conn(0), "MONITOR\r\n");
    (0..100).for_each(|_| show(&mut world, conn(1), &format!("SET a {}", long(2_000))));
    end_turn(&mut world);
    let shown = world.output(conn(0));
    assert!(shown.len() < MONITORED_PER_TURN_BYTES_MAX + 4_096, "{}", shown.len());
    let sets = shown.matches("\"SET\"").count();
    assert!(shown.ends_with(&format!("\"monitor-lost\" \"{}\"\r\n", 100 - sets)), "{sets}");
}

#[test]
fn only_so_many_monitor_at_a_time() {
    let mut world = World::new(MONITORS_COUNT_MAX as u32 + 1, |_| {});
    (0..MONITORS_COUNT_MAX as u32).for_each(|idx| world.receive(conn(idx), "MONITOR\r\n"));
    let last = conn(MONITORS_COUNT_MAX as u32);
    world.receive(last, "MONITOR\r\n");
    assert_eq!(world.output(last), "-ERR too many clients monitor this core\r\n");
    world.clients.closed(conn(0));
    world.receive(last, "MONITOR\r\n");
    assert_eq!(world.output(last), "+OK\r\n");
}

#[test]
fn lines_go_to_the_cores_that_want_them_for_as_long_as_they_say_so() {
    let mut world = World::new(1, |_| {});
    let (now, core) = (world.ctx.now, types::CoreId(1));
    world.clients.monitoring_wanted(core, now);
    assert!(world.clients.are_monitored(now));
    show(&mut world, conn(0), "PING");
    let handed = world.clients.end_monitored_turn(&mut world.ctx);
    let [(to, monitored)] = handed.as_slice() else { panic!("{handed:?}") };
    assert_eq!(*to, core);
    // It was not taken: what is handed over next tells of it.
    world.clients.monitored_not_handed(core, monitored);
    show(&mut world, conn(0), "ECHO a");
    let handed = world.clients.end_monitored_turn(&mut world.ctx);
    let mut other = World::new(2, |_| {});
    other.accept(conn(2), Port::Core);
    for monitor in [conn(0), conn(2)] {
        other.receive(monitor, "MONITOR\r\n");
    }
    other.clients.on_monitored(&mut other.ctx, &handed[0].1);
    let shown = other.output(conn(0));
    assert!(shown.contains("\"ECHO\" \"a\"") && shown.ends_with("\"monitor-lost\" \"1\"\r\n"), "{shown}");
    assert_eq!(other.output(conn(2)), "+OK\r\n", "a monitor on a core port sees its core alone");
    assert!(!world.clients.are_monitored(now + std::time::Duration::from_secs(60)));
}
