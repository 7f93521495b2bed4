//! Starting a core: recover the log, start its groups, listen.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use raft::{Raft, Ready, Recovered, StartError, TermRun};
use types::{GroupId, Instant};
use wal::{Condition, RecoveredGroup, Wal};
use wire::{Hello, LeaderNote};

use crate::client::Port;
use crate::config::Config;
use crate::core::{Core, CoreHost, ListenerKind, Stopping};
use crate::error::Error;
use crate::forwarding::Lane;
use crate::forwards::Forwards;
use crate::group::Group;
use crate::limits::GREETINGS_COUNT_MAX;
use crate::links::Links;
use crate::outlets::Outlets;
use crate::routes::Routes;
use crate::stats::Stats;
use crate::topology::TopologyCache;
use crate::watch::{Event, Watch};

/// Connections that peers and administrators may always have, whatever clients do.
const PEER_CONNS_COUNT_MAX: usize = 2 * types::limits::CORES_COUNT_MAX + GREETINGS_COUNT_MAX;

const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

impl<H: CoreHost> Core<H> {
    /// Recovers what the core's log holds and starts its groups. Nothing is listened to yet.
    ///
    /// # Errors
    /// See [`Error`]. A damaged group that has other replicas does not fail the start: it stays away.
    pub async fn start(host: H, config: Config) -> Result<Core<H>, Error> {
        Core::start_watched(host, config, None).await
    }

    /// Like [`Core::start`], with somebody who sees what happens.
    ///
    /// # Errors
    /// See [`Core::start`].
    pub async fn start_watched(host: H, config: Config, watch: Option<Rc<dyn Watch>>) -> Result<Core<H>, Error> {
        let place = config.place;
        config.map.validate()?;
        if !config.map.places().any(|known| known == place) {
            return Err(Error::UnknownPlace(place));
        }
        let mut wal_config = wal::Config::new(config.wal_dir());
        wal_config.segment_bytes = config.segment_bytes;
        wal_config.block_bytes_max = config.block_bytes_max;
        // Raft's own limits bound what is pending: in-flight bytes of followers, uncommitted bytes of leaders.
        wal_config.pending_bytes_max = usize::MAX;
        let (wal, mut recovered) =
            Wal::open(host.clone(), wal_config).await.map_err(|source| Error::Wal { place, source })?;
        if let Some(damage) = &recovered.damage {
            tracing::error!(core = %place, ?damage, "the log is damaged; its groups stay away until repaired");
        }
        let now = host.now();
        let mut groups = Vec::new();
        let watch_note = |group, replica, event: Event<'_>| {
            if let Some(watch) = &watch {
                watch.note(place, group, replica, event);
            }
        };
        for (spec, replica) in config.map.replicas_at(place) {
            if let Some(damage) = &recovered.damage {
                // What the log does not show any more may have concerned any group of the core.
                if spec.replicas.len() == 1 {
                    return Err(Error::LostAlone { group: spec.id, reason: damage.to_string() });
                }
                tracing::error!(group = %spec.id, "this replica is quarantined: it neither votes nor acknowledges");
                watch_note(spec.id, replica.id, Event::Quarantined);
                continue;
            }
            let found = recovered.groups.remove(&spec.id);
            let noted = |event: Event<'_>| watch_note(spec.id, replica.id, event);
            groups.extend(start_group(&host, &config, spec, replica.id, found, now, noted)?);
        }
        Core::assemble(host, config, wal, groups, watch, now)
    }

    fn assemble(
        host: H,
        config: Config,
        wal: Wal<H>,
        mut groups: Vec<Group>,
        watch: Option<Rc<dyn Watch>>,
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
        let links = Links::new(place, others);
        let hello = Hello {
            cluster_id: config.map.cluster_id.0.to_le_bytes(),
            from: place,
            to: place,
            incarnation: config.incarnation,
            map: fingerprint_start(&config.map),
        };
        let lanes = routes.iter().map(|_| Lane::default()).collect();
        let dirty_groups = (0..groups.len()).collect();
        groups.iter_mut().for_each(|group| group.is_dirty = true);
        let forwards = Forwards::new(host.random_u64());
        Ok(Core {
            host,
            config: Rc::new(config),
            now,
            hello,
            routes,
            groups,
            wal,
            persisting: VecDeque::new(),
            out: Outlets::new(links),
            forwards,
            lanes,
            dirty_groups,
            forming_groups: Vec::new(),
            held_back: VecDeque::new(),
            log_reads_done: Rc::new(RefCell::new(Vec::new())),
            listeners: Vec::new(),
            next_client_id: 1,
            next_tick: now,
            blocks_at_tick: 0,
            agreed_map_epoch: None,
            map_proposed_in: 0,
            stopping: Stopping::No,
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

/// Starts one replica on what the log holds of it; `None` if it must stay away.
fn start_group<H: CoreHost>(
    host: &H,
    config: &Config,
    spec: &meta::Group,
    id: types::ReplicaId,
    found: Option<RecoveredGroup>,
    now: Instant,
    noted: impl Fn(Event<'_>),
) -> Result<Option<Group>, Error> {
    let group = spec.id;
    let settings = &config.map.settings;
    if let Some(RecoveredGroup { condition: Condition::Quarantined(fault), .. }) = &found {
        let reason = fault.to_string();
        if spec.replicas.len() == 1 {
            return Err(Error::LostAlone { group, reason });
        }
        tracing::error!(%group, %reason, "this replica is quarantined: it neither votes nor acknowledges");
        noted(Event::Quarantined);
        return Ok(None);
    }
    let voters = spec.replicas.iter().map(|replica| replica.id).collect();
    let mut raft_config = raft::Config::new(group, id, voters);
    let millis = |ms: u32| std::time::Duration::from_millis(u64::from(ms));
    raft_config.heartbeat_interval = millis(settings.heartbeat_interval_ms);
    raft_config.election_timeout_min = millis(settings.election_timeout_min_ms);
    raft_config.election_timeout_max = millis(settings.election_timeout_max_ms);
    raft_config.clock_drift_ppm_max = settings.clock_drift_ppm_max;
    raft_config.inflight_bytes_max = config.inflight_bytes_max;
    raft_config.uncommitted_bytes_max = config.uncommitted_bytes_max;
    raft_config.cache_bytes_max = config.cache_bytes_max;
    raft_config.first_campaigner = spec.preferred_leader().is_some_and(|replica| replica.id == id);
    raft_config.seed = host.random_u64();
    let recovered = recovered(found);
    let Recovered { hard_state, base_index, base_term, last_index, applied, .. } = recovered;
    let started = Event::Started { hard_state, base: (base_index, base_term), last_index, applied };
    let raft = match Raft::new(raft_config, recovered, now) {
        Ok(raft) => raft,
        Err(StartError::Recovered(reason)) if spec.replicas.len() > 1 => {
            tracing::error!(%group, ?reason, "this replica is quarantined: what its log holds contradicts itself");
            noted(Event::Quarantined);
            return Ok(None);
        }
        Err(source) => return Err(Error::Start { group, source }),
    };
    noted(started);
    let places: BTreeMap<_, _> = spec.replicas.iter().map(|replica| (replica.id, replica.place)).collect();
    Ok(Some(Group::new(group, 0, raft, places, host.random_u64())))
}

/// What the log holds, as Raft wants it told.
fn recovered(found: Option<RecoveredGroup>) -> Recovered {
    let Some(found) = found else { return Recovered::default() };
    Recovered {
        hard_state: found.hard_state,
        base_index: found.start_index,
        base_term: found.start_term,
        last_index: found.last_index,
        runs: found.terms.iter().map(|(first, term)| TermRun { first: *first, term: *term }).collect(),
        // The state machine is in memory: everything is applied anew.
        applied: found.start_index,
    }
}
