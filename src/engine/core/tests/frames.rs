//! What frames bring that is left to the next turn, so that none is long, and what is not.

use resp::CommandId;
use wire::{Replies, ReplyHead, ReplyStatus, RequestHead, Requests, RequestsBuilder};

use super::*;
use crate::budget::Pool;
use crate::origin::LinkId;

/// Commands and replies that a turn takes in.
const PER_TURN_MAX: u64 = 50;

/// As many commands of core `from` for a group that is led here, numbered from 0.
fn requests(world: &World, count: u64) -> Requests {
    let (key, slot, group) = world.key(true);
    let mut builder = RequestsBuilder::default();
    for id in 0..count {
        let command = CommandId::Get.as_u16();
        let (group, slot) = (group.0, slot.number());
        let head = RequestHead { id, group, arguments_count: 0, command, slot, resp3: false, resumes: id == 0 };
        builder.push(head, std::iter::once(key.as_bytes()));
    }
    builder.finish()
}

/// The numbers of the commands that were answered to core `to` since the last call, in order.
fn answered(world: &World, to: u16) -> Vec<u64> {
    let frames = world.host.take_mesh().into_iter().filter_map(|(core, message)| match message {
        MeshMessage::Frame(frame) if core == CoreId(to) => Some(frame),
        _ => None,
    });
    frames.flat_map(|frame| frame.replies.heads.into_iter().map(|head| head.id)).collect()
}

#[test]
fn forwarded_commands_are_taken_in_by_slices_and_what_came_with_them_at_once() {
    const COUNT: u64 = 1_000;
    let mut world = World::new(2, 2, |config| config.limits.commands_per_turn_max = PER_TURN_MAX as usize);
    let (far, _, led_there) = world.key(false);
    for half in 0..2 {
        let mut requests = requests(&world, COUNT);
        requests.heads.iter_mut().for_each(|head| head.id += half * COUNT);
        world.send_frame(1, Frame { requests, ..Frame::default() });
    }
    world.send_frame(1, Frame { leaders: vec![leader_note(led_there)], ..Frame::default() });
    let route = world.core.router.of_slot(Slot::of_key(far.as_bytes()));
    let (mut ids, mut counts) = (Vec::new(), Vec::new());
    while ids.len() < 2 * COUNT as usize {
        let is_busy = world.turn();
        assert!(world.core.router.route(route).is_known, "it waits behind no command");
        let now = answered(&world, 1);
        counts.push(now.len() as u64);
        ids.extend(now);
        assert_eq!(is_busy, ids.len() < 2 * COUNT as usize, "what is left is more to do at once");
    }
    assert!(counts.iter().all(|count| *count <= PER_TURN_MAX), "{counts:?}");
    assert!(ids.into_iter().eq(0..2 * COUNT), "the order of a link is kept");
    assert_eq!(world.core.ctx.budget.used_by(Pool::Links), 0);
}

#[test]
fn a_core_that_forwards_many_commands_does_not_hold_up_another() {
    let mut world = World::new(3, 3, |config| config.limits.commands_per_turn_max = PER_TURN_MAX as usize);
    world.send_frame(1, Frame { requests: requests(&world, 1_000), ..Frame::default() });
    world.turn();
    world.send_frame(2, Frame { requests: requests(&world, 5), ..Frame::default() });
    world.turn();
    assert_eq!(answered(&world, 2), [0, 1, 2, 3, 4]);
}

/// Clients forward as many writes to core 1. Returns their numbers, in order.
fn forward(world: &mut World, count: u64) -> Vec<u64> {
    let (far, _, led_there) = world.key(false);
    world.learn_leader(led_there);
    let clients_count = count.div_ceil(500) as u32;
    world.connect(clients_count);
    for idx in 0..clients_count {
        world.send(conn(idx), &format!("SET {far} 1\r\n").repeat(500));
    }
    let mut ids = Vec::new();
    while ids.len() < count as usize {
        world.turn();
        for (_, message) in world.host.take_mesh() {
            let MeshMessage::Frame(frame) = message else { continue };
            ids.extend(frame.requests.heads.iter().map(|head| head.id));
        }
    }
    ids
}

#[test]
fn replies_of_another_core_are_taken_in_by_slices() {
    let mut world = World::new(2, 2, |config| config.limits.commands_per_turn_max = PER_TURN_MAX as usize);
    let ids = forward(&mut world, 1_000);
    let heads = ids.iter().map(|id| ReplyHead { id: *id, len: 5, status: ReplyStatus::Done }).collect();
    let replies = Replies { heads, bytes: b"+OK\r\n".repeat(ids.len()).into() };
    world.send_frame(1, Frame { replies, ..Frame::default() });
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < ids.len() {
        let is_busy = world.turn();
        counts.push((0..2).map(|idx| world.host.take_sent(conn(idx)).len() / 5).sum());
        assert!(is_busy || counts.iter().sum::<usize>() == ids.len(), "what is left is more to do at once");
    }
    assert!(counts.iter().all(|count| *count <= PER_TURN_MAX as usize), "{counts:?}");
}

#[test]
fn commands_that_another_core_sends_back_are_taken_in_by_slices() {
    let mut world = World::new(2, 2, |config| config.limits.commands_per_turn_max = PER_TURN_MAX as usize);
    let ids = forward(&mut world, 1_000);
    let heads = ids.iter().map(|id| ReplyHead { id: *id, len: 0, status: ReplyStatus::NotLeader }).collect();
    world.send_frame(1, Frame { replies: Replies { heads, ..Replies::default() }, ..Frame::default() });
    let (mut counts, mut seen) = (Vec::new(), world.core.ctx.counters.commands_requeued);
    while counts.iter().sum::<u64>() < ids.len() as u64 {
        assert!(counts.len() < 100, "{counts:?}");
        world.turn();
        counts.push(world.core.ctx.counters.commands_requeued - seen);
        seen = world.core.ctx.counters.commands_requeued;
    }
    assert!(counts.iter().all(|count| *count <= PER_TURN_MAX), "{counts:?}");
}

/// What came over a link before it failed still counts, and only then the rest is given up.
#[test]
fn replies_of_a_link_that_fails_are_taken_in_by_slices_before_what_was_sent_is_given_up() {
    const ANSWERED_COUNT: usize = 600;
    let mut world = World::new(2, 2, |config| config.limits.commands_per_turn_max = PER_TURN_MAX as usize);
    let ids = forward(&mut world, 1_000);
    let heads = ids[..ANSWERED_COUNT].iter().map(|id| ReplyHead { id: *id, len: 5, status: ReplyStatus::Done });
    let replies = Replies { heads: heads.collect(), bytes: b"+OK\r\n".repeat(ANSWERED_COUNT).into() };
    world.send_frame(1, Frame { replies, ..Frame::default() });
    world.turn();
    let mut sent: String = (0..2).map(|idx| world.host.take_sent(conn(idx))).collect();
    world.core.end_link(LinkId(0));
    let mut counts = Vec::new();
    loop {
        let is_busy = world.turn();
        let now: String = (0..2).map(|idx| world.host.take_sent(conn(idx))).collect();
        counts.push(now.matches("+OK\r\n").count());
        sent += &now;
        if !is_busy {
            break;
        }
    }
    assert!(counts.iter().all(|count| *count <= PER_TURN_MAX as usize), "{counts:?}");
    let replies = (sent.matches("+OK\r\n").count(), sent.matches("-UNKNOWNOUTCOME").count());
    assert_eq!(replies, (ANSWERED_COUNT, 1_000 - ANSWERED_COUNT), "{counts:?}");
    assert_eq!(world.core.ctx.budget.used_by(Pool::Links), 0);
}
