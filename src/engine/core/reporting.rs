//! Reports to whoever leads group 0, and what that one tells of the nodes.
//!
//! About once a second each core reports of the groups that it leads, a slice per tick, and the first core of a node of the node. They go
//! over the links that there are, also within the node.

use std::rc::Rc;
use std::time::Duration;

use host::TaskClass;
use types::{CoreAddr, CoreId};
use wire::{Healths, NodeFigures, Report};

use super::reporting_state::DiskLook;
use super::{Core, CoreHost, MeshMessage};
use crate::cluster::MAP_GROUP;
use crate::origin::LinkId;
use crate::topology_view::{LeaderTable, LinkTable};

/// How often a core reports.
const REPORT_TO_LEADER_EVERY: Duration = Duration::from_secs(1);
/// How often the file system is asked how full it is.
const DISK_LOOK_EVERY: Duration = Duration::from_secs(5);

impl<H: CoreHost> Core<H> {
    /// Reports what is due. Called at every tick.
    pub(super) fn report_to_leader(&mut self) {
        let is_first = self.ctx.addr().core == CoreId(0);
        if is_first {
            self.look_at_disk();
        }
        let begins = self.reporting.next_group.is_none() && self.ctx.now >= self.reporting.next_at;
        let Some(first) = self.reporting.next_group.or(begins.then_some(0)) else { return };
        let Some(leader) = self.router.leader_of(MAP_GROUP).filter(|leader| leader.is_known) else { return };
        if begins {
            self.reporting.next_at = self.ctx.now + REPORT_TO_LEADER_EVERY;
        }
        let node = if begins && is_first { self.node_figures() } else { None };
        let (peers, storage, ctx) = (&self.peers, &self.storage, &self.ctx);
        let is_heard = |place| {
            let link = peers.link_to(place);
            link.is_none_or(|link| peers.is_up(link) && !peers.is_silent(ctx, link))
        };
        let (groups, next) = self.groups.figures(
            ctx,
            first,
            is_heard,
            |place| peers.heard_at(place),
            |group| storage.file_bytes(group),
        );
        let report = Report { node, groups };
        let is_taken = match self.peers.link_to(leader.addr) {
            _ if report.is_empty() => true,
            Some(link) => self.peers.report(link, report),
            None => {
                self.take_report(self.ctx.addr(), report);
                true
            }
        };
        // What was not taken is told with the next tick, or is old by then.
        self.reporting.next_group = if is_taken { next } else { Some(first).filter(|_| !begins) };
    }

    /// Has the file system asked how full it is, in a task.
    fn look_at_disk(&mut self) {
        let known = self.reporting.disk.get();
        if self.ctx.now < self.reporting.next_disk_look || known.is_under_way {
            return;
        }
        self.reporting.next_disk_look = self.ctx.now + DISK_LOOK_EVERY;
        self.reporting.disk.set(DiskLook { is_under_way: true, ..known });
        let (host, disk, dir) =
            (self.host.clone(), Rc::clone(&self.reporting.disk), self.ctx.config.data_dir.clone());
        self.host.spawn(TaskClass::Background, async move {
            let found = match (host.free_bytes(&dir).await, host.capacity_bytes(&dir).await) {
                (Ok(Some(free)), Ok(Some(capacity))) => Some((capacity.saturating_sub(free), capacity)),
                // Nobody knows: it is taken for one that is never full.
                (Ok(_), Ok(_)) => Some((0, u64::MAX)),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(dir = %dir.display(), %error, "how full the disk is cannot be told");
                    disk.get().found
                }
            };
            disk.set(DiskLook { found, is_under_way: false });
        });
    }

    /// How the node does, from what its cores tell each other; `None` until it is known how full its disk is.
    fn node_figures(&self) -> Option<NodeFigures> {
        let (disk_used_bytes, disk_capacity_bytes) = self.reporting.disk.get().found?;
        let mut own = Vec::new();
        self.storage.report(&mut |field| own.push(field));
        let fields = || own.iter().chain(self.reports.iter().flat_map(|report| &report.fields));
        let of = |name: &'static str| fields().filter(move |field| field.name == name).map(|field| field.value);
        let count = |name| u32::try_from(of(name).sum::<u64>()).unwrap_or(u32::MAX);
        Some(NodeFigures {
            write_stalled_us: of("log_write_under_way_us").max().unwrap_or(0),
            disk_used_bytes,
            disk_capacity_bytes,
            disk_is_full: of("disk_is_full").any(|value| value > 0),
            snapshots_in: count("snapshots_receiving"),
            snapshots_out: count("snapshots_sending"),
        })
    }

    /// Takes in what another core reports.
    pub(super) fn on_report_of(&mut self, link: LinkId, report: Report) {
        let from = self.peers.addr_of(link);
        let is_of_node = report.node.is_some();
        self.take_report(from, report);
        if is_of_node && let Some(healths) = self.steward.as_ref().and_then(|steward| steward.healths()) {
            self.peers.healths(link, healths);
        }
    }

    fn take_report(&mut self, from: CoreAddr, report: Report) {
        let (map, now) = (self.cluster.map().clone(), self.ctx.now);
        let is_of_node = report.node.is_some();
        let Some(steward) = &mut self.steward else { return };
        let refused_count = steward.hear(&map, from, report, now);
        self.ctx.counters.reports_taken += 1;
        self.ctx.counters.reports_refused += refused_count;
        // Its own node hears it at once.
        if is_of_node
            && from == self.ctx.addr()
            && let Some(healths) = steward.healths()
        {
            self.take_healths(healths);
        }
    }

    /// Takes in how whoever leads group 0 finds the nodes, and tells the other cores of the node.
    pub(super) fn take_healths(&mut self, healths: Healths) {
        if self.cluster.note_healths(healths.clone(), self.ctx.now) {
            self.tell_node(|| MeshMessage::Healths(healths.clone()));
        }
    }
}
