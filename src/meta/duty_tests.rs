use types::{CoreAddr, CoreId};

use super::*;
use crate::bootstrap::Bootstrap;
use crate::change::{Dismiss, Invite, Join, MapChange, Replace};
use crate::error::Error;
use crate::id::ClusterId;
use crate::map::{Node, NodeDuty, Settings};

fn node(id: u32) -> Node {
    Node {
        id: NodeId(id),
        host: [127, 0, 0, id as u8].into(),
        gateway_port: 7000,
        core_port: 7001,
        peer_port: 8001,
        admin_port: 9000,
        cores: 2,
        rack: None,
    }
}

fn map(nodes_count: u32) -> ClusterMap {
    let nodes = (1..=nodes_count).map(node).collect();
    let bootstrap = Bootstrap { cluster_id: ClusterId(7), nodes, groups_count: 4, settings: Settings::default() };
    ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap")
}

fn assign(node: u32, duty: Duty) -> MapChange {
    MapChange::Assign(Assign { node: NodeId(node), duty })
}

fn dismiss(node: u32) -> MapChange {
    MapChange::Dismiss(Dismiss { node: NodeId(node) })
}

#[test]
fn what_is_asked_of_a_node_stands_in_the_map_once_and_can_be_taken_back() {
    let first = map(6);
    let mut map = first.clone();
    let drain = assign(2, Duty::Drains);
    assert_eq!(MapChange::from_bytes(&drain.to_bytes()), Ok(drain.clone()));
    assert!(map.change(&drain) && map.shows(&drain));
    assert!(!map.change(&drain), "it was asked already");
    assert!(map.change(&assign(1, Duty::Leaves)));
    assert_eq!(
        (map.duty(NodeId(1)), map.duty(NodeId(2)), map.duty(NodeId(3))),
        (Duty::Leaves, Duty::Drains, Duty::Serves)
    );
    assert_eq!(map.validate(), Ok(()));
    assert_eq!(ClusterMap::from_bytes(&map.to_bytes()), Ok(map.clone()));
    assert!(map.change(&assign(2, Duty::Serves)) && map.change(&assign(1, Duty::Serves)));
    assert!(!map.change(&assign(3, Duty::Serves)), "it does");
    assert_eq!((map.duties.len(), map.epoch), (0, first.epoch + 4));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let mut map = map(6);
    let may = |map: &ClusterMap, node: u32, duty| map.may_assign(Assign { node: NodeId(node), duty });
    assert_eq!(may(&map, 9, Duty::Drains), Err(DutyRefusal::Unknown(NodeId(9))));
    assert!(!map.change(&assign(9, Duty::Drains)));
    assert!(map.change(&assign(1, Duty::Leaves)));
    assert_eq!(may(&map, 1, Duty::Leaves), Ok(()), "it does already");
    let too_few = DutyRefusal::TooFewRemain { node: NodeId(2), remain: 4, replicas: 5 };
    assert_eq!(may(&map, 2, Duty::Leaves), Err(too_few));
    assert!(too_few.to_string().contains("4 nodes would remain") && too_few.to_string().contains("CORACLE TOKEN"));
    assert!(!map.change(&assign(2, Duty::Leaves)), "the log holds it all the same");
    assert_eq!(may(&map, 2, Duty::Drains), Ok(()));
    assert!(map.change(&MapChange::Invite(Invite { token: [7; 16], at_ms: 1, expires_ms: 9 })));
    let join = Join { token: [7; 16], at_ms: 2, incarnation: 5, node: Node { id: NodeId(0), ..node(9) } };
    assert!(map.change(&MapChange::Join(join)));
    assert!(map.change(&assign(2, Duty::Leaves)), "there is another one now");
}

#[test]
fn a_node_is_dismissed_only_while_it_is_to_leave_and_holds_nothing() {
    let mut map = map(6);
    assert!(map.change(&assign(4, Duty::Leaves)));
    assert!(!map.change(&dismiss(4)), "replicas are wanted there");
    let moved: Vec<_> = map.groups_on(NodeId(4)).map(|group| group.id).collect();
    for id in moved {
        let group = map.group(id).unwrap().clone();
        let old = group.replicas.iter().find(|one| one.place.node == NodeId(4)).unwrap();
        let others = (1..=6).map(NodeId).filter(|id| *id != NodeId(4));
        let free = others.into_iter().find(|id| group.replicas.iter().all(|one| one.place.node != *id)).unwrap();
        let place = CoreAddr { node: free, core: CoreId(0) };
        assert!(map.change(&MapChange::Replace(Replace { group: id, replica: old.id, place })));
    }
    let mut back = map.clone();
    assert!(back.change(&assign(4, Duty::Serves)));
    assert!(!back.change(&dismiss(4)), "it is to stay by now");
    assert!(map.change(&dismiss(4)) && !map.change(&dismiss(4)) && map.shows(&dismiss(4)));
    assert_eq!(map.may_assign(Assign { node: NodeId(4), duty: Duty::Serves }), Err(DutyRefusal::Leaves(NodeId(4))));
    assert!(!map.change(&assign(4, Duty::Serves)));
    let groups = map.leaving(NodeId(4)).unwrap().groups.clone();
    assert!(map.change(&MapChange::Vacate(crate::Vacate { node: NodeId(4), groups })));
    assert_eq!((map.duties.len(), map.is_removed(NodeId(4))), (0, true));
    assert_eq!(map.may_assign(Assign { node: NodeId(4), duty: Duty::Drains }), Err(DutyRefusal::Removed(NodeId(4))));
}

#[test]
fn a_map_with_duties_that_make_no_sense_is_refused() {
    let sound = map(3);
    let duty = |id, duty| NodeDuty { id: NodeId(id), duty };
    for (duties, wrong) in [
        (vec![duty(9, Duty::Drains)], 9),
        (vec![duty(2, Duty::Serves)], 2),
        (vec![duty(2, Duty::Drains), duty(1, Duty::Drains)], 2),
        (vec![duty(2, Duty::Drains), duty(2, Duty::Leaves)], 2),
    ] {
        let map = ClusterMap { duties, ..sound.clone() };
        assert_eq!(map.validate(), Err(Error::NodeDuty(NodeId(wrong))));
    }
}
