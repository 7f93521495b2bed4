//! The router without a host: what it decides, and what becomes of commands when links and leaders change.

mod deadlines;
mod failures;
mod figures;
mod limits;
mod links;
mod order;
mod shares;
mod slices;
mod windows;

use std::time::Duration;

use wire::{ReplyStatus, Requests};

use super::*;
use crate::config::Config;
use crate::testing::{self, Answers, client, with_request};

/// This core, and those of two other nodes.
const ME: CoreAddr = CoreAddr { node: types::NodeId(1), core: types::CoreId(0) };
const OTHERS: [CoreAddr; 2] = [
    CoreAddr { node: types::NodeId(2), core: types::CoreId(0) },
    CoreAddr { node: types::NodeId(3), core: types::CoreId(0) },
];

struct World {
    ctx: Context,
    router: Router,
    answers: Answers,
    sent_count: u64,
}

impl World {
    /// A router with both links up and the group of slot 0 led at the first of the others.
    fn new(change: impl FnOnce(&mut Config)) -> World {
        let ctx = testing::context(change);
        let links = OTHERS.iter().enumerate().map(|(idx, addr)| (*addr, LinkId(idx as u32))).collect();
        let router = Router::new(&ctx, &ctx.config.map.clone(), links, 0).unwrap();
        let mut world = World { ctx, router, answers: Answers::default(), sent_count: 0 };
        (0..2).for_each(|link| world.router.set_takes_commands(LinkId(link), true));
        world.lead(OTHERS[0], 1);
        world
    }

    fn route(&self) -> usize {
        self.router.of_slot(Slot::default())
    }

    fn lead(&mut self, addr: CoreAddr, term: Term) {
        let note = LeaderNote { group: self.router.route(self.route()).id, term, place: addr };
        self.router.learn_leader(&mut self.ctx, note);
    }

    /// Forwards a command under the next number.
    fn forward(&mut self, line: &str) -> Forwarded {
        self.forward_by(self.route(), line)
    }

    /// The same by a route.
    fn forward_by(&mut self, route: usize, line: &str) -> Forwarded {
        self.sent_count += 1;
        let World { ctx, router, answers, .. } = self;
        answers.routes.insert(self.sent_count, route);
        with_request(client(self.sent_count), line, |request| router.forward(ctx, route, None, request))
    }

    /// Forwards commands that must all be taken in.
    fn forward_all(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| assert_eq!(self.forward(line), Forwarded::Taken, "{line}"));
    }

    /// A turn: lets the queues go on, without a replica here, and takes what goes over a link.
    fn sent(&mut self, link: u32) -> Requests {
        self.work();
        while let Some(route) = self.router.next_to_drain(&self.ctx) {
            assert!(self.router.drain(&mut self.ctx, route, None).is_none());
        }
        self.router.take_requests(LinkId(link)).unwrap_or_default()
    }

    /// The first argument of each command.
    fn keys(requests: &Requests) -> Vec<String> {
        let (mut ends, mut keys) = (requests.ends.iter(), Vec::new());
        let mut start = 0;
        for head in &requests.heads {
            for nth in 0..head.arguments_count {
                let end = *ends.next().unwrap();
                if nth == 0 {
                    keys.push(String::from_utf8(requests.bytes[start as usize..end as usize].to_vec()).unwrap());
                }
                start = end;
            }
        }
        keys
    }

    fn answer(&mut self, link: u32, id: u64, status: ReplyStatus, bytes: &[u8]) {
        self.router.on_reply(&mut self.ctx, &mut self.answers, LinkId(link), id, status, bytes);
    }

    fn tick(&mut self, after: Duration, is_silent: bool) {
        self.ctx.now += after;
        self.router.tick(&self.ctx, |_| is_silent);
        self.work();
    }

    fn fail_link(&mut self, link: u32) {
        self.router.link_failed(LinkId(link));
        self.work();
    }

    /// The router's share of one turn.
    fn work(&mut self) {
        self.ctx.shares.begin();
        self.router.work(&mut self.ctx, &mut self.answers);
    }
}

fn local(leads: bool) -> Option<LocalReplica> {
    Some(LocalReplica { group: 5, leads, is_full: false, must_writers_wait: false, has_unsettled: false })
}

#[test]
fn a_group_led_here_is_local_while_no_older_command_waits() {
    let mut world = World::new(|_| {});
    let route = world.route();
    for port in [Port::Gateway, Port::Core] {
        assert_eq!(world.router.decide(ME, port, route, local(true)), Decision::Local(5));
    }
    assert_eq!(world.forward("GET a"), Forwarded::Taken);
    for port in [Port::Gateway, Port::Core] {
        assert_eq!(world.router.decide(ME, port, route, local(true)), Decision::Forward, "behind the older one");
    }
}

#[test]
fn a_core_port_redirects_and_a_gateway_forwards() {
    let world = World::new(|_| {});
    let route = world.route();
    for replica in [None, local(false)] {
        assert_eq!(world.router.decide(ME, Port::Core, route, replica), Decision::Moved(OTHERS[0]));
        assert_eq!(world.router.decide(ME, Port::Gateway, route, replica), Decision::Forward);
    }
}

#[test]
fn a_core_port_says_cluster_down_while_no_leader_is_known() {
    let mut world = World::new(|_| {});
    let (route, group) = (world.route(), world.router.route(world.route()).id);
    world.router.forget_leader(group, 1);
    assert_eq!(world.router.decide(ME, Port::Core, route, None), Decision::ClusterDown(Refusal::NoLeader));
    assert_eq!(world.router.decide(ME, Port::Gateway, route, None), Decision::Forward, "it waits");
    world.lead(ME, 2);
    assert_eq!(
        world.router.decide(ME, Port::Core, route, local(false)),
        Decision::ClusterDown(Refusal::NoLeader),
        "it was led here until just now"
    );
}

#[test]
fn notes_about_leaders_that_cannot_be_true_change_nothing() {
    let mut world = World::new(|_| {});
    let nowhere = testing::core(9);
    world.lead(nowhere, 2);
    world.lead(OTHERS[1], Term::MAX);
    world.router.learn_leader(&mut world.ctx, LeaderNote { group: GroupId(99), term: 2, place: OTHERS[1] });
    assert_eq!(world.ctx.counters.leader_notes_refused, 3);
    world.lead(OTHERS[1], 2);
    let route = world.route();
    assert_eq!(world.router.decide(ME, Port::Core, route, None), Decision::Moved(OTHERS[1]));
    world.lead(OTHERS[0], 1);
    assert_eq!(world.router.decide(ME, Port::Core, route, None), Decision::Moved(OTHERS[1]), "that was before");
}

#[test]
fn commands_stand_in_the_frame_of_their_link_in_order_and_are_answered_once() {
    let mut world = World::new(|_| {});
    for line in ["SET a 1", "GET b", "DEL c"] {
        assert_eq!(world.forward(line), Forwarded::Taken);
    }
    let sent = world.sent(0);
    assert_eq!(World::keys(&sent), ["a", "b", "c"]);
    assert_eq!(sent.heads.iter().map(|head| head.resumes).collect::<Vec<_>>(), [true, false, false]);
    assert!(world.sent(1).is_empty());
    for (head, reply) in sent.heads.iter().zip(["+OK\r\n", "$-1\r\n", ":0\r\n"]) {
        world.answer(0, head.id, ReplyStatus::Done, reply.as_bytes());
        world.answer(0, head.id, ReplyStatus::Done, b"+again\r\n");
        world.answer(1, head.id, ReplyStatus::Done, b"+of another link\r\n");
    }
    let answers: Vec<&str> = world.answers.replies.values().map(String::as_str).collect();
    assert_eq!(answers, ["+OK\r\n", "$-1\r\n", ":0\r\n"]);
    world.router.settle();
    assert_eq!(world.ctx.budget.used_by(Pool::Forwarded), 0, "nothing is held for what is answered");
}

#[test]
fn refused_commands_go_to_the_next_leader_in_order_before_newer_ones() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "GET b"]);
    let sent = world.sent(0);
    world.lead(OTHERS[1], 2);
    assert_eq!(world.forward("GET c"), Forwarded::Taken);
    assert!(world.sent(1).is_empty(), "older ones are with the former leader");
    world.answer(0, sent.heads[1].id, ReplyStatus::NotLeader, b"");
    assert!(world.sent(1).is_empty());
    world.answer(0, sent.heads[0].id, ReplyStatus::NotLeader, b"");
    let again = world.sent(1);
    assert_eq!(World::keys(&again), ["a", "b", "c"]);
    assert!(again.heads[0].resumes && !again.heads[1].resumes);
}

#[test]
fn a_link_that_breaks_leaves_writes_unknown_and_sends_reads_again() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "GET b"]);
    world.sent(0);
    world.forward_all(&["SET c 1", "GET d"]);
    world.fail_link(0);
    assert_eq!(world.answers.replies.keys().copied().collect::<Vec<_>>(), [1]);
    assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"), "it had left");
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(World::keys(&world.sent(0)), ["b", "c", "d"], "the second write had not left this core");
}

#[test]
fn a_read_before_a_write_of_the_same_client_is_not_asked_again_when_the_write_may_have_run() {
    let mut world = World::new(|_| {});
    world.forward_all(&["GET a", "SET a 1", "GET a"]);
    world.sent(0);
    world.fail_link(0);
    assert!(world.answers.replies[&1].starts_with("-TRYAGAIN"), "{:?}", world.answers.replies);
    assert!(world.answers.replies[&2].starts_with("-UNKNOWNOUTCOME"));
    world.router.set_takes_commands(LinkId(0), true);
    assert_eq!(world.sent(0).heads.len(), 1, "the read behind the write sees it or not, as it likes");
}

#[test]
fn a_former_leader_is_given_a_moment_and_a_silent_one_none() {
    for (is_silent, waits) in [(false, true), (true, false)] {
        let mut world = World::new(|_| {});
        world.forward_all(&["SET a 1", "GET b"]);
        world.sent(0);
        world.lead(OTHERS[1], 2);
        world.tick(Duration::from_millis(25), is_silent);
        assert_eq!(world.answers.replies.is_empty(), waits);
        world.tick(Duration::from_millis(250), is_silent);
        assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
        assert_eq!(World::keys(&world.sent(1)), ["b"]);
    }
}

/// What stands in the frame to a former leader and has not left will leave with it: it must not go to the new one too.
#[test]
fn an_unsent_write_to_a_former_leader_is_not_sent_to_the_next_one() {
    let mut world = World::new(|_| {});
    world.forward("SET a 1");
    world.lead(OTHERS[1], 2);
    world.tick(Duration::from_millis(25), false);
    world.tick(Duration::from_millis(250), false);
    assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
    assert!(world.sent(1).is_empty());
    assert_eq!(World::keys(&world.sent(0)), ["a"]);
}

#[test]
fn commands_without_a_leader_wait_for_a_bounded_time_and_in_a_bounded_number() {
    let mut world = World::new(|config| config.limits.queued_count_max = 2);
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    assert_eq!(world.forward("SET a 1"), Forwarded::Taken);
    assert_eq!(world.forward("GET b"), Forwarded::Taken);
    assert_eq!(world.forward("GET c"), Forwarded::Refused(Refusal::QueueFull));
    let wait = world.ctx.config.leader_wait;
    world.tick(wait / 2, false);
    assert!(world.answers.replies.is_empty());
    world.tick(wait, false);
    assert!(world.answers.replies.values().all(|reply| reply.starts_with("-CLUSTERDOWN")));
    assert_eq!(world.answers.replies.len(), 2);
    assert_eq!(world.ctx.refusals.counts().get(Refusal::NoLeaderInTime), 2);
}

#[test]
fn a_busy_route_blocks_its_clients_and_names_them_once_there_is_room() {
    let mut world = World::new(|config| {
        config.limits.route_in_flight_bytes_max = 300;
        config.limits.queued_count_max = 1;
    });
    assert_eq!(world.forward("SET a 1"), Forwarded::Taken);
    let sent = world.sent(0);
    let mut taken = 1;
    while world.forward("SET b 1") == Forwarded::Taken {
        taken += 1;
        assert!(taken < 10, "nothing bounds what is taken in");
    }
    assert!(world.router.take_unblocked(&world.ctx).is_empty());
    let rest = world.sent(0);
    for head in sent.heads.iter().chain(&rest.heads) {
        world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n");
    }
    let last = world.sent(0);
    for head in &last.heads {
        world.answer(0, head.id, ReplyStatus::Done, b"+OK\r\n");
    }
    assert_eq!(world.router.take_unblocked(&world.ctx), [world.route()]);
    assert_eq!(world.answers.replies.len(), taken);
}

#[test]
fn answers_that_do_not_come_end_with_an_error_that_says_what_is_known() {
    let mut world = World::new(|_| {});
    world.forward_all(&["SET a 1", "GET b"]);
    world.sent(0);
    world.tick(world.ctx.config.leader_wait, false);
    assert!(world.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
    assert!(world.answers.replies[&2].starts_with("-TRYAGAIN"));
}

#[test]
fn a_long_reply_without_room_is_withheld_and_says_whether_the_command_ran() {
    let mut world = World::new(|_| {});
    world.answers.is_full = true;
    world.forward_all(&["GETSET a 1", "GET b", "GET c"]);
    let sent = world.sent(0);
    let long = [b"$2000\r\n".to_vec(), vec![b'x'; 2_000], b"\r\n".to_vec()].concat();
    world.answer(0, sent.heads[0].id, ReplyStatus::Done, &long);
    world.answer(0, sent.heads[1].id, ReplyStatus::Done, &long);
    world.answer(0, sent.heads[2].id, ReplyStatus::Done, b"$-1\r\n");
    assert!(world.answers.replies[&1].starts_with("-ERR the command was applied"));
    assert!(world.answers.replies[&2].starts_with("-TRYAGAIN"));
    assert_eq!(world.answers.replies[&3], "$-1\r\n", "short ones always have room");
}

#[test]
fn what_the_replica_here_gives_back_is_executed_first_once_it_leads_again() {
    let mut world = World::new(|_| {});
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    world.forward("GET newer");
    let older = (10..12).map(|seq| with_request(client(seq), "GET older", |request| request.to_owned())).collect();
    world.router.requeue(&world.ctx, group, older);
    let route = world.router.next_to_drain(&world.ctx).unwrap();
    let mut executed = Vec::new();
    while let Some(request) = world.router.drain(&mut world.ctx, route, local(true)) {
        let crate::origin::Origin::Client { seq, .. } = request.origin else { panic!("not of this test") };
        executed.push(seq);
    }
    assert_eq!(executed, [10, 11, 1]);
}

/// The replica here gives commands back a slice per turn, the last ones first.
#[test]
fn each_slice_that_the_replica_here_gives_back_goes_before_the_one_of_the_turn_before() {
    let mut world = World::new(|_| {});
    let group = world.router.route(world.route()).id;
    world.router.forget_leader(group, 1);
    let requeuing = Some(LocalReplica { leads: false, has_unsettled: true, ..local(false).unwrap() });
    for slice in [[14, 15], [12, 13], [10, 11]] {
        let older = slice.map(|seq| with_request(client(seq), "GET older", |request| request.to_owned()));
        world.router.requeue(&world.ctx, group, older.into());
        assert_eq!(world.forward("GET newer"), Forwarded::Taken);
        while let Some(route) = world.router.next_to_drain(&world.ctx) {
            assert!(world.router.drain(&mut world.ctx, route, requeuing).is_none(), "older ones are still to come");
        }
    }
    let route = world.route();
    world.router.want_drain(route);
    assert_eq!(world.router.next_to_drain(&world.ctx), Some(route));
    let mut executed = Vec::new();
    while let Some(request) = world.router.drain(&mut world.ctx, route, local(true)) {
        let crate::origin::Origin::Client { seq, .. } = request.origin else { panic!("not of this test") };
        executed.push(seq);
    }
    assert_eq!(executed, [10, 11, 12, 13, 14, 15, 1, 2, 3]);
}
