//! A whole core, driven turn by turn: what one turn does at most, counted and never timed.

mod admitting;
mod drive;
mod fan_out;
mod frames;
mod host;
mod listening;
mod lookahead;
mod map;
mod monitoring;
mod planning;
mod settings;
mod slices;
mod ticks;

use std::time::Duration;

use ::host::{ConnId, ListenerId, NetEvent};
use types::{CoreId, GroupId, Slot};
use wire::{Frame, LeaderNote};

use self::host::TestHost;
use super::*;
use crate::config::Config;
use crate::storage::fake::block_on;

/// The listeners, in the order in which a core begins them.
const GATEWAY: ListenerId = ListenerId(2);

/// Core 0 of the only node, and a test in the place of its clients and of the other cores.
struct World {
    core: Core<TestHost>,
    host: TestHost,
    /// Whether blocks of the log are written.
    disk_writes: bool,
}

/// The connection at a place that nobody has used before.
fn conn(idx: u32) -> ConnId {
    ConnId { idx, generation: 0 }
}

impl World {
    /// A node with this many cores, whose core 0 leads what it has of this many groups.
    fn new(cores: u16, groups_count: usize, change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config { segment_bytes: 8 << 20, ..Config::of_test(1, cores, groups_count) };
        change(&mut config);
        let host = TestHost::default();
        let mut core = block_on(Core::start(host.clone(), config)).unwrap();
        core.listen().unwrap();
        let mut world = World { core, host, disk_writes: true };
        for _ in 0..200 {
            world.host.disk.advance(Duration::from_millis(25));
            world.turn();
        }
        let led_count = world.core.groups.led(world.core.ctx.addr()).count();
        assert_eq!(led_count, world.core.groups.count(), "a core without others leads all of its groups");
        world.host.take_mesh();
        world
    }

    /// One turn, and what tasks and the disk do until the next one. Returns whether there is more to do at once.
    fn turn(&mut self) -> bool {
        let is_busy = self.core.turn().unwrap();
        while self.disk_writes && self.host.disk.complete_write() {}
        self.host.disk.run_tasks();
        is_busy
    }

    /// As many turns.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    /// As many clients on the gateway, on the first places.
    fn connect(&mut self, clients_count: u32) {
        for idx in 0..clients_count {
            let peer = ([10, 0, 0, 1], 5_000 + idx as u16).into();
            self.host.push_event(NetEvent::Accepted { conn: conn(idx), listener: GATEWAY, peer });
        }
        self.turn();
    }

    /// A client sends bytes.
    fn send(&self, conn: ConnId, text: &str) {
        self.host.push_event(NetEvent::Received { conn, buf: text.as_bytes().to_vec() });
    }

    /// Another core of the node sends a frame.
    fn send_frame(&self, from: u16, frame: Frame) {
        self.host.push_mesh(CoreId(from), MeshMessage::Frame(Box::new(frame)));
    }

    /// A key, its slot and its group: the first one whose group is led here, or the first one whose group is not.
    fn key(&self, is_led_here: bool) -> (String, Slot, GroupId) {
        let route_of = |key: &String| self.core.router.route(self.core.router.of_slot(Slot::of_key(key.as_bytes())));
        let mut keys = (0..).map(|number| format!("key{number}"));
        let key = keys.find(|key| route_of(key).local.is_some() == is_led_here).unwrap();
        let group = route_of(&key).id;
        (key.clone(), Slot::of_key(key.as_bytes()), group)
    }

    /// Core 1 says that it leads a group.
    fn learn_leader(&mut self, group: GroupId) {
        self.send_frame(1, Frame { leaders: vec![leader_note(group)], ..Frame::default() });
        self.turn();
    }
}

/// What core 1 says of a group that it leads.
fn leader_note(group: GroupId) -> LeaderNote {
    LeaderNote { group, term: 1, place: CoreAddr { node: NodeId(1), core: CoreId(1) } }
}
