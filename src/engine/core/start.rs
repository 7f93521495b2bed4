//! Starting a core: recover what its disk holds, start its replicas, listen.

use std::collections::HashMap;
use std::rc::Rc;

use types::Instant;

use super::lookahead::Lookahead;
use super::planning_state::Planning;
use super::reporting_state::Reporting;
use super::share::Share;
use super::{Core, CoreHost, ListenerKind, REPORT_EVERY, Stopping};
use crate::budget::Pool;
use crate::clients::Clients;
use crate::cluster::{Cluster, MAP_GROUP};
use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::groups::Groups;
use crate::observe::Observer;
use crate::observe::server_commands::CommandTable;
use crate::origin::Port;
use crate::peers::Peers;
use crate::router::Router;
use crate::storage::{Opened, Storage};

const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// The allocator keeps so much of freed memory in pages that are in part in use, or for a moment: 30 to 70 MiB were resident and in no block
/// behind 64 values of 1 MiB, 400,000 of 250 bytes, 3,000 of 61,000, and writes of 4 KiB at full speed.
const ALLOCATOR_BYTES_MAX: usize = 48 << 20;
/// But not more than one in this many bytes of a core's memory is taken for that.
const ALLOCATOR_SHARE: usize = 16;

impl<H: CoreHost> Core<H> {
    /// Recovers what the core's disk holds and starts its groups. Nothing is listened to yet.
    ///
    /// # Errors
    /// See [`Error`]. A damaged replica of a group that has others does not fail the start: it stays away.
    pub async fn start(host: H, config: Config) -> Result<Core<H>, Error> {
        Core::start_observed(host, config, None).await
    }

    /// Like [`Core::start`], with somebody who sees what happens.
    ///
    /// # Errors
    /// See [`Core::start`].
    pub async fn start_observed(
        host: H,
        config: Config,
        observer: Option<Rc<dyn Observer>>,
    ) -> Result<Core<H>, Error> {
        let me = config.place;
        config.map.validate()?;
        config.latest_map.validate()?;
        if !config.latest_map.places().any(|known| known == me) {
            return Err(Error::UnknownPlace(me));
        }
        let config = Rc::new(config);
        let ctx = Context::new(Rc::clone(&config), host.now(), observer);
        let Opened { storage, replicas, quarantined } = Storage::open(host.clone(), &config, &ctx.budget).await?;
        let mut ctx = ctx;
        ctx.now = host.now();
        let peers = Peers::new(&ctx, &host);
        let links: HashMap<_, _> = peers.by_addr().collect();
        let router = Router::new(&ctx, &config.latest_map, links, host.random_u64())?;
        let groups = Groups::new(&ctx.budget);
        let mut core = Core::new(host, ctx, storage, groups, router, peers);
        quarantined.iter().for_each(|(group, replica)| core.observe_quarantine(*group, *replica));
        let mut map = Vec::new();
        for started in replicas {
            let (group, replica) = (started.group, started.replica);
            match core.add_replica(started)? {
                Ok(found) if group == MAP_GROUP => map = found,
                Ok(_) => {}
                Err(reason) => {
                    let spec = config.map.groups.iter().find(|spec| spec.id == group);
                    if spec.is_some_and(|spec| spec.replicas.len() == 1) {
                        return Err(Error::LostAlone { group, reason });
                    }
                    tracing::error!(%group, %reason, "this replica is quarantined: it neither votes nor acknowledges");
                    core.storage.quarantine(core.groups.count(), group, replica);
                    core.observe_quarantine(group, replica);
                }
            }
        }
        core.take_map_of_state(&map)?;
        core.hold_fixed();
        Ok(core)
    }

    /// Listens for peers and clients. After this the core must be run.
    ///
    /// # Errors
    /// [`Error::Listen`] names the address that is taken. It can be called again: it goes on with that one.
    pub fn listen(&mut self) -> Result<(), Error> {
        let me = self.ctx.addr();
        let config = Rc::clone(&self.ctx.config);
        let node = config.node();
        let clients_max = config.clients_count_max;
        let peers_max = self.peer_conns_count_max();
        let wanted = [
            (node.peer_addr(me.core), ListenerKind::Peers, peers_max, &b""[..]),
            (node.core_addr(me.core), ListenerKind::Clients(Port::Core), clients_max, TOO_MANY_CLIENTS),
            (node.gateway_addr(), ListenerKind::Clients(Port::Gateway), clients_max, TOO_MANY_CLIENTS),
        ];
        for (addr, kind, conns_count_max, refusal) in wanted.into_iter().skip(self.listeners.len()) {
            // The cores of a node share its gateway port.
            let is_shared = kind == ListenerKind::Clients(Port::Gateway) && node.cores > 1;
            let listened = self.host.listen(addr, is_shared, conns_count_max, refusal);
            let listener = listened.map_err(|source| Error::Listen { addr, source })?;
            self.listeners.push((listener, kind));
        }
        Ok(())
    }

    /// Counts what the process holds by now and no part has a permit for, this core's share of it: receive buffers, blocks of
    /// the log, the program itself; and what the allocator is going to keep.
    fn hold_fixed(&mut self) {
        let Some(process) = self.ctx.config.process.as_ref().map(|probe| probe.ask_for_needed()) else { return };
        let cores_count = usize::from(self.ctx.config.node().cores);
        let share = process.rss_bytes as usize / cores_count;
        let kept = ALLOCATOR_BYTES_MAX.min(self.ctx.budget.bytes_max() / ALLOCATOR_SHARE);
        self.fixed_permit.set(share.saturating_sub(self.ctx.budget.used()) + kept);
    }

    /// A core of these parts, before its first turn.
    fn new(host: H, ctx: Context, storage: Storage<H>, groups: Groups, router: Router, peers: Peers) -> Core<H> {
        let now = ctx.now;
        let clients = Clients::new(&ctx);
        let cluster = Cluster::new(Rc::clone(&ctx.config));
        let fixed_permit = ctx.budget.permit(Pool::Fixed);
        let mut core = Core {
            host,
            ctx,
            clients,
            router,
            groups,
            storage,
            peers,
            cluster,
            listeners: Vec::new(),
            // Long ago: the first turn ticks.
            ticked_at: Instant::ZERO,
            stopping: Stopping::No,
            reports: Vec::new(),
            next_report: now + REPORT_EVERY,
            asked_changes: Vec::new(),
            next_map_look: now,
            steward: None,
            planning: Planning::default(),
            reporting: Reporting::default(),
            group_effects: Vec::new(),
            storage_effects: Vec::new(),
            local_reply: Vec::new(),
            command_table: CommandTable::default(),
            share: Share::UNLIMITED,
            lookahead: Lookahead::default(),
            ranges: Vec::new(),
            look_bytes_min: 0,
            is_monitored: false,
            fixed_permit,
        };
        for link in core.peers.ids() {
            core.router.set_takes_commands(link, core.peers.takes_commands(link));
            core.storage.link_state(link, core.peers.addr_of(link), core.peers.is_up(link));
        }
        core
    }
}
