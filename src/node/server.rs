//! One node: `coracle server`.
//!
//! In order: the first cluster map is planned, the host is checked, the data directory is made, locked and found to be this
//! node's, metrics and health are served, the cluster is formed or joined if it is not yet, and then the cores start, on the maps that the
//! directory holds from then on. The main thread only waits: for a request to stop, or for a core to end.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use engine::{AskSettings, CoreHost, MeshMessage, SettingsRequest};
use meta::{ClusterMap, JoinToken, Node};
use types::{CoreId, NodeId};
use wire::ConfigPrint;

use crate::admin::Admin;
use crate::atomic_file;
use crate::config::Config;
use crate::conns;
use crate::formation;
use crate::identity::{Identity, IdentityError, Stage};
use crate::join;
use crate::kept_map::{Keeper, KeptMap};
use crate::known_peers::{self, KnownPeers};
use crate::logging::{self, LevelSetter};
use crate::port_wait::PortWait;
use crate::process_stats;
use crate::service_manager::ServiceManager;
use crate::settings_keeper::{self, SettingsKeeper, node_settings};
use crate::signals::StopRequests;

/// Why a node cannot start, or has ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime cannot start on this host, or a core has failed.
    #[error(transparent)]
    Runtime(#[from] rt::Error),
    /// A core has failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The data directory is not this node's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The cluster is not formed and cannot be.
    #[error(transparent)]
    Formation(#[from] formation::Error),
    /// The node cannot come to a cluster.
    #[error(transparent)]
    Join(#[from] join::Error),
    /// The cluster knows this node otherwise.
    #[error(
        "the cluster knows node {node} as {known}, and the configuration describes it as {configured}: restore its host, ports, \
         `cores` and `rack` as they were"
    )]
    OtherAddresses {
        /// The node.
        node: NodeId,
        /// As the cluster's map has it.
        known: String,
        /// As the configuration has it.
        configured: String,
    },
    /// The cluster map cannot be made.
    #[error(transparent)]
    Map(#[from] meta::Error),
    /// Pinning needs one cpu per core.
    #[error(
        "{cores} cores are to be pinned and this process may use {cpus} cpus only; \
         set `cores` to {cpus} or less, or `pin = false`"
    )]
    TooFewCpus {
        /// Cores configured.
        cores: usize,
        /// Cpus this process may use.
        cpus: usize,
    },
    /// The parent is gone already, or is another process.
    #[error("process {expected} is not the parent of this process, {found} is; it has probably ended")]
    ParentGone {
        /// The id given with --stop-with-parent.
        expected: u32,
        /// The parent.
        found: i32,
    },
    /// Metrics and health cannot be served.
    #[error(transparent)]
    Admin(#[from] ::admin::Error),
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was being done.
        what: String,
        /// What it answered.
        source: io::Error,
    },
}

/// What stands before the cores start.
#[derive(Debug)]
pub struct Prepared {
    /// Holds the data directory until dropped.
    pub lock: rt::DirLock,
    /// Whose data the directory holds.
    pub identity: Identity,
    /// The other nodes' incarnations, as far as they are known.
    pub known_peers: KnownPeers,
    /// The configured cluster map, with the id that the cluster's name stands for: the cluster may not be formed yet, or otherwise.
    pub map: ClusterMap,
    /// What the directory holds of the cluster's map, if that is formed.
    pub kept: Option<KeptMap>,
    /// The cpu of each core, if cores are pinned.
    pub cpus: Vec<Option<usize>>,
    /// Most clients of each port of a core.
    pub clients_count_max: usize,
}

/// A node that is a part of a formed cluster, and knows which.
struct Member {
    identity: Identity,
    kept: KeptMap,
    /// What it tells nodes that form a cluster of how it is configured.
    config_print: ConfigPrint,
}

/// Asks the kernel to kill this process when its parent ends, whose id must be `parent`.
pub fn stop_with_parent(parent: u32) -> Result<(), Error> {
    let failed = |source: rustix::io::Errno| Error::Os {
        what: "tying this process to its parent".into(),
        source: source.into(),
    };
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(failed)?;
    // The parent may have ended before the call above; then somebody else is the parent by now.
    let found = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if u32::try_from(found) == Ok(parent) { Ok(()) } else { Err(Error::ParentGone { expected: parent, found }) }
}

/// Runs the node until it is asked to stop or a core ends. With a token a node that has lost its data comes back.
pub fn run(config: &Config, join: Option<JoinToken>) -> Result<(), Error> {
    let logging = logging::start(&config.log_level, config.log_as_json);
    // Before anything that lasts is allocated.
    profile::heap::start(if config.profiling { config.heap_profile_bytes } else { 0 });
    let listening = StopRequests::listen();
    let stop = listening.map_err(|source| Error::Os { what: "listening for signals".into(), source })?;
    let mut prepared = prepare(config)?;
    let service_manager = ServiceManager::of_environment();
    service_manager.status("the cluster is formed, or the other nodes are waited for");
    let admin = Admin::new(stop.clone(), config.profiling);
    if let Some(addr) = config.admin_addr() {
        admin.serve(addr)?;
    }
    admin.tell(config)?;
    let Some(member) = become_member(config, &mut prepared, join, &stop)? else { return Ok(()) };
    tell_start(config, &member);
    let runtime = rt::Config {
        cores: prepared.cpus.iter().map(|cpu| rt::CoreConfig { cpu: *cpu }).collect(),
        spin: std::time::Duration::from_micros(config.spin_us.into()),
        ..rt::Config::default()
    };
    let (remember, told) = known_peers::queue();
    let keeper = Keeper::default();
    let (ask_settings, wishes) = settings_keeper::queue();
    let configs: Vec<engine::Config> = engine_configs(config, &prepared, &member, Some(&ask_settings))
        .into_iter()
        .map(|config| engine::Config {
            remember_peer: Some(remember.clone()),
            keep_map: Some(keeper.keep_map()),
            ..config
        })
        .collect();
    drop((remember, ask_settings));
    prepared.known_peers.check_logs(configs.iter().map(engine::Config::wal_dir))?;
    let of_any_core = configs.first().expect("a node has cores").clone();
    let (begun, beginnings) = sync_channel(configs.len());
    let (listens, listening) = sync_channel(configs.len());
    let running = rt::start(runtime, move |core: CoreId, host| {
        let config = configs[usize::from(core.0)].clone();
        let (begun, listens) = (begun.clone(), listens.clone());
        async move {
            let mut core = engine::Core::start(host.clone(), config).await?;
            // There is room for one word of each core, and a node that does not listen any more ends anyway.
            let _ = begun.try_send(());
            drop(begun);
            listen(&mut core, &host).await?;
            let _ = listens.try_send(());
            drop(listens);
            core.run().await
        }
    })?;
    admin.attach(running.remote(), running.cores_count(), of_any_core);
    keep_settings(
        (config, &member.kept.first),
        prepared.clients_count_max,
        &running,
        logging.level(),
        &admin,
        wishes,
    )?;
    remember_nodes(prepared.known_peers, told, beginnings, &running)?;
    keep_maps(keeper, member, config, prepared.clients_count_max)?;
    let followed = service_manager.clone().follow(listening, running.cores_count(), move || admin.is_alive());
    followed.map_err(|source| Error::Os { what: "starting a thread".into(), source })?;
    supervise(running, stop, service_manager)
}

/// Tells the log what is about to start.
fn tell_start(config: &Config, member: &Member) {
    let node = config.node();
    tracing::info!(
        node = member.identity.node_id.0,
        cluster = %member.kept.first.cluster_id,
        incarnation = format_args!("{:016x}", member.identity.incarnation),
        data_dir = %config.data_dir.display(),
        cores = node.cores,
        groups = member.kept.first.groups.len(),
        gateway = %node.gateway_addr(),
        "starting"
    );
}

/// Forms the cluster or joins it, unless this node is a part of it already, and keeps what there is to know of it; `None` if asked to stop
/// before.
fn become_member(
    config: &Config,
    prepared: &mut Prepared,
    join: Option<JoinToken>,
    stop: &StopRequests,
) -> Result<Option<Member>, Error> {
    let (dir, identity, kept) = (&config.data_dir, prepared.identity, prepared.kept.take());
    let member = match (join, identity.stage, kept) {
        (Some(token), _, kept) => join::run(config, &prepared.map, identity, kept, token, stop)?,
        (None, Stage::Joining, _) => return Err(join::Error::NoToken.into()),
        (None, Stage::Formed(_), Some(kept)) => Some((identity, kept)),
        (None, Stage::Empty, _) if config.node_id.is_none() => return Err(join::Error::NoId.into()),
        (None, Stage::Formed(_), None) if config.node_id.is_none() => {
            return Err(IdentityError::MapGone { dir: dir.clone() }.into());
        }
        // What an earlier attempt to join has left says nothing of the cluster that is being formed.
        (None, ..) => match formation::run(dir, &prepared.map, identity, stop)? {
            Some((identity, cluster_id)) => {
                let kept = KeptMap::of_first(ClusterMap { cluster_id, ..prepared.map.clone() });
                kept.store(dir)?;
                Some((identity, kept))
            }
            None => None,
        },
    };
    let Some((identity, kept)) = member else { return Ok(None) };
    let id = identity.node_id;
    let Some(known) = kept.latest.node(id) else { return Err(engine::Error::Removed { node: id }.into()) };
    let own = config.node();
    if !known.is_described_by(own) {
        let (known, configured) = (described(known), described(own));
        return Err(Error::OtherAddresses { node: id, known, configured });
    }
    warn_of_other_settings(config, &kept.first, id);
    // As it was when nodes compared what they were configured for.
    let named = ClusterMap { cluster_id: prepared.map.cluster_id, ..kept.first.clone() };
    Ok(Some(Member { identity, config_print: formation::config_print(&named), kept }))
}

/// A node in words.
fn described(node: &Node) -> String {
    let Node { id: _, host, gateway_port, core_port, peer_port, admin_port, cores, rack } = node;
    let rack = rack.as_deref().unwrap_or("none");
    format!("{host}, ports {gateway_port}, {core_port}, {peer_port} and {admin_port}, {cores} cores, rack {rack}")
}

/// What a cluster is formed with stays, whatever is configured later.
fn warn_of_other_settings(config: &Config, first: &ClusterMap, me: NodeId) {
    let configured = &config.bootstrap;
    let is_same = configured.settings == first.settings && configured.groups_count + 1 == first.groups.len();
    if first.node(me).is_some() && !is_same {
        tracing::warn!(
            "`groups` or settings of the cluster are configured otherwise than it was formed with: those of the file do not count any more"
        );
    }
}

/// Starts the thread that keeps later maps for the next start, and looks whether there are descriptors for the links that they ask for.
fn keep_maps(keeper: Keeper, member: Member, config: &Config, clients_count_max: usize) -> Result<(), Error> {
    let (cores_count, dir, me) = (usize::from(config.node().cores), config.data_dir.clone(), member.identity.node_id);
    let look = move |map: &ClusterMap| {
        let conns_per_core = conns::per_core(clients_count_max, map.other_cores_count(me));
        if let Err(error) = rt::check_host(cores_count, cores_count * conns_per_core) {
            tracing::warn!(%error, nodes = map.nodes.len(), "the cluster has grown beyond what this host allows");
        }
    };
    look(&member.kept.latest);
    let spawned =
        std::thread::Builder::new().name("kept-map".to_owned()).spawn(move || keeper.serve(member.kept, dir, look));
    spawned.map(drop).map_err(|source| Error::Os { what: "starting a thread".into(), source })
}

/// Listens, once the ports of the core are free.
async fn listen<H: CoreHost>(core: &mut engine::Core<H>, host: &H) -> Result<(), engine::Error> {
    let wait = PortWait::begin();
    loop {
        let error = match core.listen() {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let engine::Error::Listen { source, .. } = &error else { return Err(error) };
        let pause = wait.pause(source).ok_or(error)?;
        host.sleep_until(host.now() + pause).await;
    }
}

/// Starts the thread that changes settings for clients.
fn keep_settings(
    (config, first_map): (&Config, &ClusterMap),
    clients_count_max: usize,
    running: &rt::Running<MeshMessage, Result<(), engine::Error>>,
    level: LevelSetter,
    admin: &Admin,
    wishes: Receiver<SettingsRequest>,
) -> Result<(), Error> {
    let keeper = SettingsKeeper {
        config: config.clone(),
        first_map: first_map.clone(),
        clients_count_max,
        remote: running.remote(),
        cores_count: running.cores_count(),
        level,
        admin: admin.clone(),
    };
    let spawned = std::thread::Builder::new().name("settings".to_owned()).spawn(move || keeper.serve(&wishes));
    spawned.map(drop).map_err(|source| Error::Os { what: "starting a thread".into(), source })
}

/// Starts the thread that remembers the other nodes' incarnations. It begins once the logs of all cores are there.
fn remember_nodes(
    mut known: KnownPeers,
    told: Receiver<(NodeId, u64)>,
    beginnings: Receiver<()>,
    running: &rt::Running<MeshMessage, Result<(), engine::Error>>,
) -> Result<(), Error> {
    let (remote, cores_count) = (running.remote(), running.cores_count());
    let serve = move || {
        if beginnings.iter().take(cores_count).count() < cores_count {
            // A core has failed, and the node with it.
            return;
        }
        if let Err(error) = known.begin() {
            tracing::error!(%error, file = known_peers::FILE_NAME, "cannot be written");
        }
        known_peers::serve(known, &told, |node, incarnation| {
            for core in 0..cores_count {
                // A core whose queue is full asks again when the node connects again.
                let _ = remote.send(CoreId(core as u16), MeshMessage::PeerAdmitted(node, incarnation));
            }
        });
    };
    let spawned = std::thread::Builder::new().name("known-peers".to_owned()).spawn(serve);
    spawned.map(drop).map_err(|source| Error::Os { what: "starting a thread".into(), source })
}

/// Passes requests to stop on to the cores, and waits until all of them have ended. The first failure of a core ends
/// the node: what the others have not said yet is said by nobody.
fn supervise(
    mut running: rt::Running<MeshMessage, Result<(), engine::Error>>,
    stop: StopRequests,
    service_manager: ServiceManager,
) -> Result<(), Error> {
    let remote = running.remote();
    let cores_count = running.cores_count();
    let pass_on = move || {
        stop.wait_for_ever(0);
        service_manager.stopping();
        tracing::info!("asked to stop: handing leaderships over");
        for core in 0..cores_count {
            // A core that is gone needs no telling, and one whose queue is full can still be ended below.
            let _ = remote.send(CoreId(core as u16), MeshMessage::Stop);
        }
        stop.wait_for_ever(1);
        tracing::warn!("asked to stop again: ending at once");
        // What was acknowledged is in the log, whenever the process ends.
        std::process::exit(1);
    };
    let spawned = std::thread::Builder::new().name("stop".to_owned()).spawn(pass_on);
    spawned.map_err(|source| Error::Os { what: "starting a thread".into(), source })?;
    while let Some((core, end)) = running.next_end() {
        end?.inspect_err(|error| tracing::error!(core = core.0, %error, "a core has failed; the node stops"))?;
    }
    Ok(())
}

/// What each core is told.
fn engine_configs(
    config: &Config,
    prepared: &Prepared,
    member: &Member,
    ask_settings: Option<&AskSettings>,
) -> Vec<engine::Config> {
    let Member { identity, kept, config_print } = member;
    let settings = node_settings(config, &kept.first, prepared.clients_count_max);
    let node = Node { id: identity.node_id, ..config.node().clone() };
    node.places()
        .map(|place| engine::Config {
            segment_bytes: config.segment_bytes,
            block_bytes_max: config.block_bytes_max,
            batch_bytes_max: config.batch_bytes_max,
            inflight_bytes_max: config.inflight_bytes_max,
            uncommitted_bytes_max: config.uncommitted_bytes_max,
            cache_bytes_max: config.cache_bytes_max,
            group_log_bytes_max: config.group_log_bytes_max,
            log_bytes_max: config.log_bytes_max,
            log_tail_bytes_max: config.log_tail_bytes_max,
            disk_reserve_bytes: config.disk_reserve_bytes,
            memory_bytes_max: config.memory_bytes_max,
            clients_count_max: prepared.clients_count_max,
            leader_wait: config.leader_wait,
            settings: settings.clone(),
            ask_settings: ask_settings.cloned(),
            process: Some(process_stats::probe()),
            known_peers: prepared.known_peers.known(),
            has_come_back: identity.has_come_back,
            latest_map: kept.latest.clone(),
            config_print: *config_print,
            ..engine::Config::new(place, kept.first.clone(), identity.incarnation, config.data_dir.clone())
        })
        .collect()
}

/// Checks the host, takes hold of the data directory, and plans the first cluster map.
pub fn prepare(config: &Config) -> Result<Prepared, Error> {
    let node = config.node();
    let files_limit = rt::raise_files_limit()?;
    let map = ClusterMap::bootstrap(&config.bootstrap)?;
    let cores_count = usize::from(node.cores);
    let kept = KeptMap::open(&config.data_dir)?;
    let latest = kept.as_ref().map_or(&map, |kept| &kept.latest);
    let is_other = |other: &&Node| other.gateway_addr() != node.gateway_addr();
    let other_cores_count = latest.nodes.iter().filter(is_other).map(|other| usize::from(other.cores)).sum();
    let clients_count_max = clients_count_max(config, files_limit, other_cores_count);
    let conns_per_core = conns::per_core(clients_count_max, other_cores_count);
    rt::check_host(cores_count, cores_count * conns_per_core)?;
    let cpus = cpus(config)?;
    let made = atomic_file::private_dir(&config.data_dir);
    made.map_err(|source| Error::Os { what: format!("making {}", shown(&config.data_dir)), source })?;
    let lock = rt::DirLock::acquire(&config.data_dir)?;
    rt::check_direct_io(&config.data_dir)?;
    let map_print = formation::config_print(&map).map;
    let identity = Identity::open(&config.data_dir, config.bootstrap.cluster_id, config.node_id, map_print)?;
    let known_peers = KnownPeers::open(&config.data_dir)?;
    Ok(Prepared { lock, identity, known_peers, map, kept, cpus, clients_count_max })
}

/// Most clients of each port of a core: what somebody has set, or as many as usual if the limit of open files allows it.
fn clients_count_max(config: &Config, files_limit: u64, other_cores_count: usize) -> usize {
    let (cores_count, usual) = (usize::from(config.node().cores), config.clients_count_max);
    let fit = conns::clients_that_fit(rt::connections_that_fit(files_limit, cores_count), other_cores_count);
    if config.clients_count_is_set || fit >= usual {
        return usual;
    }
    let needed = rt::files_needed(cores_count, cores_count * conns::per_core(usual, other_cores_count));
    tracing::warn!(
        "the limit of open files is {files_limit}, so maxclients is {fit} instead of {usual}; for more raise the limit \
         with `ulimit -n {needed}` or LimitNOFILE={needed} in the systemd unit"
    );
    fit
}

/// The cpu of each core: the c-th that this process may use, if cores are pinned.
fn cpus(config: &Config) -> Result<Vec<Option<usize>>, Error> {
    let cores = usize::from(config.node().cores);
    if !config.pin {
        return Ok(vec![None; cores]);
    }
    let usable = core_affinity::get_core_ids().unwrap_or_default();
    if usable.len() < cores {
        return Err(Error::TooFewCpus { cores, cpus: usable.len() });
    }
    Ok(usable.into_iter().take(cores).map(|cpu| Some(cpu.id)).collect())
}

fn shown(path: &std::path::Path) -> String {
    PathBuf::from(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn config(flags: &[(&str, &str)]) -> Config {
        let all = [&[("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")], flags].concat();
        Config::load(None, &Flags::of(&all)).expect("a sound configuration")
    }

    #[test]
    fn cores_are_pinned_to_cpus_of_their_own_or_not_at_all() {
        assert_eq!(cpus(&config(&[("cores", "3"), ("pin", "false")])).expect("none is needed"), [None; 3]);
        let usable = core_affinity::get_core_ids().expect("a process has cpus");
        assert_eq!(cpus(&config(&[])).expect("there is one"), [Some(usable[0].id)]);
        if usable.len() < 256 {
            let error = cpus(&config(&[("cores", "256")])).expect_err("too many").to_string();
            assert!(error.contains("256 cores are to be pinned") && error.contains("`pin = false`"), "{error}");
        }
    }

    #[test]
    fn clients_fit_the_limit_of_open_files_if_nobody_says_how_many() {
        let (usual, set) = (config(&[("cores", "2")]), config(&[("cores", "2"), ("maxclients", "10000")]));
        let enough = rt::files_needed(2, 2 * conns::per_core(10_000, 4));
        assert_eq!(clients_count_max(&usual, enough, 4), 10_000);
        let fit = clients_count_max(&usual, enough - 1, 4);
        assert_eq!(fit, 9_999);
        let fit = clients_count_max(&usual, 4_096, 4);
        assert!(rt::files_needed(2, 2 * conns::per_core(fit, 4)) <= 4_096, "{fit}");
        assert!(rt::files_needed(2, 2 * conns::per_core(fit + 1, 4)) > 4_096, "{fit}");
        assert_eq!(clients_count_max(&set, 4_096, 4), 10_000, "what does not fit is refused");
    }

    #[test]
    fn each_core_is_told_what_is_configured() {
        let config = config(&[("cores", "2"), ("cache_bytes_max", "12345"), ("memory_bytes_max", "99999999")]);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let lock = rt::DirLock::acquire(dir.path()).expect("nobody holds it");
        let map = ClusterMap::bootstrap(&config.bootstrap).expect("checked");
        let identity = Identity::open(dir.path(), map.cluster_id, Some(NodeId(1)), [0; 12]).expect("a new directory");
        let known_peers = KnownPeers::open(dir.path()).expect("a new directory");
        let kept = KeptMap::of_first(map.clone());
        let member = Member { identity, kept, config_print: ConfigPrint::default() };
        let prepared =
            Prepared { lock, identity, known_peers, map, kept: None, cpus: vec![None; 2], clients_count_max: 321 };
        let configs = engine_configs(&config, &prepared, &member, None);
        assert_eq!(configs.iter().map(|config| config.place.core).collect::<Vec<_>>(), [CoreId(0), CoreId(1)]);
        for core in configs {
            assert_eq!((core.cache_bytes_max, core.memory_bytes_max), (12_345, 99_999_999));
            assert_eq!(core.clients_count_max, 321);
            let shown: Vec<_> = core.settings.shown.iter().filter(|(name, _)| name == "maxclients").collect();
            assert_eq!(shown, [&("maxclients".to_owned(), "321".to_owned())]);
            assert_eq!(core.incarnation, identity.incarnation);
        }
    }
}
