//! The cluster map between cores: asked for where it is older, told on where it is newer, changed by who leads group 0.

use bytes::Bytes;
use meta::{ClusterMap, MapChange, Replace};
use wire::{MapNote, ReplicaNote, ReplicaNoteKind};

use super::*;

/// The frames that core 0 has sent to core 1 since this was last asked.
fn frames(world: &World) -> Vec<Frame> {
    let of_core_1 = |(to, message)| match message {
        MeshMessage::Frame(frame) if to == CoreId(1) => Some(*frame),
        _ => None,
    };
    world.host.take_mesh().into_iter().filter_map(of_core_1).collect()
}

/// A note of a core that knows the map of this epoch.
fn knows(epoch: u64) -> Frame {
    Frame { map: MapNote { epoch, ..MapNote::default() }, ..Frame::default() }
}

/// The one replica of a group is to be replaced where it is.
fn replace(map: &ClusterMap, group: usize) -> MapChange {
    let (id, old) = (map.groups[group].id, map.groups[group].replicas[0]);
    MapChange::Replace(Replace { group: id, replica: old.id, place: old.place })
}

fn changed(map: &ClusterMap) -> ClusterMap {
    let mut later = map.clone();
    assert!(later.change(&replace(map, 2)));
    later
}

#[test]
fn a_later_map_is_asked_for_once_in_a_while_taken_in_and_told_on() {
    let mut world = World::new(2, 2, |_| {});
    let first = ClusterMap::clone(world.core.cluster.map());
    let later = changed(&first);
    for _ in 0..3 {
        world.send_frame(1, knows(later.epoch));
        world.turn();
    }
    let asked = frames(&world).iter().filter(|frame| frame.map.is_wanted).count();
    assert_eq!(asked, 1, "the answer may be on its way");
    world.host.disk.advance(Duration::from_secs(1));
    world.send_frame(1, knows(later.epoch));
    world.turn();
    assert!(frames(&world).iter().any(|frame| frame.map.is_wanted), "it may have been lost");
    let map = Bytes::from(later.to_bytes());
    let note = MapNote { epoch: later.epoch, is_wanted: false, map: map.clone() };
    world.send_frame(1, Frame { map: note, ..Frame::default() });
    world.turn();
    assert_eq!(**world.core.cluster.map(), later);
    let wanted = MapNote { epoch: first.epoch, is_wanted: true, map: Bytes::new() };
    world.send_frame(1, Frame { map: wanted, ..Frame::default() });
    world.turns(2);
    let told = frames(&world);
    assert!(told.iter().all(|frame| frame.map.epoch == later.epoch && !frame.map.is_wanted));
    assert!(told.iter().any(|frame| frame.map.map == map), "whoever wants it gets it");
    world.send_frame(1, knows(later.epoch));
    world.turns(2);
    assert_eq!(frames(&world).len(), 0, "whoever knows it hears nothing");
    world.send_frame(1, knows(first.epoch));
    world.turns(2);
    let told: Vec<_> = frames(&world).iter().map(|frame| frame.map.epoch).collect();
    assert_eq!(told, [later.epoch], "whoever does not hears of it, again");
}

#[test]
fn the_map_of_another_cluster_is_refused() {
    let mut world = World::new(2, 2, |_| {});
    let first = ClusterMap::clone(world.core.cluster.map());
    let mut other = changed(&Config::of_test(1, 2, 3).map);
    other.epoch = 9;
    for map in [Bytes::from(other.to_bytes()), Bytes::from_static(b"no map")] {
        world.send_frame(1, Frame { map: MapNote { epoch: 9, is_wanted: false, map }, ..Frame::default() });
        world.turn();
        assert_eq!(**world.core.cluster.map(), first);
    }
}

#[test]
fn who_leads_group_0_makes_the_changes_that_others_ask_for() {
    let mut world = World::new(2, 2, |_| {});
    let first = ClusterMap::clone(world.core.cluster.map());
    let (change, old) = (replace(&first, 1), first.groups[1].replicas[0]);
    let unknown = MapChange::Replace(Replace { group: GroupId(77), replica: old.id, place: old.place });
    let asked = [&change, &change, &unknown].map(|change| Bytes::from(change.to_bytes()));
    let changes = [&asked[..], &[Bytes::from_static(b"no change")]].concat();
    world.send_frame(1, Frame { changes, ..Frame::default() });
    world.turns(10);
    let map = world.core.cluster.map();
    assert_eq!((map.epoch, map.groups[1].replicas[0].id), (first.epoch + 1, first.next_replica));
    assert!(frames(&world).iter().any(|frame| frame.map.epoch == first.epoch + 1), "all hear of it");
}

#[test]
fn a_replica_asks_its_leader_too_whether_it_is_a_member() {
    let mut world = World::new(2, 2, |_| {});
    let spec = world.core.cluster.map().groups[1].clone();
    let (group, replica) = (spec.id, spec.replicas[0]);
    assert_eq!(replica.place, world.core.ctx.addr(), "nobody else is to have a replica");
    let place = CoreAddr { core: CoreId(1), ..replica.place };
    world.send_frame(1, Frame { leaders: vec![LeaderNote { group, term: 7, place }], ..Frame::default() });
    world.turn();
    world.core.ask_standing(group, replica.id, 1);
    world.turn();
    let asked: Vec<_> = frames(&world).into_iter().flat_map(|frame| frame.replica_notes).collect();
    let question = ReplicaNote { group, replica: replica.id, term: 1, says: ReplicaNoteKind::IsMember };
    assert_eq!(asked, [question]);
}
