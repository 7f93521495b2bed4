//! What is queued for other cores: one frame at a time, within limits.

use std::iter;

use bytes::Bytes;

use super::*;
use crate::limits::FRAME_PAYLOAD_BYTES_MAX;
use wire::{Chunk, RequestHead, RequestsBuilder};

fn matches(frame: &Frame) -> Vec<u64> {
    let of = |message: &Message| match message.body {
        Body::AppendAccepted { match_index } => match_index,
        _ => 0,
    };
    frame.messages.iter().map(of).collect()
}

fn ids(frame: &Frame) -> Vec<u64> {
    frame.replies.heads.iter().map(|head| head.id).collect()
}

fn chunk(bytes: usize) -> ChunkReply {
    let chunk = Chunk { offset: 0, total_bytes: 9_999, bytes: Bytes::from(vec![1; bytes]) };
    ChunkReply { group: GroupId(1), last_index: 5, chunk: Some(chunk) }
}

#[test]
fn one_frame_is_on_its_way_and_the_next_takes_what_has_collected() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.peers.message(&mut world.ctx, link, message(1));
    world.flush();
    let used = world.used();
    world.peers.message(&mut world.ctx, link, message(2));
    world.flush();
    world.peers.message(&mut world.ctx, link, message(3));
    world.peers.reply(reply_of(link, 8), |reply| reply.ok());
    world.peers.send_back(link, 9);
    world.flush();
    assert!(used > 0 && world.used() > used + 2 * 64, "the frame on its way counts, and what waits");
    let buf = world.net.take_send(conn).unwrap();
    assert_eq!(matches(&decode(&buf)), [1]);
    world.peers.sent(conn, buf);
    let next = world.frame(conn).unwrap();
    assert_eq!((matches(&next), ids(&next)), (vec![2, 3], vec![8, 9]));
    assert_eq!(next.replies.heads[1].status, ReplyStatus::NotLeader);
    assert_eq!(&next.replies.bytes[..], b"+OK\r\n");
    assert!(world.frame(conn).is_none());
    assert_eq!((world.ctx.counters.frames_sent, world.used()), (2, 0));
}

#[test]
fn replies_that_came_over_a_link_that_fails_have_their_turn_and_commands_do_not() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let replies = |id| {
        let mut replies = wire::RepliesBuilder::default();
        replies.push(id, ReplyStatus::Done, |out| out.extend_from_slice(b"+OK\r\n"));
        replies.take_up_to(1_000)
    };
    let requests = || {
        let mut requests = RequestsBuilder::default();
        let head =
            RequestHead { id: 1, group: 1, arguments_count: 0, command: 0, slot: 0, resp3: false, resumes: false };
        requests.push(head, iter::empty());
        requests.finish()
    };
    world.peers.keep_input(link, Replies::default(), requests());
    assert!(world.used() > 0);
    assert!(!world.peers.end_connection_input(link), "nothing is left");
    assert_eq!((world.used(), world.peers.has_input()), (0, false));
    world.peers.keep_input(link, replies(1), requests());
    world.peers.keep_input(link, replies(2), requests());
    assert!(world.peers.end_connection_input(link));
    // Over the next connection.
    world.peers.keep_input(link, replies(3), requests());
    assert_eq!((world.peers.next_input(), world.peers.next_input()), (Some(link), None), "one turn, not two");
    let mut take = || {
        let received = world.peers.pop_input(link)?;
        Some((matches!(received, Received::Replies(_)), world.peers.is_input_done(link)))
    };
    let taken: Vec<_> = iter::from_fn(&mut take).collect();
    assert_eq!(taken, [(true, false), (true, true), (true, false), (false, false)]);
    world.peers.end_input(link);
    assert_eq!((world.used(), world.peers.has_input()), (0, false));
}

#[test]
fn commands_for_a_core_go_with_the_next_frame_when_the_link_is_marked() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.flush();
    let head = RequestHead {
        id: 5,
        group: 1,
        arguments_count: 0,
        command: resp::CommandId::Get.as_u16(),
        slot: 0,
        resp3: false,
        resumes: false,
    };
    let mut builder = RequestsBuilder::default();
    builder.push(head, iter::once(&b"key"[..]));
    world.requests.push((link, builder.finish()));
    world.flush();
    assert_eq!(world.net.sends_count(), 0);
    world.peers.mark(link);
    world.peers.mark(link);
    let frame = world.frame(conn).unwrap();
    assert_eq!((frame.requests.heads[0].id, &frame.requests.bytes[..]), (5, &b"key"[..]));
}

#[test]
fn messages_beyond_the_limit_are_dropped_and_counted() {
    let mut world = World::new(|config| config.limits.outbox_messages_bytes_max = 300);
    let link = world.link(OTHER);
    world.peers.message(&mut world.ctx, link, message(1));
    assert_eq!(world.ctx.counters.messages_dropped, 1, "the link is down");
    let conn = world.up(link);
    world.peers.message(&mut world.ctx, link, append(1, 1_000));
    world.peers.message(&mut world.ctx, link, message(2));
    assert_eq!(world.ctx.counters.messages_dropped, 2, "a message alone may be of any length, and only alone");
    assert_eq!(world.frame(conn).unwrap().messages, [append(1, 1_000)]);
    (1..=6).for_each(|index| world.peers.message(&mut world.ctx, link, message(index)));
    assert_eq!((world.ctx.counters.messages_dropped, world.peers.links[link.idx()].outbox.messages_bytes), (4, 256));
    assert_eq!(matches(&world.frame(conn).unwrap()), [1, 2, 3, 4]);
    world.peers.message(&mut world.ctx, link, message(7));
    assert_eq!((matches(&world.frame(conn).unwrap()), world.ctx.counters.messages_dropped), (vec![7], 4));
}

#[test]
fn messages_are_cut_at_the_bound_of_a_frame() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    for bytes in [FRAME_PAYLOAD_BYTES_MAX + 1, 10, FRAME_PAYLOAD_BYTES_MAX - 10, 1] {
        world.peers.message(&mut world.ctx, link, append(1, bytes));
    }
    let counts = [1, 2, 1].map(|count| (count, world.frame(conn).unwrap().messages.len()));
    assert!(counts.iter().all(|(expected, count)| expected == count), "{counts:?}");
    assert_eq!(world.net.take_awaited(), [conn, conn], "there was more behind the first two frames");
    assert!(world.frame(conn).is_none());
    assert_eq!((world.used(), world.peers.links[link.idx()].outbox.messages_bytes), (0, 0));
}

#[test]
fn very_many_entries_are_sent_in_one_run_and_frames_with_many_are_cut() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.peers.message(&mut world.ctx, link, append(2_000, 10));
    world.peers.message(&mut world.ctx, link, append(600, 10));
    world.peers.message(&mut world.ctx, link, append(600, 10));
    let lengths = [2_000, 600, 600].map(|expected| {
        world.flush();
        let buf = world.net.take_send(conn).unwrap();
        assert_eq!(matches!(buf, SendBuf::Plain(_)), expected == 2_000, "one gathering send takes 1024 runs");
        let frame = decode(&buf);
        world.peers.sent(conn, buf);
        let lengths = frame.messages.iter().map(|message| match &message.body {
            Body::Append { entries, .. } => entries.len(),
            _ => 0,
        });
        lengths.collect::<Vec<_>>()
    });
    assert_eq!(lengths, [[2_000], [600], [600]]);
}

#[test]
fn replies_are_cut_at_the_bound_of_a_frame() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    let part = vec![b'x'; FRAME_PAYLOAD_BYTES_MAX * 3 / 8];
    for id in 1..=3 {
        world.peers.reply(reply_of(link, id), |reply| reply.bulk(&part));
    }
    assert_eq!(ids(&world.frame(conn).unwrap()), [1, 2]);
    assert_eq!(ids(&world.frame(conn).unwrap()), [3]);
    assert!(world.frame(conn).is_none());
}

#[test]
fn replies_for_a_core_have_room_up_to_twice_the_limit_of_commands() {
    let mut world = World::new(|config| config.limits.outbox_bytes_max = 1_000);
    let link = world.link(OTHER);
    world.up(link);
    assert!(world.peers.has_room(link, 1 << 20) && world.peers.takes_replies(link), "nothing waits");
    let reply = |world: &mut World, id| world.peers.reply(reply_of(link, id), |reply| reply.bulk(&[b'x'; 900]));
    reply(&mut world, 1);
    assert!(
        world.peers.takes_replies(link) && world.peers.has_room(link, 1_000) && !world.peers.has_room(link, 1_200)
    );
    reply(&mut world, 2);
    assert!(!world.peers.takes_replies(link), "its commands are held from now on");
    assert!(world.peers.has_room(link, 100) && !world.peers.has_room(link, 400));
    let other = world.link(CoreAddr { node: NodeId(3), ..OTHER });
    assert!(world.peers.takes_replies(other));
}

#[test]
fn what_is_for_a_core_whose_link_is_down_is_not_queued() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    world.peers.reply(reply_of(link, 1), |reply| reply.ok());
    world.peers.send_back(link, 2);
    world.peers.chunk(link, chunk(10));
    let request = ChunkRequest { group: GroupId(1), last_index: 0, offset: 0 };
    world.peers.chunk_request(link, request);
    world.peers.announce(note(1));
    assert!(world.peers.links[link.idx()].outbox.is_empty());
    let conn = world.up(link);
    world.peers.chunk_request(link, request);
    (0..CHUNKS_COUNT_MAX + 1).for_each(|_| world.peers.chunk(link, chunk(1_000)));
    world.flush();
    assert!(world.used() >= 1_000 * CHUNKS_COUNT_MAX);
    let buf = world.net.take_send(conn).unwrap();
    let frame = decode(&buf);
    assert_eq!((frame.chunks.len(), &frame.chunk_requests[..]), (CHUNKS_COUNT_MAX, &[request][..]));
    world.peers.sent(conn, buf);
    world.flush();
    assert_eq!(world.used(), 0);
}

#[test]
fn who_leads_is_told_to_all_that_are_up_and_to_one_that_has_come_up() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.up(link);
    world.peers.announce(note(1));
    world.peers.send_leaders(link, [note(2), note(3)].into_iter());
    let frame = world.frame(conn).unwrap();
    assert_eq!(frame.leaders, [note(1), note(2), note(3)]);
    let told: Vec<_> = world.mesh.iter().map(|(to, frame)| (*to, frame.leaders.len())).collect();
    assert_eq!(told, [(NEIGHBOUR, 1)]);
}

#[test]
fn a_mesh_that_refuses_a_frame_gets_it_again_before_newer_ones() {
    let mut world = World::new(|_| {});
    let link = world.link(NEIGHBOUR);
    world.is_mesh_full = true;
    world.peers.message(&mut world.ctx, link, message(1));
    world.flush();
    assert!(world.peers.has_unsent_mesh(), "nothing else brings the core back to it");
    world.peers.message(&mut world.ctx, link, message(2));
    world.flush();
    assert_eq!(world.ctx.counters.frames_sent, 0);
    world.is_mesh_full = false;
    world.flush();
    let order: Vec<_> = world.mesh.iter().map(|(to, frame)| (*to, matches(frame))).collect();
    assert_eq!(order, [(NEIGHBOUR, vec![1]), (NEIGHBOUR, vec![2])]);
    assert!(!world.peers.has_unsent_mesh());
    world.flush();
    assert_eq!((world.mesh.len(), world.ctx.counters.frames_sent, world.used()), (2, 2, 0), "nothing is sent twice");
}

#[test]
fn what_does_not_fit_a_frame_over_the_mesh_goes_with_the_next_without_an_event() {
    let mut world = World::new(|_| {});
    let link = world.link(NEIGHBOUR);
    for _ in 0..2 {
        world.peers.message(&mut world.ctx, link, append(1, FRAME_PAYLOAD_BYTES_MAX));
    }
    world.flush();
    assert!(world.peers.has_unsent_mesh());
    world.flush();
    assert_eq!((world.mesh.len(), world.peers.has_unsent_mesh()), (2, false));
}
