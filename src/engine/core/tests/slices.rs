//! Commands of clients that are left to the next turn, so that none is long.

use super::*;

/// Commands that a turn takes in of each kind.
const PER_TURN_MAX: u64 = 50;

/// Fills a group, by a client that comes behind these, and lets each of them wait for the group with a write and what it sends
/// behind that.
fn let_wait(world: &mut World, clients_count: u32, behind: &str) {
    world.connect(clients_count + 1);
    let (key, ..) = world.key(true);
    world.disk_writes = false;
    // The first one is proposed and not written; what comes behind it collects.
    world.send(conn(clients_count), &format!("SET {key} 1\r\n"));
    world.turn();
    world.send(conn(clients_count), &format!("SET {key} {}\r\n", "x".repeat(5_000)));
    world.turn();
    (0..clients_count).for_each(|idx| world.send(conn(idx), &format!("SET {key} 1\r\n{behind}")));
    while world.turn() {}
    assert_eq!(world.core.clients.counts(), (clients_count as usize + 1, clients_count as usize));
    world.disk_writes = true;
}

#[test]
fn clients_that_waited_go_on_in_slices_and_in_turn() {
    const CLIENTS_COUNT: u32 = 10;
    const COMMANDS_COUNT: u64 = 300;
    let mut world = World::new(1, 1, |config| {
        config.limits.batches_bytes_max = 4 << 10;
        config.limits.commands_per_turn_max = PER_TURN_MAX as usize;
    });
    let behind: String = (1..COMMANDS_COUNT).map(|number| format!("PING {number}\r\n")).collect();
    let_wait(&mut world, CLIENTS_COUNT, &behind);
    // Of the client that has filled the group.
    let mut seen = world.core.ctx.counters.commands_processed - 2;
    let (mut counts, mut sent) = (Vec::new(), vec![String::new(); CLIENTS_COUNT as usize]);
    while seen < u64::from(CLIENTS_COUNT) * COMMANDS_COUNT {
        let is_busy = world.turn();
        let now = world.core.ctx.counters.commands_processed - 2;
        counts.push(now - seen);
        seen = now;
        (0..CLIENTS_COUNT).for_each(|idx| sent[idx as usize] += &world.host.take_sent(conn(idx)));
        let has_begun = counts.iter().any(|count| *count > 0);
        let is_over = seen >= u64::from(CLIENTS_COUNT) * COMMANDS_COUNT;
        assert!(is_busy || !has_begun || is_over, "what is left is more to do at once");
        if counts.len() == CLIENTS_COUNT as usize + 6 {
            assert!(sent.iter().all(|sent| sent.len() > 10), "each had its turn: {sent:?}");
        }
        if counts.len() == 6 {
            // It comes behind all that the client has sent before.
            world.send(conn(0), "PING last\r\n");
        }
    }
    assert!(counts.iter().all(|count| *count <= PER_TURN_MAX), "{counts:?}");
    world.turns(4);
    (0..CLIENTS_COUNT).for_each(|idx| sent[idx as usize] += &world.host.take_sent(conn(idx)));
    for (idx, sent) in sent.iter().enumerate() {
        let replies: Vec<&str> =
            sent.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('$')).collect();
        let mut expected = vec!["+OK".to_owned()];
        expected.extend((1..COMMANDS_COUNT).map(|number| number.to_string()));
        expected.extend((idx == 0).then(|| "last".to_owned()));
        assert_eq!(replies, expected);
    }
    assert_eq!(world.core.clients.counts(), (CLIENTS_COUNT as usize + 1, 0));
}

#[test]
fn clients_that_waited_go_on_with_a_bounded_number_of_bytes_per_turn() {
    const CLIENTS_COUNT: u32 = 8;
    let mut world = World::new(1, 1, |config| config.limits.batches_bytes_max = 4 << 10);
    let long = format!("*2\r\n$4\r\nPING\r\n$100000\r\n{}\r\n", "x".repeat(100_000));
    let_wait(&mut world, CLIENTS_COUNT, &long.repeat(10));
    let mut counts = Vec::new();
    let mut seen = world.core.ctx.counters.commands_processed;
    for _ in 0..16 {
        world.turn();
        counts.push(world.core.ctx.counters.commands_processed - seen);
        seen = world.core.ctx.counters.commands_processed;
    }
    assert!(counts.iter().all(|count| *count * 100_000 <= 5 << 20), "{counts:?}");
    assert_eq!(seen, 2 + u64::from(CLIENTS_COUNT) * 11);
}

#[test]
fn a_turn_takes_a_bounded_number_of_commands_from_clients() {
    const CLIENTS_COUNT: u32 = 10;
    let mut world = World::new(1, 1, |config| config.limits.commands_per_turn_max = PER_TURN_MAX as usize);
    world.connect(CLIENTS_COUNT);
    (0..CLIENTS_COUNT).for_each(|idx| world.send(conn(idx), &"PING\r\n".repeat(120)));
    let (mut counts, mut seen) = (Vec::new(), world.core.ctx.counters.commands_processed);
    loop {
        let is_busy = world.turn();
        counts.push(world.core.ctx.counters.commands_processed - seen);
        seen = world.core.ctx.counters.commands_processed;
        if !is_busy {
            break;
        }
    }
    assert_eq!(seen, u64::from(CLIENTS_COUNT) * 120);
    // Those of clients that had to wait are among them.
    assert!(counts.iter().all(|count| *count <= PER_TURN_MAX), "{counts:?}");
}

/// What tells of the core takes longer the more there is to tell, so a turn does it less often than other commands.
#[test]
fn a_turn_tells_of_the_core_a_bounded_number_of_times() {
    let mut world = World::new(1, 400, |_| {});
    world.connect(1);
    world.send(conn(0), &"INFO\r\n".repeat(150));
    let (mut counts, mut seen) = (Vec::new(), world.core.ctx.counters.commands_processed);
    while seen < 150 {
        world.turn();
        counts.push(world.core.ctx.counters.commands_processed - seen);
        seen = world.core.ctx.counters.commands_processed;
    }
    assert!(counts.iter().all(|count| *count <= 40), "{counts:?}");
}
