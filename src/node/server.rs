//! One node: `coracle server`.
//!
//! In order: the host is checked, the data directory is made, locked and found to be this node's, the first
//! cluster map is planned, and then the cores start. The main thread only waits: for a request to stop, or for a core to
//! end.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};

use engine::MeshMessage;
use meta::ClusterMap;
use types::{CoreId, NodeId};

use crate::acquaintances::{self, Acquaintances};
use crate::config::Config;
use crate::identity::{Identity, IdentityError};
use crate::logging;
use crate::process_stats;
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
    pub acquaintances: Acquaintances,
    /// The first cluster map.
    pub map: ClusterMap,
    /// The cpu of each core, if cores are pinned.
    pub cpus: Vec<Option<usize>>,
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

/// Runs the node until it is asked to stop or a core ends.
pub fn run(config: &Config) -> Result<(), Error> {
    let _logging = logging::start(&config.log_level);
    let listening = StopRequests::listen();
    let stop = listening.map_err(|source| Error::Os { what: "listening for signals".into(), source })?;
    let prepared = prepare(config)?;
    let node = config.node();
    tracing::info!(
        node = config.node_id.0,
        cluster = %prepared.identity.cluster_id,
        incarnation = format_args!("{:016x}", prepared.identity.incarnation),
        data_dir = %config.data_dir.display(),
        cores = node.cores,
        groups = prepared.map.groups.len(),
        gateway = %node.gateway_addr(),
        "starting"
    );
    let runtime = rt::Config {
        cores: prepared.cpus.iter().map(|cpu| rt::CoreConfig { cpu: *cpu }).collect(),
        spin: std::time::Duration::from_micros(config.spin_us.into()),
        ..rt::Config::default()
    };
    let (acquaint, told) = acquaintances::queue();
    let configs: Vec<engine::Config> = engine_configs(config, &prepared)
        .into_iter()
        .map(|config| engine::Config { remember_peer: Some(acquaint.clone()), ..config })
        .collect();
    drop(acquaint);
    prepared.acquaintances.check_logs(configs.iter().map(engine::Config::wal_dir))?;
    let (begun, beginnings) = sync_channel(configs.len());
    let running = rt::start(runtime, move |core: CoreId, host| {
        let config = configs[usize::from(core.0)].clone();
        let begun = begun.clone();
        async move {
            let mut core = engine::Core::start(host, config).await?;
            // There is room for one word of each core, and a node that does not listen any more ends anyway.
            let _ = begun.try_send(());
            drop(begun);
            core.listen()?;
            core.run().await
        }
    })?;
    remember_nodes(prepared.acquaintances, told, beginnings, &running)?;
    supervise(running, stop)
}

/// Starts the thread that remembers the other nodes' incarnations. It begins once the logs of all cores are there.
fn remember_nodes(
    mut known: Acquaintances,
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
            tracing::error!(%error, file = acquaintances::FILE_NAME, "cannot be written");
        }
        acquaintances::serve(known, &told, |node, incarnation| {
            for core in 0..cores_count {
                // A core whose queue is full asks again when the node connects again.
                let _ = remote.send(CoreId(core as u16), MeshMessage::PeerAdmitted(node, incarnation));
            }
        });
    };
    let spawned = std::thread::Builder::new().name("acquaintances".to_owned()).spawn(serve);
    spawned.map(drop).map_err(|source| Error::Os { what: "starting a thread".into(), source })
}

/// Passes requests to stop on to the cores, and waits until all of them have ended. The first failure of a core ends
/// the node: what the others have not said yet is said by nobody.
fn supervise(
    mut running: rt::Running<MeshMessage, Result<(), engine::Error>>,
    stop: StopRequests,
) -> Result<(), Error> {
    let remote = running.remote();
    let cores_count = running.cores_count();
    let pass_on = move || {
        stop.wait_for_ever(0);
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
fn engine_configs(config: &Config, prepared: &Prepared) -> Vec<engine::Config> {
    let node = config.node();
    let mut shown_settings = config.shown.clone();
    let as_redis = [
        // Load generators ask for these two: nothing is ever saved aside, and every write is in a log.
        ("save".to_owned(), String::new()),
        ("appendonly".to_owned(), "yes".to_owned()),
        ("appendfsync".to_owned(), "always".to_owned()),
        ("maxmemory".to_owned(), "0".to_owned()),
        ("maxmemory-policy".to_owned(), "noeviction".to_owned()),
        ("databases".to_owned(), "1".to_owned()),
        ("cluster-enabled".to_owned(), "yes".to_owned()),
        ("timeout".to_owned(), "0".to_owned()),
        ("proto-max-bulk-len".to_owned(), types::limits::VALUE_BYTES_MAX.to_string()),
        ("dir".to_owned(), config.data_dir.display().to_string()),
        ("port".to_owned(), node.gateway_port.to_string()),
        ("bind".to_owned(), node.host.to_string()),
    ];
    shown_settings.extend(as_redis);
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
            clients_count_max: config.clients_count_max,
            client_output_bytes_max: config.client_output_bytes_max,
            client_stall_timeout: config.client_stall_timeout,
            leader_wait: config.leader_wait,
            stop_timeout: config.stop_timeout,
            shown_settings: shown_settings.clone(),
            process: Some(process_stats::probe()),
            known_peers: prepared.acquaintances.known(),
            ..engine::Config::new(place, prepared.map.clone(), prepared.identity.incarnation, config.data_dir.clone())
        })
        .collect()
}

/// Checks the host, takes hold of the data directory, and plans the first cluster map.
pub fn prepare(config: &Config) -> Result<Prepared, Error> {
    let node = config.node();
    rt::raise_files_limit()?;
    let peers_count: usize = config.bootstrap.nodes.iter().map(|node| usize::from(node.cores)).sum();
    // Every core may have a connection with every core of every other node, either way.
    let conns_per_core = config.clients_count_max + 2 * peers_count;
    rt::check_host(node.cores.into(), conns_per_core * usize::from(node.cores))?;
    let cpus = cpus(config)?;
    let made = std::fs::create_dir_all(&config.data_dir);
    made.map_err(|source| Error::Os { what: format!("making {}", shown(&config.data_dir)), source })?;
    let lock = rt::DirLock::acquire(&config.data_dir)?;
    rt::check_direct_io(&config.data_dir)?;
    let map = ClusterMap::bootstrap(&config.bootstrap)?;
    let identity = Identity::open(&config.data_dir, config.bootstrap.cluster_id, config.node_id)?;
    let acquaintances = Acquaintances::open(&config.data_dir)?;
    Ok(Prepared { lock, identity, acquaintances, map, cpus })
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
