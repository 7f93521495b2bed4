//! Replies that wait for the one behind them, which another core is about to give.

use std::time::Duration;

use super::*;

/// A client whose first command is answered here and whose second is a read that another core answers.
fn half_answered(world: &mut World, reply_bytes: usize) {
    world.receive(conn(0), "GET near\r\nGET far\r\n");
    world.clients.note_read_elsewhere(conn(0));
    world.answer_with("near", |reply| reply.bulk(long(reply_bytes).as_bytes()));
}

#[test]
fn replies_leave_together_with_that_of_a_read_elsewhere() {
    let mut world = World::new(1, |_| {});
    half_answered(&mut world, 4);
    world.receive(conn(0), "GET last\r\n");
    world.answer("last");
    assert_eq!(world.output(conn(0)), "");
    assert_eq!(world.clients.next_timer(), world.ctx.now + Duration::from_millis(1));
    assert!(!world.clients.are_served(), "replies that wait are owed");
    world.answer("far");
    world.flush();
    let all = world.net.take_send(conn(0)).unwrap();
    assert_eq!(all.len(), "$4\r\nxxxx\r\n+far\r\n+last\r\n".len(), "one send");
    assert_eq!(world.clients.next_timer(), Instant::NEVER, "nobody waits any more");
}

#[test]
fn replies_wait_for_a_read_elsewhere_for_a_bounded_time() {
    let mut world = World::new(2, |_| {});
    half_answered(&mut world, 4);
    world.flush();
    world.ctx.now += Duration::from_micros(600);
    world.receive(conn(0), "GET more\r\n");
    world.answer("more");
    assert_eq!(world.output(conn(0)), "", "what comes behind does not begin the time anew, nor does it end it");
    world.ctx.now += Duration::from_micros(399);
    assert_eq!(world.output(conn(0)), "");
    world.ctx.now += Duration::from_micros(1);
    assert_eq!(world.output(conn(0)), "$4\r\nxxxx\r\n");
    assert_eq!(world.clients.next_timer(), Instant::NEVER);
    world.answer("far");
    assert_eq!(world.output(conn(0)), "+far\r\n+more\r\n");
}

#[test]
fn long_replies_do_not_wait_for_a_read_elsewhere() {
    let mut world = World::new(1, |_| {});
    half_answered(&mut world, 16 << 10);
    assert!(world.output(conn(0)).len() > 16 << 10);
}

#[test]
fn replies_wait_for_nothing_but_a_read_elsewhere() {
    let mut world = World::new(1, |_| {});
    world.receive(conn(0), "GET near\r\nSET b x\r\nGET far\r\n");
    world.clients.note_read_elsewhere(conn(0));
    world.answer("near");
    assert_eq!(world.output(conn(0)), "+near\r\n", "a write takes as long as a disk");
    world.answer("b");
    assert_eq!(world.output(conn(0)), "", "now the read is the next");
}

#[test]
fn a_client_that_goes_while_its_replies_wait_leaves_nothing_behind() {
    let mut world = World::new(2, |_| {});
    half_answered(&mut world, 4);
    world.flush();
    world.clients.closed(conn(0));
    world.flush();
    assert_eq!(world.clients.next_timer(), Instant::NEVER);
    assert_eq!(world.used(Pool::ClientOutput), 0);
}
