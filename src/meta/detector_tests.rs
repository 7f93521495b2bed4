use types::{CoreAddr, CoreId, GroupId, ReplicaId};
use wire::{Member, Membership};

use super::*;
use crate::bootstrap::Bootstrap;
use crate::id::ClusterId;
use crate::map::{Node, Settings};
use crate::reports::{Disk, GroupReport, NodeReport, Silence};

const PATIENCE: Patience = Patience {
    suspect_after: Duration::from_secs(5),
    node_down_after: Duration::from_secs(600),
    write_stall_max: Duration::from_secs(10),
    report_age_max: Duration::from_secs(30),
};

/// Three nodes, one group; its replica 1 leads on node 1. Node 3 is what is looked at.
struct World {
    map: ClusterMap,
    reports: Reports,
    detector: Detector,
    now: Instant,
    /// Whether node 3 is heard by group 0's leader, and for how long its disk has not written.
    is_heard: bool,
    stalled_for: Duration,
    /// Whether the group's leader hears the replica on node 3; none if it says nothing.
    group_hears: Option<bool>,
}

impl World {
    fn new() -> World {
        let node = |id: u32| Node {
            id: NodeId(id),
            host: [127, 0, 0, id as u8].into(),
            gateway_port: 7000,
            core_port: 7001,
            peer_port: 8001,
            admin_port: 9000,
            cores: 1,
            rack: None,
        };
        let nodes = (1..=3).map(node).collect();
        let bootstrap = Bootstrap { cluster_id: ClusterId(7), nodes, groups_count: 1, settings: Settings::default() };
        let map = ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap");
        let now = Instant::ZERO + Duration::from_secs(10_000);
        let detector = Detector::new(PATIENCE, now);
        let (is_heard, stalled_for, group_hears) = (true, Duration::ZERO, Some(true));
        World { map, reports: Reports::default(), detector, now, is_heard, stalled_for, group_hears }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            for id in 1..=3 {
                if id == 3 && !self.is_heard {
                    continue;
                }
                let write_stalled_for = if id == 3 { self.stalled_for } else { Duration::ZERO };
                let (disk, snapshots_in, snapshots_out) = (Disk::default(), 0, 0);
                let report = NodeReport { heard_at: self.now, write_stalled_for, disk, snapshots_in, snapshots_out };
                self.reports.nodes.insert(NodeId(id), report);
            }
            if let Some(hears) = self.group_hears {
                self.reports.hear_group(GroupId(1), group_report(self.now, hears));
            }
            self.detector.look(&self.map, &self.reports, self.now);
        }
    }

    /// Seconds until node 3 is down, at most so many.
    fn seconds_until_down(&mut self, at_most: u64) -> Option<u64> {
        (1..=at_most).find(|_| {
            self.pass(1);
            self.is_down()
        })
    }

    fn health(&self) -> Health {
        self.detector.health(NodeId(3))
    }

    fn is_down(&self) -> bool {
        matches!(self.health(), Health::Down { .. })
    }

    fn lose(&mut self) {
        (self.is_heard, self.group_hears) = (false, Some(false));
    }

    fn find(&mut self) {
        (self.is_heard, self.group_hears) = (true, Some(true));
    }
}

fn group_report(heard_at: Instant, hears: bool) -> GroupReport {
    let member =
        |id: u32| Member { id: ReplicaId(u64::from(id)), place: CoreAddr { node: NodeId(id), core: CoreId(0) } };
    GroupReport {
        heard_at,
        term: 1,
        leader: ReplicaId(1),
        membership: Membership::of_voters((1..=3).map(member)),
        membership_index: 1,
        silent: if hears { Vec::new() } else { vec![Silence { replica: ReplicaId(3), since: heard_at }] },
        behind: Vec::new(),
        bytes: 0,
        ops_per_s: 0,
    }
}

#[test]
fn a_silent_node_is_suspect_and_then_down() {
    let mut world = World::new();
    world.pass(20);
    assert_eq!(world.health(), Health::Up);
    let since = world.now;
    world.lose();
    world.pass(4);
    assert_eq!(world.health(), Health::Up, "a few lost messages are nothing");
    world.pass(1);
    assert_eq!(world.health(), Health::Suspect { since, down_at: since + Duration::from_secs(600) });
    assert_eq!(world.seconds_until_down(10_000), Some(595));
    assert_eq!(world.health(), Health::Down { since });
    assert_eq!(world.detector.healths().len(), 3);
    world.find();
    world.pass(1);
    assert_eq!(world.health(), Health::Up);
}

#[test]
fn one_witness_is_not_enough() {
    let mut world = World::new();
    world.is_heard = false;
    assert_eq!(world.seconds_until_down(3_000), None, "the group's leader hears it");
    assert!(matches!(world.health(), Health::Suspect { .. }));
    world.group_hears = Some(false);
    assert_eq!(world.seconds_until_down(3_000), Some(600), "for the whole interval both must agree");
    let mut world = World::new();
    world.group_hears = Some(false);
    assert_eq!(world.seconds_until_down(3_000), None, "group 0's leader hears it");
    assert_eq!(world.health(), Health::Up);
}

#[test]
fn old_words_of_leaders_do_not_count() {
    let mut world = World::new();
    world.lose();
    world.pass(100);
    world.group_hears = None;
    assert_eq!(world.seconds_until_down(3_000), None, "who leads the group is silent, too");
    world.group_hears = Some(false);
    assert_eq!(world.seconds_until_down(3_000), Some(1));
}

#[test]
fn a_new_detector_waits_for_the_whole_interval() {
    let mut world = World::new();
    world.lose();
    world.pass(599);
    world.detector = Detector::new(PATIENCE, world.now);
    assert_eq!(world.seconds_until_down(3_000), Some(600));
}

#[test]
fn a_node_whose_disk_stalls_is_as_good_as_silent() {
    let mut world = World::new();
    world.stalled_for = Duration::from_secs(10);
    world.pass(20);
    assert_eq!(world.health(), Health::Up);
    (world.stalled_for, world.group_hears) = (Duration::from_secs(11), Some(false));
    assert_eq!(world.seconds_until_down(3_000), Some(600));
}

#[test]
fn a_node_that_comes_and_goes_is_given_more_time() {
    let mut world = World::new();
    world.pass(10);
    for wait in [600, 1_200, 2_400] {
        world.lose();
        assert_eq!(world.seconds_until_down(10_000), Some(wait));
        world.find();
        world.pass(10);
    }
    // Three returns make it 4,800 s. Each is forgiven after twice the wait, and the first of them began ten seconds ago.
    world.pass(9_600);
    world.lose();
    assert_eq!(world.seconds_until_down(10_000), Some(2_400));
}

#[test]
fn a_node_that_returns_before_it_is_down_counts_as_there() {
    let mut world = World::new();
    for _ in 0..5 {
        world.lose();
        world.pass(599);
        world.find();
        world.pass(1);
    }
    world.lose();
    assert_eq!(world.seconds_until_down(10_000), Some(600));
}

#[test]
fn nodes_that_are_removed_are_forgotten() {
    let mut world = World::new();
    world.pass(1);
    world.map.nodes.pop();
    world.pass(1);
    assert_eq!((world.detector.healths().len(), world.health()), (2, Health::Up));
}
