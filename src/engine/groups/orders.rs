//! CORACLE MOVE and CORACLE TRANSFER: an operator wants a replica to live elsewhere, or another one to lead. CORACLE DRAIN, UNDRAIN and
//! DECOMMISSION, of whoever leads group 0: something is asked of a node. CORACLE TASKS and PLAN: that one is asked what it plans.
//!
//! Whoever leads the group carries them out: it knows who takes part. A move is one change of the cluster map, which names what it
//! expects to find; the members follow the map (`members`). The reply waits until the map says so, or the other replica leads. What is asked
//! of a node is an entry of group 0 in any case, and is answered behind it: so an answer is never that of a leader that is none any more.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use meta::{Assign, ClusterMap, Group, MapChange, Node, Replace};
use types::{CoreAddr, CoreId, NodeId, ReplicaId};
use wire::{EntryKind, Membership};

use crate::context::Context;
use crate::groups::order::{Awaited, Location, Order, PlannerQuestion, Wish};
use crate::groups::replica::Replica;
use crate::groups::{GroupEffect, Groups};
use crate::replies::ReplySink;
use crate::request::Request;

/// How often a change of the map is asked for until the map holds it.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Orders that wait on a core.
const ORDERS_COUNT_MAX: usize = 64;
/// An order waits for one part in so many of what a forwarded command may wait for its reply.
const WAIT_SHARE: u32 = 2;

const TOO_MANY: &str = "ERR too many replicas are being moved and leaderships handed over: try again";
const UNDER_WAY: &str =
    "ERR a change of the group is under way: CORACLE GROUPS shows which of its replicas are to come and to go";
const NOT_LEADER: &str = "ERR the group is led elsewhere by now: try again";
const NO_MAP: &str =
    "ERR the change was asked for, and the cluster map does not hold it yet: CORACLE GROUPS shows whether it comes";
const NOT_AGREED: &str =
    "ERR group 0 has not agreed in time, and may yet: CORACLE NODES shows what is asked of each node";
const TAKEN_BACK: &str = "ERR another order has taken it back: CORACLE NODES shows what is asked of each node";
const NOT_TAKEN: &str = "ERR the replica has not taken the leadership over in time: it stays where it was";

/// What has become of an order.
enum Verdict {
    Waits,
    /// The replica has this id.
    Moved(ReplicaId),
    Leads,
    /// Somebody else answers.
    Asks(PlannerQuestion),
    Refused(String),
}

impl Groups {
    /// Takes in an order for a group that is led here.
    pub(super) fn take_order(&mut self, ctx: &Context, out: &mut impl ReplySink, group: usize, request: Request<'_>) {
        let wish = match Wish::parse(request.command.id, request.args) {
            Ok(wish) if self.orders.list.len() < ORDERS_COUNT_MAX => wish,
            Ok(_) => return out.fail(request.origin, TOO_MANY),
            Err(message) => return out.fail(request.origin, &message),
        };
        let until = ctx.now + ctx.config.leader_wait / WAIT_SHARE;
        let (origin, awaited) = (request.origin, Awaited::Nothing);
        self.orders.list.push(Order { group, origin, wish, awaited, ask_at: ctx.now, until });
    }

    /// Goes on with the orders. Called at every tick.
    pub(crate) fn tick_orders(
        &mut self,
        ctx: &Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        map: &ClusterMap,
    ) {
        for mut order in std::mem::take(&mut self.orders.list) {
            let verdict = self.go_on_with(ctx, effects, map, &mut order);
            match verdict {
                Verdict::Waits => self.orders.list.push(order),
                Verdict::Moved(id) => out.reply(order.origin, |reply| reply.integer(id.0 as i64)),
                Verdict::Leads => out.reply(order.origin, |reply| reply.ok()),
                Verdict::Asks(question) => {
                    effects.push(GroupEffect::AskPlanner { origin: order.origin, question });
                }
                Verdict::Refused(message) => out.fail(order.origin, &message),
            }
        }
    }

    fn go_on_with(
        &mut self,
        ctx: &Context,
        effects: &mut Vec<GroupEffect>,
        map: &ClusterMap,
        order: &mut Order,
    ) -> Verdict {
        match order.wish {
            Wish::Assign(assign) => return self.assign(ctx, map, order, assign),
            Wish::Ask(question) => return self.ask(ctx, order, question),
            Wish::Move { .. } | Wish::Lead { .. } => {}
        }
        let replica = &mut self.list[order.group];
        let Some(spec) = map.group(replica.id) else { return Verdict::Refused(NOT_LEADER.to_owned()) };
        match (order.awaited, order.wish) {
            (Awaited::Nothing, _) if !replica.leads() => Verdict::Refused(NOT_LEADER.to_owned()),
            (Awaited::Nothing, Wish::Move { from, to }) => {
                let change = match plan_move(map, spec, replica.raft.membership(), from, to) {
                    Ok(change) => change,
                    Err(message) => return Verdict::Refused(message),
                };
                order.awaited = Awaited::Moved { change, id_min: map.next_replica };
                self.go_on_with(ctx, effects, map, order)
            }
            (Awaited::Nothing, Wish::Lead { node }) => match hand_over(ctx, replica, node) {
                Ok(heir) => {
                    order.awaited = Awaited::Leader(heir);
                    self.mark(order.group);
                    Verdict::Waits
                }
                Err(message) => Verdict::Refused(message),
            },
            (Awaited::Moved { change, id_min }, _) => {
                let moved = spec.replicas.iter().find(|one| one.place == change.place && one.id >= id_min);
                let is_late = ctx.now >= order.until;
                let is_gone = spec.replicas.iter().all(|one| one.id != change.replica);
                match moved {
                    Some(moved) => Verdict::Moved(moved.id),
                    None if is_gone => Verdict::Refused(UNDER_WAY.to_owned()),
                    None if is_late => Verdict::Refused(NO_MAP.to_owned()),
                    None => {
                        if ctx.now >= order.ask_at {
                            order.ask_at = ctx.now + ASK_EVERY;
                            effects.push(GroupEffect::AskChange { change: MapChange::Replace(change) });
                        }
                        Verdict::Waits
                    }
                }
            }
            (Awaited::Leader(heir), _) => {
                let has_failed = replica.raft.is_leader() && replica.raft.transferring_to().is_none();
                match replica.raft.leader() == Some(heir) {
                    true => Verdict::Leads,
                    false if has_failed || ctx.now >= order.until => Verdict::Refused(NOT_TAKEN.to_owned()),
                    false => Verdict::Waits,
                }
            }
            (Awaited::Nothing | Awaited::Agreed { .. }, _) => panic!("only of wishes that concern the whole cluster"),
        }
    }

    /// Goes on with what is asked of a node.
    fn assign(&mut self, ctx: &Context, map: &ClusterMap, order: &mut Order, assign: Assign) -> Verdict {
        let raft = &self.list[order.group].raft;
        let (leads, applied, is_late) = (raft.is_leader(), raft.applied_index(), ctx.now >= order.until);
        let settled = self.settled_leader_term(order.group);
        match (order.awaited, settled) {
            (Awaited::Agreed { term, .. }, _) if !leads || settled != Some(term) => {
                Verdict::Refused(NOT_LEADER.to_owned())
            }
            (Awaited::Agreed { index, .. }, _) if applied >= index => match map.may_assign(assign) {
                Ok(()) if map.duty(assign.node) == assign.duty => Verdict::Leads,
                Ok(()) => Verdict::Refused(TAKEN_BACK.to_owned()),
                Err(refusal) => Verdict::Refused(format!("ERR {refusal}")),
            },
            (Awaited::Nothing, None) if !leads => Verdict::Refused(NOT_LEADER.to_owned()),
            (Awaited::Nothing, Some(term)) => {
                if let Err(refusal) = map.may_assign(assign) {
                    return Verdict::Refused(format!("ERR {refusal}"));
                }
                let change = Bytes::from(MapChange::Assign(assign).to_bytes());
                if self.propose_map(ctx, order.group, EntryKind::MapChange, change).is_some() {
                    let index = self.list[order.group].raft.last_index();
                    order.awaited = Awaited::Agreed { term, index };
                    tracing::warn!(node = %assign.node, duty = assign.duty.name(), "an operator asks something of this node");
                }
                if is_late { Verdict::Refused(NOT_AGREED.to_owned()) } else { Verdict::Waits }
            }
            _ if is_late => Verdict::Refused(NOT_AGREED.to_owned()),
            _ => Verdict::Waits,
        }
    }

    /// Passes a question on once all that was agreed on before is applied here.
    fn ask(&self, ctx: &Context, order: &Order, question: PlannerQuestion) -> Verdict {
        match self.settled_leader_term(order.group) {
            Some(_) => Verdict::Asks(question),
            None if !self.list[order.group].raft.is_leader() || ctx.now >= order.until => {
                Verdict::Refused(NOT_LEADER.to_owned())
            }
            None => Verdict::Waits,
        }
    }
}

/// The change of the map that moves a replica.
fn plan_move(
    map: &ClusterMap,
    spec: &Group,
    membership: &Membership,
    from: Location,
    to: Location,
) -> Result<Replace, String> {
    let group = spec.id;
    let node = node_of(map, to)?;
    node_of(map, from)?;
    let mut others = spec.replicas.iter().filter(|replica| !from.is(replica.place));
    let there = others.find(|replica| replica.place.node == to.node && from.node != to.node);
    let Some(moved) = spec.replicas.iter().find(|replica| from.is(replica.place)) else {
        let hint = there
            .map_or(String::new(), |there| format!("; one lives at {}: it may have been moved already", there.place));
        return Err(format!("ERR group {group} has no replica on {from}{hint}"));
    };
    if let Some(there) = there {
        return Err(format!("ERR group {group} has a replica on node {} already, at {}", to.node, there.place));
    }
    if to.is(moved.place) && (to.core.is_some() || node.cores == 1) {
        return Err(format!("ERR the replica of group {group} lives at {} already", moved.place));
    }
    if !is_at_rest(spec, membership) {
        return Err(UNDER_WAY.to_owned());
    }
    let core = to.core.or_else(|| emptiest_core(map, node, moved.place));
    let core = core.ok_or_else(|| format!("ERR node {} has no other core", to.node))?;
    Ok(Replace { group, replica: moved.id, place: CoreAddr { node: to.node, core } })
}

/// The node of a place, if there is such a place.
fn node_of(map: &ClusterMap, place: Location) -> Result<&Node, String> {
    let node = map.node(place.node);
    let node = node.ok_or_else(|| format!("ERR there is no node {}: CORACLE NODES names them", place.node))?;
    match place.core {
        Some(core) if core.0 >= node.cores => {
            Err(format!("ERR node {} has {} cores: there is no {place}", node.id, node.cores))
        }
        _ => Ok(node),
    }
}

/// Whether the members are just those that the map wants.
fn is_at_rest(spec: &Group, membership: &Membership) -> bool {
    let has = |id: ReplicaId| spec.replicas.iter().any(|replica| replica.id == id);
    let is_settled = !membership.is_joint() && membership.learners.is_empty();
    is_settled
        && membership.voters.len() == spec.replicas.len()
        && membership.voters.iter().all(|voter| has(voter.id))
}

/// The core of a node on which the fewest replicas are to live, other than the one that the replica leaves.
fn emptiest_core(map: &ClusterMap, node: &Node, left: CoreAddr) -> Option<CoreId> {
    let mut counts = BTreeMap::<CoreAddr, usize>::new();
    for replica in map.groups.iter().flat_map(|group| &group.replicas) {
        *counts.entry(replica.place).or_default() += 1;
    }
    let cores = node.places().filter(|place| *place != left);
    cores.min_by_key(|place| (counts.get(place).copied().unwrap_or(0), place.core)).map(|place| place.core)
}

/// Begins to hand the leadership over to the replica on a node. Returns which one that is.
fn hand_over(ctx: &Context, replica: &mut Replica, node: NodeId) -> Result<ReplicaId, String> {
    let (group, own) = (replica.id, replica.raft.id());
    if ctx.addr().node == node {
        return Err(format!("ERR node {node} leads group {group} already"));
    }
    let lives_there = |id: ReplicaId| replica.addrs.get(id).is_some_and(|addr| addr.node == node);
    let membership = replica.raft.membership();
    let heir = membership.voters.iter().map(|voter| voter.id).find(|id| *id != own && lives_there(*id));
    let Some(heir) = heir else {
        let is_learner = membership.learners.iter().any(|learner| lives_there(learner.id));
        let why =
            if is_learner { "the replica there does not vote yet" } else { "CORACLE GROUPS tells where it has some" };
        return Err(format!("ERR group {group} has no replica on node {node} that could lead: {why}"));
    };
    let silent_since = ctx.now - ctx.config.election_timeout_max();
    if replica.raft.peers().any(|peer| peer.id == heir && peer.heard_at < silent_since)
        && !replica.raft.is_quiescent()
    {
        return Err(format!("ERR the replica of group {group} on node {node} is not heard"));
    }
    replica.raft.transfer_leader(Some(heir), ctx.now).map_err(|error| format!("ERR group {group}: {error}"))
}

#[cfg(test)]
mod tests {
    use meta::reports::Duty;
    use meta::{Bootstrap, ClusterId};
    use resp::{ArgRange, Args, CommandId};
    use wire::Member;

    use super::*;

    fn map() -> ClusterMap {
        let node = |id: u32| Node {
            id: NodeId(id),
            host: [127, 0, 0, id as u8].into(),
            gateway_port: 7000,
            core_port: 7001,
            peer_port: 8001,
            admin_port: 9000,
            cores: 2,
            rack: None,
        };
        let nodes = (1..=4).map(node).collect();
        let bootstrap = Bootstrap { cluster_id: ClusterId(7), nodes, groups_count: 4, settings: Default::default() };
        ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap")
    }

    fn members(spec: &Group) -> Membership {
        let member = |replica: &meta::Replica| Member { id: replica.id, place: replica.place };
        Membership::of_voters(spec.replicas.iter().map(member))
    }

    fn place(text: &str) -> Location {
        Location::parse(text.as_bytes()).unwrap()
    }

    /// The nodes of a group, and one without it.
    fn nodes(map: &ClusterMap, spec: &Group) -> (Vec<CoreAddr>, NodeId) {
        let places: Vec<_> = spec.replicas.iter().map(|replica| replica.place).collect();
        let free = map.nodes.iter().find(|node| places.iter().all(|place| place.node != node.id)).unwrap().id;
        (places, free)
    }

    #[test]
    fn places_are_nodes_or_cores() {
        assert_eq!(place("3"), Location { node: NodeId(3), core: None });
        assert_eq!(place("3/1"), Location { node: NodeId(3), core: Some(CoreId(1)) });
        for wrong in ["", "x", "3/", "/1", "3/x", "3/1/2", "-1", "3 "] {
            assert_eq!(Location::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let wish = |words: &[&str]| {
            let command = match words[1] {
                "drain" => CommandId::CoracleDrain,
                "undrain" => CommandId::CoracleUndrain,
                "decommission" => CommandId::CoracleDecommission,
                "plan" => CommandId::CoraclePlan,
                _ => CommandId::CoracleMove,
            };
            let line = words.concat();
            let mut ranges = Vec::new();
            let mut start = 0;
            for word in words {
                ranges.push(ArgRange { start, end: start + word.len() as u32 });
                start += word.len() as u32;
            }
            Wish::parse(command, Args::new(line.as_bytes(), &ranges))
        };
        assert_eq!(
            wish(&["coracle", "move", "2", "1", "4/1"]),
            Ok(Wish::Move { from: place("1"), to: place("4/1") })
        );
        assert_eq!(wish(&["coracle", "transfer", "2", "4"]), Ok(Wish::Lead { node: NodeId(4) }));
        assert!(wish(&["coracle", "move", "2", "1", "up"]).unwrap_err().contains("'up' names no node"));
        for (word, duty) in [("drain", Duty::Drains), ("undrain", Duty::Serves), ("decommission", Duty::Leaves)] {
            assert_eq!(wish(&["coracle", word, "4"]), Ok(Wish::Assign(Assign { node: NodeId(4), duty })));
            assert!(wish(&["coracle", word, "4/0"]).unwrap_err().contains("'4/0' is no node"));
        }
        let forecast = Wish::Ask(PlannerQuestion::Decommission(NodeId(4)));
        assert_eq!(wish(&["coracle", "plan", "Decommission", "4"]), Ok(forecast));
        assert!(wish(&["coracle", "plan", "drain", "4"]).is_err());
    }

    #[test]
    fn a_move_goes_to_the_emptiest_core_or_the_one_that_is_named() {
        let map = map();
        let spec = &map.groups[2];
        let (places, free) = nodes(&map, spec);
        let from = Location { node: places[0].node, core: None };
        let planned = plan_move(&map, spec, &members(spec), from, Location { node: free, core: None }).unwrap();
        assert_eq!((planned.replica, planned.place.node), (spec.replicas[0].id, free));
        let count = |place: CoreAddr| map.replicas_at(place).count();
        let other = CoreAddr { core: CoreId(1 - planned.place.core.0), ..planned.place };
        assert!(count(planned.place) <= count(other));
        let named = Location { node: free, core: Some(other.core) };
        assert_eq!(plan_move(&map, spec, &members(spec), from, named).unwrap().place, other);
        // To the other core of its own node.
        let own = plan_move(&map, spec, &members(spec), from, from).unwrap().place;
        assert_eq!((own.node, own.core.0), (places[0].node, 1 - places[0].core.0));
    }

    #[test]
    fn what_cannot_be_moved_is_refused_with_the_reason() {
        let map = map();
        let spec = &map.groups[2];
        let (places, free) = nodes(&map, spec);
        let of = |addr: CoreAddr| Location { node: addr.node, core: None };
        let refused = |from: Location, to: Location| plan_move(&map, spec, &members(spec), from, to).unwrap_err();
        let there = Location { node: free, core: None };
        assert!(refused(of(places[0]), place("9")).contains("no node 9"));
        assert!(refused(place("9"), there).contains("no node 9"));
        assert!(refused(of(places[0]), Location { core: Some(CoreId(2)), ..there }).contains("has 2 cores"));
        assert!(refused(there, of(places[0])).contains("it may have been moved already"));
        assert!(refused(of(places[0]), of(places[1])).contains("already, at"));
        let exact = Location { node: places[0].node, core: Some(places[0].core) };
        assert!(refused(exact, exact).contains("lives at"));
        let other_core = Location { core: Some(CoreId(1 - places[0].core.0)), ..exact };
        assert!(refused(other_core, there).contains("has no replica on core"));
    }

    #[test]
    fn nothing_is_moved_while_members_come_or_go() {
        let map = map();
        let spec = &map.groups[2];
        let (places, free) = nodes(&map, spec);
        let (from, to) = (Location { node: places[0].node, core: None }, Location { node: free, core: None });
        let new = Member { id: ReplicaId(99), place: places[0] };
        let learner = Membership { learners: vec![new], ..members(spec) };
        let joint = Membership { outgoing: members(spec).voters, ..members(spec) };
        let mut other = members(spec);
        other.voters[0] = new;
        let mut fewer = members(spec);
        fewer.voters.pop();
        for membership in [learner, joint, other, fewer] {
            assert_eq!(plan_move(&map, spec, &membership, from, to), Err(UNDER_WAY.to_owned()), "{membership:?}");
        }
        assert!(plan_move(&map, spec, &members(spec), from, to).is_ok());
    }
}
