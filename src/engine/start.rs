//! Starting a core: recover the log, start its groups, listen.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use raft::Ready;
use types::{GroupId, Instant};
use wal::Wal;
use wire::{Hello, LeaderNote};

use crate::absent::Absent;
use crate::checkpoints::Checkpoints;
use crate::client::Port;
use crate::cluster_map::MAP_GROUP;
use crate::config::Config;
use crate::core::{Core, CoreHost, ListenerKind, Stopping};
use crate::error::Error;
use crate::fetching::Fetches;
use crate::forwards::Forwards;
use crate::group::Group;
use crate::lanes::Lanes;
use crate::limits::GREETINGS_COUNT_MAX;
use crate::links::Links;
use crate::log_pace::LogPace;
use crate::outlets::Outlets;
use crate::recovery::Lost;
use crate::replica::start_replica;
use crate::routes::Routes;
use crate::serving::Serving;
use crate::stats::Stats;
use crate::topology::TopologyCache;
use crate::watch::{Event, Observer};

/// Connections that peers and administrators may always have, whatever clients do.
const PEER_CONNS_COUNT_MAX: usize = 2 * types::limits::CORES_COUNT_MAX + GREETINGS_COUNT_MAX;

const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

impl<H: CoreHost> Core<H> {
    /// Recovers what the core's log holds and starts its groups. Nothing is listened to yet.
    ///
    /// # Errors
    /// See [`Error`]. A damaged replica of a group that has others does not fail the start: it stays away.
    pub async fn start(host: H, config: Config) -> Result<Core<H>, Error> {
        Core::start_watched(host, config, None).await
    }

    /// Like [`Core::start`], with somebody who sees what happens.
    ///
    /// # Errors
    /// See [`Core::start`].
    pub async fn start_watched(host: H, config: Config, watch: Option<Rc<dyn Observer>>) -> Result<Core<H>, Error> {
        let place = config.place;
        config.map.validate()?;
        if !config.map.places().any(|known| known == place) {
            return Err(Error::UnknownPlace(place));
        }
        let mut wal_config = wal::Config::new(config.wal_dir());
        wal_config.log_id = config.incarnation.rotate_left(16) ^ u64::from(place.core.0);
        wal_config.groups = config.map.replicas_at(place).map(|(spec, _)| spec.id).collect();
        wal_config.segment_bytes = config.segment_bytes;
        wal_config.block_bytes_max = config.block_bytes_max;
        // Raft's own limits bound what is pending: in-flight bytes of followers, uncommitted bytes of leaders.
        wal_config.pending_bytes_max = usize::MAX;
        let (mut wal, mut recovered) =
            Wal::open(host.clone(), wal_config).await.map_err(|source| Error::Wal { place, source })?;
        let watch_note = |group, replica, event: Event<'_>| {
            if let Some(watch) = &watch {
                watch.observe(place, group, replica, event);
            }
        };
        let mut groups = Vec::new();
        let mut absent = Vec::new();
        let mut map = Vec::new();
        for (spec, replica) in config.map.replicas_at(place) {
            let noted = |event: Event<'_>| watch_note(spec.id, replica.id, event);
            let log = recovered.groups.remove(&spec.id);
            match start_replica(&host, &config, spec, replica.id, &mut wal, log).await? {
                Ok(started) => {
                    noted(started.event);
                    map.extend(started.map);
                    groups.push(started.group);
                }
                Err(Lost { reason, .. }) if spec.replicas.len() == 1 => {
                    return Err(Error::LostAlone { group: spec.id, reason });
                }
                Err(Lost { reason, log }) => {
                    absent.extend(log.map(|log| Absent::new(spec, replica.id, log)));
                    tracing::error!(
                        group = %spec.id, %reason, "this replica is quarantined: it neither votes nor acknowledges"
                    );
                    noted(Event::Quarantined);
                }
            }
        }
        let now = host.now();
        let mut core = Core::assemble(host, config, wal, groups, watch, now)?;
        core.absent = absent;
        if let Some(idx) = core.routes.local_of(MAP_GROUP) {
            core.take_map(idx, &map)?;
        }
        (0..core.groups.len()).for_each(|idx| core.note_digest(idx));
        Ok(core)
    }

    fn assemble(
        host: H,
        config: Config,
        wal: Wal<H>,
        mut groups: Vec<Group>,
        watch: Option<Rc<dyn Observer>>,
        now: Instant,
    ) -> Result<Core<H>, Error> {
        let place = config.place;
        let local: Vec<GroupId> = groups.iter().map(|group| group.id).collect();
        let routes = Routes::new(&config.map, &local)?;
        for group in &mut groups {
            group.route = routes.of_group(group.id).ok_or(Error::UnknownPlace(place))?;
        }
        let others = config.map.nodes.iter().flat_map(|node| {
            node.places()
                .map(move |place| (place, node.peer_addr(place.core)))
                .filter(move |(other, _)| *other != place)
        });
        let mut links = Links::new(place, others, config.limits);
        config.acquaintances.iter().for_each(|(node, incarnation)| links.acquaint(*node, *incarnation));
        let hello = Hello {
            cluster_id: config.map.cluster_id.0.to_le_bytes(),
            from: place,
            to: place,
            incarnation: config.incarnation,
            map: fingerprint_start(&config.map),
        };
        let lanes = Lanes::new(routes.iter().len());
        let dirty_groups = (0..groups.len()).collect();
        groups.iter_mut().for_each(|group| group.is_dirty = true);
        let forwards = Forwards::new(host.random_u64());
        let replies_bytes_max = config.limits.client_replies_bytes_max;
        Ok(Core {
            host,
            config: Rc::new(config),
            now,
            hello,
            routes,
            groups,
            wal,
            persisting: VecDeque::new(),
            log_pace: LogPace::default(),
            out: Outlets::new(links, replies_bytes_max),
            forwards,
            lanes,
            dirty_groups,
            forming_groups: Vec::new(),
            full_groups: Vec::new(),
            held_back: VecDeque::new(),
            log_reads_done: Rc::new(RefCell::new(Vec::new())),
            listeners: Vec::new(),
            next_client_id: 1,
            next_tick: now,
            blocks_at_tick: 0,
            agreed_map_epoch: None,
            map_proposed_in: 0,
            stopping: Stopping::No,
            checkpoints: Checkpoints::new(),
            serving: Serving::new(),
            fetches: Fetches::new(),
            absent: Vec::new(),
            stats: Stats { started_at: now, ..Stats::default() },
            topology: TopologyCache::default(),
            watch,
            ready: Ready::new(),
            ranges: Vec::new(),
            local_reply: Vec::new(),
        })
    }

    /// Listens for peers and clients. After this the core must be run.
    ///
    /// # Errors
    /// [`Error::Listen`] names the address that is taken.
    pub fn listen(&mut self) -> Result<(), Error> {
        let place = self.place();
        let node = self.config.map.node(place.node).ok_or(Error::UnknownPlace(place))?;
        let clients_max = self.config.clients_count_max;
        let wanted = [
            (node.peer_addr(place.core), ListenerKind::Peers, PEER_CONNS_COUNT_MAX, &b""[..]),
            (node.core_addr(place.core), ListenerKind::Clients(Port::Core), clients_max, TOO_MANY_CLIENTS),
            (node.gateway_addr(), ListenerKind::Clients(Port::Gateway), clients_max, TOO_MANY_CLIENTS),
        ];
        for (addr, kind, conns_count_max, refusal) in wanted {
            // The cores of a node share its gateway port.
            let is_shared = kind == ListenerKind::Clients(Port::Gateway) && node.cores > 1;
            let listener = self
                .host
                .listen(addr, is_shared, conns_count_max, refusal)
                .map_err(|source| Error::Listen { addr, source })?;
            self.listeners.push((listener, kind));
        }
        Ok(())
    }

    pub(crate) fn led_notes(&self) -> Vec<LeaderNote> {
        let leading = self.groups.iter().filter(|group| group.raft.is_leader());
        leading.map(|group| LeaderNote { group: group.id, term: group.raft.term(), place: self.place() }).collect()
    }
}

/// As much of the map's fingerprint as a greeting holds.
fn fingerprint_start(map: &meta::ClusterMap) -> [u8; 12] {
    let mut start = [0; 12];
    start.copy_from_slice(&map.fingerprint()[..12]);
    start
}
