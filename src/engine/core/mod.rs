//! The core: its parts, and the order in which a turn calls them.
//!
//! This folder is the only one that knows all parts. They return what is to follow from what they did, and it is carried
//! here to the part concerned; no rule of any of them stands here. `impl Core` stands here and nowhere else.
//!
//! Reading order: this page (the turn), `tick`, `commands` (of clients), `diagnostics` (LATENCY), `monitoring` (MONITOR), `frames` (from and to other cores), `map` (the cluster map), `links` (that follow it), `leaving` (replicas that are not wanted any more), `admitting` (nodes that join, come back without data, or are removed), `reporting_state` and `reporting` (to whoever leads group 0), `planning_state` and `planning` (there),
//! `lookahead` and `prefetch` (rows that will be read), `effects`, `sink` (the
//! way of replies), `share` (how much a turn does), `reports` (INFO, and what checkers see), `settings` (those that change), `start`.

mod admitting;
mod commands;
mod diagnostics;
mod effects;
mod frames;
mod leaving;
mod links;
mod lookahead;
mod map;
mod monitoring;
mod planning;
mod planning_state;
mod prefetch;
mod reporting;
mod reporting_state;
mod reports;
mod settings;
mod share;
mod sink;
mod start;
#[cfg(test)]
mod tests;
mod tick;

use std::time::Duration;

use host::{Host, ListenerId, Mesh, NetEvent};
use resp::ArgRange;
use types::{CoreAddr, Instant, NodeId};
use wire::{Frame, Healths};

use self::lookahead::Lookahead;
use self::planning_state::Planning;
use self::reporting_state::Reporting;
use self::share::Share;
use self::sink::out;
use crate::budget::Permit;
use crate::clients::{Clients, Monitored};
use crate::cluster::{Cluster, Steward};
use crate::context::Context;
use crate::error::Error;
use crate::groups::{GroupEffect, Groups};
use crate::limits::EVENTS_PER_TURN_MAX;
use crate::observe::server_commands::CommandTable;
use crate::observe::{CoreReport, Phase, ReportReceiver, Reset, StallReason};
use crate::origin::Port;
use crate::peers::Peers;
use crate::router::Router;
use crate::settings::{SettingsAnswer, SettingsChange};
use crate::shares::Kind;
use crate::storage::{Storage, StorageEffect};

/// How often the cores of a node tell each other what INFO on the gateway shows.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What the cores of a node send each other.
#[derive(Debug)]
pub enum MeshMessage {
    /// What one core has for another after a turn.
    Frame(Box<Frame>),
    /// What a core tells of itself, for INFO on the gateway.
    Report(Box<CoreReport>),
    /// Tell somebody outside what a core tells of itself. Sent by the node, not by a core.
    ReportWanted(ReportReceiver),
    /// Forget what was counted: CONFIG RESETSTAT on the gateway means the node.
    ResetStats,
    /// Forget something else of the node.
    Reset(Reset),
    /// A core with clients that monitor the node wants to be handed what this one takes in from its clients, for a while.
    MonitorWanted,
    /// That.
    Monitored(Monitored),
    /// Check what the core has at rest: CORACLE SCRUB on the gateway means the node.
    ScrubWanted,
    /// Other settings are in force from now on. Sent by the node, not by a core.
    Settings(SettingsChange),
    /// What has become of a client's wish to change them. Sent by the node, not by a core.
    SettingsAnswer(SettingsAnswer),
    /// How whoever leads group 0 finds the nodes. From the core that was told.
    Healths(Healths),
    /// Another node and the incarnation that is remembered of it from now on. Sent by the node, not by a core.
    PeerAdmitted(NodeId, u64),
    /// Hand leaderships over, finish what is under way, and end. Sent by the node, not by a core.
    Stop,
}

/// A host whose mesh carries what cores say.
pub trait CoreHost: Host + Mesh<Message = MeshMessage> {}

impl<T: Host + Mesh<Message = MeshMessage>> CoreHost for T {}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// Leaderships are being handed over and commands finish.
    Draining {
        deadline: Instant,
    },
    /// Nothing is left to do.
    Done,
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenerKind {
    Clients(Port),
    Peers,
}

/// One core of a node: its parts.
///
/// Invariant: everything that happens between two calls of the host's `park` or `yield_now` happens in
/// one turn, and a turn never waits.
pub struct Core<H: CoreHost> {
    host: H,
    ctx: Context,
    clients: Clients,
    router: Router,
    groups: Groups,
    storage: Storage<H>,
    peers: Peers,
    cluster: Cluster,
    listeners: Vec<(ListenerId, ListenerKind)>,
    /// When the core last ticked; when it does next follows from what waits for that.
    ticked_at: Instant,
    stopping: Stopping,
    /// What the other cores of the node have last told of themselves, and when this one next does.
    reports: Vec<CoreReport>,
    next_report: Instant,
    /// Changes of the map that operators have asked for here, until it shows them, or for so long.
    asked_changes: Vec<(meta::MapChange, Instant)>,
    /// When the core next looks at what the map wants of it.
    next_map_look: Instant,
    /// What drives the planner, while this core leads group 0.
    steward: Option<Steward>,
    planning: Planning,
    reporting: Reporting,
    /// Effects on their way from one part to another. Empty between calls.
    group_effects: Vec<GroupEffect>,
    storage_effects: Vec<StorageEffect>,
    /// The reply of a command without a group, in the making.
    local_reply: Vec<u8>,
    command_table: CommandTable,
    /// How much the client whose commands are being executed may still do.
    share: Share,
    lookahead: Lookahead,
    ranges: Vec<ArgRange>,
    /// Commands are looked at, for MONITOR and for SLOWLOG, from this length of theirs or of their replies on, in bytes.
    look_bytes_min: usize,
    /// Whether the commands of this turn are to be shown to anybody.
    is_monitored: bool,
    /// What was there before the core began to count.
    fixed_permit: Permit,
}

impl<H: CoreHost> Core<H> {
    /// Runs the core until it is told to stop.
    ///
    /// # Errors
    /// The first [`Error`] ends the core; the node must stop with it.
    pub async fn run(mut self) -> Result<(), Error> {
        let host = self.host.clone();
        loop {
            let is_busy = self.turn()?;
            if self.stopping == Stopping::Done {
                // The last replies are queued: begin their sends before the sockets go.
                host.yield_now().await;
                return Ok(());
            }
            if is_busy {
                host.yield_now().await;
            } else {
                host.park(self.wakes_at()).await;
            }
        }
    }

    /// One turn: take in what has arrived, decide, and begin everything that follows from it. Returns whether
    /// there is more to do at once.
    ///
    /// # Errors
    /// See [`Core::run`].
    pub fn turn(&mut self) -> Result<bool, Error> {
        self.ctx.counters.turns += 1;
        self.ctx.now = self.host.now();
        self.ctx.unix_ms = self.host.unix_time_ms();
        self.ctx.turns.begin(self.ctx.now, &self.ctx.counters);
        self.ctx.shares.begin();
        self.ctx.command_logs.begin_turn();
        self.begin_looking();
        self.groups.begin_turn(&mut self.ctx, out!(self), &mut self.group_effects);
        self.carry_group_effects()?;
        let is_cut_short = self.take_in();
        self.ctx.turns.mark(Phase::Input, self.host.now());
        self.carry_row_reads();
        self.storage.poll(&mut self.ctx, &mut self.groups, &mut self.storage_effects)?;
        if let Some(took) = self.storage.take_block_time() {
            self.groups.block_ended(took, self.ctx.now);
        }
        if !self.storage_effects.is_empty() {
            self.carry_storage_effects()?;
            self.ctx.turns.mark(Phase::Log, self.host.now());
        }
        self.ctx.disk_full = self.storage.disk_full();
        let freeing_bytes = self.storage.freeing_bytes();
        self.ctx.freeing_bytes = freeing_bytes.map(|bytes| bytes.saturating_sub(self.groups.batched_bytes()));
        self.ctx.is_flushing = self.storage.is_flushing();
        self.ctx.is_log_backlogged = self.storage.is_backlogged();
        self.ctx.must_clients_wait = self.ctx.is_log_backlogged || self.storage.is_copying_behind(&self.groups);
        let storage = &self.storage;
        self.groups.end_stalls(&mut self.ctx, |group| storage.writers_wait(group));
        if self.is_tick_due() {
            self.tick()?;
        }
        self.groups.run_timers(&self.ctx);
        self.router.work(&mut self.ctx, out!(self));
        self.resume_full_groups()?;
        self.resume_clients();
        self.drive()?;
        // Applying may have sent commands another way, into the next batch of an idle log.
        self.drive()?;
        self.groups.settle_left();
        self.carry_row_reads();
        self.storage.submit()?;
        self.observe_queues();
        let driven_at = self.host.now();
        self.ctx.turns.mark(Phase::Groups, driven_at);
        self.time_stages(driven_at);
        if self.is_monitored {
            self.feed_monitors();
        }
        self.flush();
        self.router.settle();
        self.observe_budgets();
        // Behind what clients and peers wait for.
        let is_copying = self.storage.work(&mut self.ctx, &mut self.groups);
        let is_releasing = self.groups.release_some();
        let is_evicting = self.groups.evict_some(&mut self.ctx);
        let is_expiring = self.groups.is_expiry_behind() && self.groups.sweep_expired(&mut self.ctx);
        self.ctx.end_turn(self.host.now());
        // Driving may have made room for clients that are looked at only in the next turn.
        let has_runnable =
            self.clients.runnable_count() > 0 || self.clients.has_listing() || self.router.has_unblocked();
        let has_work = self.router.has_work() || self.groups.has_work() || self.peers.has_unsent_mesh();
        Ok(is_cut_short || has_runnable || has_work || is_copying || is_releasing || is_evicting || is_expiring)
    }

    /// Handles what other cores and the network have brought. Returns whether something was left for the
    /// next turn.
    fn take_in(&mut self) -> bool {
        let is_cut_short = self.take_in_events();
        self.take_in_frames();
        is_cut_short || self.peers.has_input()
    }

    fn take_in_events(&mut self) -> bool {
        let left = self.ctx.shares.left(Kind::OfClients);
        // Those who had to wait go on in this turn, too.
        let commands = if self.clients.runnable_count() > 0 { left.div_ceil(2) } else { left };
        self.share = Share::of_turn(commands);
        let is_cut_short = self.take_in_events_of_share();
        self.ctx.shares.spend(Kind::OfClients, commands - self.share.commands());
        is_cut_short
    }

    fn take_in_events_of_share(&mut self) -> bool {
        let mut budget = EVENTS_PER_TURN_MAX;
        while budget > 0 {
            let Some((from, message)) = self.host.mesh_receive() else { break };
            self.ctx.now = self.host.now();
            budget -= 1;
            match message {
                MeshMessage::Frame(frame) => {
                    let from = CoreAddr { node: self.ctx.addr().node, core: from };
                    self.ctx.counters.frames_received += 1;
                    if let Some(link) = self.peers.link_to(from) {
                        self.on_frame(link, *frame);
                    }
                }
                MeshMessage::Report(report) => self.on_report(*report),
                MeshMessage::ReportWanted(receiver) => self.tell_outside(&receiver),
                MeshMessage::ResetStats => self.reset_stats(),
                MeshMessage::Reset(reset) => self.on_reset(&reset),
                MeshMessage::ScrubWanted => drop(self.storage.scrub_soon(&self.ctx)),
                MeshMessage::Settings(change) => self.take_settings(&change),
                MeshMessage::SettingsAnswer(answer) => self.on_settings_answer(answer),
                MeshMessage::MonitorWanted => self.clients.monitoring_wanted(from, self.ctx.now),
                MeshMessage::Monitored(monitored) => self.on_monitored(&monitored),
                MeshMessage::Healths(healths) => {
                    let _ = self.cluster.note_healths(healths, self.ctx.now);
                }
                MeshMessage::PeerAdmitted(node, incarnation) => {
                    self.peers.admit(&mut self.ctx, &self.host, node, incarnation);
                    self.carry_peer_events();
                }
                MeshMessage::Stop => self.begin_stop(),
            }
        }
        while budget > 0 && !self.share.is_spent() {
            let Some(event) = self.host.next_event() else { return false };
            budget -= 1;
            self.on_event(event);
            self.carry_peer_events();
        }
        true
    }

    fn on_event(&mut self, event: NetEvent<H::RecvBuf>) {
        match event {
            NetEvent::Received { conn, buf } => {
                // A lease is judged by a clock read after the request was received.
                self.ctx.now = self.host.now();
                if self.clients.has(conn) {
                    self.run_client(conn, &buf);
                } else {
                    let mut rest = &buf[..];
                    while let Some((link, frame)) = self.peers.next_frame(&mut self.ctx, &self.host, conn, &mut rest)
                    {
                        self.carry_peer_events();
                        self.on_frame(link, frame);
                    }
                }
            }
            NetEvent::Sent { conn, buf } if self.clients.has(conn) => self.clients.sent(&self.ctx, conn, buf),
            NetEvent::Sent { conn, buf } => self.peers.sent(conn, buf),
            NetEvent::Accepted { conn, listener, peer } => {
                match self.listeners.iter().find(|(id, _)| *id == listener) {
                    Some((_, ListenerKind::Clients(port))) => self.clients.accept(&mut self.ctx, conn, *port, peer),
                    Some((_, ListenerKind::Peers)) => self.peers.accept(&self.ctx, conn, peer),
                    None => self.host.close(conn),
                }
            }
            NetEvent::Connected { conn } => self.peers.connected(&self.host, conn),
            NetEvent::ReceiveEnded { conn } if self.clients.has(conn) => self.clients.receive_ended(conn),
            NetEvent::ReceiveEnded { conn } => self.peers.receive_ended(&self.host, conn),
            NetEvent::Closed { conn, .. } if self.clients.has(conn) => self.clients.closed(conn),
            NetEvent::Closed { conn, error } => self.peers.closed(&self.ctx, conn, error),
        }
    }

    fn resume_full_groups(&mut self) -> Result<(), Error> {
        let storage = &self.storage;
        let must_writers_wait = |group| storage.writers_wait(group);
        self.groups.resume_full(&mut self.ctx, out!(self), &mut self.group_effects, must_writers_wait);
        self.carry_group_effects()
    }

    /// Proposes what has collected, and does what Raft wants done until nothing is left, or the turn has applied as much as it
    /// may: then other groups are left to the next turn.
    fn drive(&mut self) -> Result<(), Error> {
        self.drain_routes()?;
        if self.ctx.is_log_backlogged {
            self.groups.stall_batching(&mut self.ctx, StallReason::LogBehind);
        } else if self.groups.has_batches() {
            let is_writing = self.storage.is_writing();
            self.groups.propose(&mut self.ctx, out!(self), &mut self.group_effects, is_writing);
            self.carry_group_effects()?;
        }
        while !self.ctx.shares.is_spent(Kind::Applied)
            && let Some(group) = self.groups.next_with_work()
        {
            self.groups.drive(&mut self.ctx, out!(self), &mut self.group_effects, group)?;
            self.carry_group_effects()?;
        }
        self.drain_routes()
    }

    /// Begins an orderly stop.
    fn begin_stop(&mut self) {
        if self.stopping != Stopping::No {
            return;
        }
        self.stopping = Stopping::Draining { deadline: self.ctx.now + self.ctx.settings.stop_timeout };
        self.ctx.is_stopping = true;
        for (listener, _) in &self.listeners {
            self.host.unlisten(*listener);
        }
        tracing::info!(core = %self.ctx.addr(), "stopping: handing leaderships over");
        self.groups.hand_over(&self.ctx);
    }
}
