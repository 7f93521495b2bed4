//! CORACLE STATUS: the cluster on one screen, as this core sees it, and how the node that answers does.

use meta::ClusterMap;
use resp::Reply;

use super::listings::{NodeState, field, node_state, text};
use crate::context::Context;
use crate::observe::{CoreReport, alarms};
use crate::settings::NodeSettings;
use crate::topology_view::{LeaderTable, LinkTable};

/// The key of the configuration that names the cluster.
const CLUSTER_NAME_KEY: &str = "cluster_id";

/// `cluster` (its name), `cluster_id`, `epoch` (of the map), `node` (which one answers), `version`, `uptime_s`; of the nodes: `nodes`,
/// `nodes_up` (the one that answers among them), `nodes_awaited`, `nodes_down`, `nodes_leaving`; of the groups: `groups`, `groups_with_leader`, `groups_led` (on the
/// node that answers), and how many of those are at full strength, `groups_full`; `alarms`: of each its name, `alarm`, and a `text`.
pub(super) fn status(
    ctx: &Context,
    map: &ClusterMap,
    report: &CoreReport,
    leaders: &impl LeaderTable,
    links: &impl LinkTable,
    reply: &mut Reply<'_>,
) {
    let states: Vec<NodeState> = map.nodes.iter().map(|node| node_state(ctx, map, node, links)).collect();
    let count = |wanted: &[NodeState]| states.iter().filter(|state| wanted.contains(state)).count() as i64;
    let has_leader = |group: &&meta::Group| leaders.leader_of(group.id).is_some_and(|leader| leader.is_known);
    let full =
        report.led.iter().filter(|led| map.group(led.group).is_some_and(|spec| led.lacks(&spec.replicas).is_empty()));
    reply.map(16);
    text(reply, "cluster", cluster_name(&ctx.settings).unwrap_or(&map.cluster_id.to_string()));
    text(reply, "cluster_id", &map.cluster_id.to_string());
    field(reply, "epoch", map.epoch as i64);
    field(reply, "node", i64::from(ctx.addr().node.0));
    text(reply, "version", ctx.config.version);
    field(reply, "uptime_s", report.uptime.as_secs() as i64);
    field(reply, "nodes", states.len() as i64);
    field(reply, "nodes_up", count(&[NodeState::Here, NodeState::Up]));
    field(reply, "nodes_awaited", count(&[NodeState::Awaited]));
    field(reply, "nodes_down", count(&[NodeState::Down]));
    field(reply, "nodes_leaving", count(&[NodeState::Leaving]));
    field(reply, "groups", map.groups.len() as i64);
    field(reply, "groups_with_leader", map.groups.iter().filter(has_leader).count() as i64);
    field(reply, "groups_led", report.led.len() as i64);
    field(reply, "groups_full", full.count() as i64);
    reply.bulk(b"alarms");
    let alarms = alarms(report);
    reply.array(alarms.len());
    for alarm in &alarms {
        reply.map(2);
        text(reply, "alarm", alarm.name);
        text(reply, "text", &alarm.text);
    }
}

fn cluster_name(settings: &NodeSettings) -> Option<&str> {
    settings.shown.iter().find(|(name, _)| name == CLUSTER_NAME_KEY).map(|(_, name)| name.as_str())
}
