//! Links that come and go, and cores that are not heard.

use std::time::Duration;

use super::*;

fn wait(world: &mut World, ms: u64) {
    world.ctx.now += Duration::from_millis(ms);
}

#[test]
fn an_idle_link_carries_an_empty_frame_now_and_then() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.peers.message(&mut world.ctx, link, message(1));
    world.frame(conn);
    wait(&mut world, 99);
    world.tick();
    assert!(world.frame(conn).is_none(), "a frame has just told it");
    wait(&mut world, 1);
    world.tick();
    assert!(world.frame(conn).is_some_and(|frame| frame.is_empty()));
    world.tick();
    assert!(world.frame(conn).is_none(), "one is enough");
    wait(&mut world, 100);
    world.peers.message(&mut world.ctx, link, message(2));
    world.flush();
    wait(&mut world, 100);
    world.tick();
    world.flush();
    let buf = world.net.take_send(conn).unwrap();
    world.peers.sent(conn, buf);
    world.flush();
    assert_eq!(world.net.sends_count(), 0, "a link that is busy needs none");
}

#[test]
fn links_want_no_tick_before_one_of_them_is_due() {
    let mut world = World::new(|_| {});
    let at = |ms| Instant::ZERO + Duration::from_millis(ms);
    let link = world.link(OTHER);
    wait(&mut world, 10);
    let conn = world.up(link);
    assert_eq!(world.peers.next_due(), at(10), "that core is to hear of this one");
    world.peers.message(&mut world.ctx, link, message(1));
    world.frame(conn);
    world.tick();
    assert_eq!(world.peers.next_due(), at(110), "the others are being connected");
    wait(&mut world, 100);
    world.tick();
    assert!(world.frame(conn).is_some());
    wait(&mut world, 60);
    world.tick();
    assert_eq!(world.peers.next_due(), at(210));
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    world.receive(incoming(0), &frame(1));
    wait(&mut world, 499);
    world.tick();
    world.frame(conn);
    assert_eq!(world.tick(), []);
    assert_eq!(world.peers.next_due(), at(670), "it falls silent then");
    world.peers.closed(&world.ctx, conn, None);
    wait(&mut world, 1);
    assert_eq!(world.tick(), [OTHER]);
    assert_eq!(world.peers.next_due(), at(689), "it is connected again then");
}

#[test]
fn an_empty_frame_is_a_keep_alive_and_others_are_not() {
    let mut world = World::new(|_| {});
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    world.receive(incoming(0), &frame(1));
    assert!(!world.peers.take_keep_alives());
    world.receive(incoming(0), &encode(Frame::default()));
    assert!(world.peers.take_keep_alives());
    assert!(!world.peers.take_keep_alives(), "they are taken once");
}

#[test]
fn a_core_that_falls_silent_is_told_once_and_again_after_it_was_heard() {
    let mut world = World::new(|_| {});
    let silence_ms = world.ctx.config.silence_max().as_millis() as u64;
    let link = world.link(OTHER);
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    wait(&mut world, 1);
    world.receive(incoming(0), &frame(1));
    wait(&mut world, silence_ms - 1);
    let silent = world.tick();
    assert!(!silent.contains(&OTHER) && !silent.contains(&NEIGHBOUR) && silent.len() == 3, "{silent:?}");
    assert!(!world.peers.is_silent(&world.ctx, link));
    wait(&mut world, 1);
    assert_eq!((world.tick(), world.tick()), (vec![OTHER], vec![]));
    assert!(world.peers.is_silent(&world.ctx, link));
    world.receive(incoming(0), &frame(2));
    assert_eq!(world.peers.take_events().last(), Some(&PeerEvent::HeardAgain(link)));
    assert_eq!((world.tick(), world.peers.is_silent(&world.ctx, link)), (vec![], false));
    wait(&mut world, silence_ms);
    assert_eq!(world.tick(), [OTHER]);
    assert!(!world.peers.is_silent(&world.ctx, world.link(NEIGHBOUR)));
}

#[test]
fn a_link_that_goes_down_empties_its_outbox_and_its_permit() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    world.receive(incoming(0), &frame(1));
    world.peers.take_events();
    world.peers.message(&mut world.ctx, link, append(1, 10_000));
    world.flush();
    world.peers.message(&mut world.ctx, link, append(1, 20_000));
    world.peers.reply(reply_of(link, 1), |reply| reply.ok());
    world.flush();
    assert!(world.used() >= 30_000 && world.peers.takes_commands(link));
    world.peers.closed(&world.ctx, conn, None);
    assert_eq!(world.used(), 0);
    assert!(!world.peers.takes_commands(link) && !world.peers.is_up(link));
    assert_eq!(world.peers.take_events(), [PeerEvent::Down { link, was_up: true }]);
    world.net.take_send(conn).unwrap();
    wait(&mut world, 500);
    let conn = world.up(link);
    assert!(world.frame(conn).is_none(), "what was queued is lost");
    world.peers.message(&mut world.ctx, link, message(3));
    assert_eq!(world.frame(conn).unwrap().messages, [message(3)]);
    assert_eq!(world.peers.counts(), (5, 2));
}

#[test]
fn attempts_to_connect_come_at_growing_intervals_until_one_succeeds() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let fail = |world: &mut World, conn| {
        world.peers.closed(&world.ctx, conn, Some(std::io::ErrorKind::ConnectionRefused.into()));
        assert_eq!(world.peers.take_events(), [PeerEvent::Down { link, was_up: false }]);
    };
    for after_ms in [20, 40, 80, 160, 320, 500, 500] {
        let conn = world.connect(link);
        fail(&mut world, conn);
        wait(&mut world, after_ms - 1);
        world.tick();
        let at = world.peers.links[link.idx()].addr;
        assert!(!world.net.take_calls().iter().any(|call| matches!(call, NetCall::Connect(_, to) if *to == at)));
        wait(&mut world, 1);
    }
    let conn = world.up(link);
    world.peers.closed(&world.ctx, conn, None);
    wait(&mut world, 20);
    world.connect(link);
}

#[test]
fn a_connection_that_is_not_answered_in_time_is_closed() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.connect(link);
    let is_closed = |world: &World| world.net.take_calls().contains(&NetCall::Close(conn));
    world.peers.connected(&world.net, conn);
    world.receive(conn, &Verdict::Accepted.encode()[..5]);
    wait(&mut world, 1_999);
    world.tick();
    assert!(!is_closed(&world));
    wait(&mut world, 1);
    world.tick();
    assert!(is_closed(&world));
    world.peers.closed(&world.ctx, conn, None);
    assert_eq!(world.peers.take_events(), [PeerEvent::Down { link, was_up: false }]);
    world.net.take_send(conn);
    wait(&mut world, 500);
    let again = world.up(link);
    assert_ne!(again, conn, "the beginning of the former verdict is forgotten");
}

#[test]
fn events_of_connections_that_are_gone_are_ignored() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.peers.closed(&world.ctx, conn, None);
    world.peers.take_events();
    world.peers.connected(&world.net, conn);
    world.peers.sent(conn, SendBuf::Plain(Vec::new()));
    world.peers.closed(&world.ctx, conn, None);
    assert_eq!(world.receive(conn, &frame(1)), []);
    assert_eq!((world.net.sends_count(), world.peers.has_events()), (0, false));
}
