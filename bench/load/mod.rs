//! The load generator. Read in this order: [`mix`] (which commands), [`keys`] and [`zipf`] (which keys), [`sizes`] and
//! [`values`] (which values), [`workload`] (their bytes), [`schedule`], [`conn`], [`worker`], [`stats`], [`timeline`] (how
//! the counters of the threads come together), [`progress`], [`report`]; [`cpus`], [`files`].
//!
//! A thread drives all its connections with one epoll loop and prepared bytes, since on a small machine the
//! generator takes its share from the server it measures. Invariants: at most `pipeline` commands are on their
//! way on a connection; every command is counted exactly once, as a sound answer or as an error; nothing waits
//! longer than `timeout`.
//!
//! In a *closed loop* each connection sends `pipeline` commands, waits for all answers and sends the next ones,
//! as redis-benchmark does. In an *open loop* commands are due at fixed times.
//!
//! Deliberately absent: retries. A command that was redirected or failed is counted as an error.

pub mod conn;
pub mod cpus;
pub mod files;
pub mod keys;
pub mod mix;
pub mod progress;
pub mod report;
pub mod rng;
pub mod schedule;
pub mod sizes;
pub mod stats;
pub mod timeline;
pub mod values;
pub mod worker;
pub mod workload;
pub mod zipf;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::client;
use crate::error::Error;
use crate::topology::Topology;
use conn::Protocol;
use cpus::Cpus;
use keys::{KeyOrder, OwnedKeys};
use report::Report;
use schedule::Arrivals;
use stats::Stats;
use timeline::{Mailbox, Merger, Point, View};
use worker::Worker;
use workload::Workload;

/// The most connections of a run.
pub const CONNECTIONS_MAX: usize = 20_000;
/// How often whoever watches a run looks for windows that are complete.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The servers. With `cluster`, those that are asked who owns what.
    pub addrs: Vec<SocketAddr>,
    /// Whether to send each command to the owner of its slot.
    pub cluster: bool,
    /// The protocol of the replies.
    pub protocol: Protocol,
    /// How many connections, in all.
    pub connections: usize,
    /// The most commands on their way on one connection.
    pub pipeline: usize,
    /// How long commands are sent before measuring begins.
    pub warmup: Duration,
    /// End after that many commands behind the warm-up.
    pub requests: Option<u64>,
    /// End after that time behind the warm-up.
    pub duration: Option<Duration>,
    /// How long the windows are in which a run is watched.
    pub window: Duration,
    /// Commands a second of an open loop; `None` is a closed loop.
    pub rate: Option<f64>,
    /// How they are spread over time.
    pub arrivals: Arrivals,
    /// The commands.
    pub workload: Workload,
    /// How many keys there are at the start.
    pub keys_count: u32,
    /// In which order they are chosen.
    pub key_order: KeyOrder,
    /// How many threads share the connections.
    pub threads: usize,
    /// Where they run.
    pub cpus: Cpus,
    /// How long to wait for an answer or a connection.
    pub timeout: Duration,
    /// Where chance starts.
    pub seed: u64,
}

/// What the threads of a run share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// How many threads have all their connections.
    threads_ready: AtomicU32,
    /// Set when one thread has failed, so that the others do not go on.
    failed: AtomicBool,
    /// When commands began to be sent.
    started: OnceLock<Instant>,
}

/// What a run has shown.
#[derive(Debug)]
pub struct Outcome {
    /// All counters.
    pub stats: Stats,
    /// Window by window, without the warm-up.
    pub timeline: Vec<Point>,
}

impl Outcome {
    /// The report of the run.
    pub fn report(&self) -> Report {
        Report::of(&self.stats)
    }
}

/// Sees each window of a run once it is complete.
pub type Observer<'a> = dyn FnMut(&View<'_>) + 'a;

/// Who owns which keys at the start, and how many connections lead there.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) keys: OwnedKeys,
    pub(crate) connections: usize,
}

/// Runs a load. `stop` ends it early with [`Error::Interrupted`].
///
/// # Errors
/// If servers cannot be reached, stall or send what is not RESP. Error replies are counted instead.
pub fn run(spec: &Spec, observer: &mut Observer<'_>, stop: &AtomicBool) -> Result<Outcome, Error> {
    files::allow(spec.connections, spec.threads)?;
    let targets = find_targets(spec, &spec.addrs)?;
    let plan = plan_connections(spec, &targets)?;
    let (shared, mut timeline) = (Shared::default(), Vec::new());
    let mailboxes: Vec<Mailbox> = (0..spec.threads).map(|_| Mailbox::default()).collect();
    let mut on_view = |view: &View<'_>| {
        observer(view);
        if !view.point.is_warmup {
            timeline.push(view.point.clone());
        }
    };
    let mut merger = Merger::new(spec.threads, spec.window, spec.warmup);
    std::thread::scope(|scope| {
        let handles: Vec<_> = mailboxes
            .iter()
            .enumerate()
            .map(|(thread_idx, mailbox)| {
                let mine: Vec<usize> = plan.iter().copied().skip(thread_idx).step_by(spec.threads).collect();
                let (targets, shared) = (&targets, &shared);
                scope.spawn(move || {
                    let worker = Worker::new(spec, targets, &mine, thread_idx, shared, mailbox);
                    let result = worker.and_then(|worker| worker.run(stop));
                    if result.is_err() {
                        shared.failed.store(true, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        loop {
            let is_over = handles.iter().all(|handle| handle.is_finished());
            for (thread_idx, mailbox) in mailboxes.iter().enumerate() {
                mailbox.take().into_iter().for_each(|window| merger.take(thread_idx, window, &mut on_view));
            }
            if is_over {
                break;
            }
            std::thread::sleep(WATCH_INTERVAL);
        }
        let results = handles.into_iter().map(|handle| match handle.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        first_fault(results)
    })?;
    let stats = merger.finish(&mut on_view);
    Ok(Outcome { stats, timeline })
}

/// Why a run failed: threads that stopped because another one failed have nothing to say.
fn first_fault(results: impl Iterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut interrupted = Ok(());
    for result in results {
        match result {
            Err(Error::Interrupted) => interrupted = Err(Error::Interrupted),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
    interrupted
}

/// The target of each connection. Connection i goes to thread i mod threads; neighbours lead to different owners.
fn plan_connections(spec: &Spec, targets: &[Target]) -> Result<Vec<usize>, Error> {
    let mut plan: Vec<usize> = Vec::with_capacity(spec.connections);
    let most = targets.iter().map(|target| target.connections).max().unwrap_or(0);
    for round in 0..most {
        plan.extend(
            (0..targets.len()).filter(|idx| targets.get(*idx).is_some_and(|target| round < target.connections)),
        );
    }
    if plan.is_empty() {
        return Err(Error::Usage("nobody owns a slot, so there is nowhere to connect to".to_owned()));
    }
    Ok(plan)
}

/// Asks for the owners, at the first of `seeds` that answers, and deals keys and connections to them.
pub(crate) fn find_targets(spec: &Spec, seeds: &[SocketAddr]) -> Result<Vec<Target>, Error> {
    let nobody = || Error::Usage("no address to connect to".to_owned());
    if !spec.cluster {
        let shares = apportion(spec.connections, &vec![1; spec.addrs.len()]);
        let target = |(addr, connections): (&SocketAddr, usize)| Target {
            addr: *addr,
            keys: OwnedKeys::all(spec.keys_count),
            connections,
        };
        return Ok(spec.addrs.iter().zip(shares).map(target).collect());
    }
    let mut result = Err(nobody());
    for seed in seeds {
        result = client::cluster_slots(*seed);
        if result.is_ok() {
            break;
        }
    }
    let topology: Arc<Topology> = Arc::new(result?);
    let shares = apportion(spec.connections, &topology.slots_counts());
    let keys = OwnedKeys::by_owner(&topology, spec.keys_count);
    let owners = topology.owners().iter().zip(keys).zip(shares);
    Ok(owners.map(|((addr, keys), connections)| Target { addr: *addr, keys, connections }).collect())
}

/// Shares `total` out in proportion to the weights. Nobody with a weight goes empty while another has two; if
/// there are too few, the heaviest are served.
pub(crate) fn apportion(total: usize, weights: &[usize]) -> Vec<usize> {
    let mut shares = vec![0usize; weights.len()];
    for _ in 0..total {
        // The one that falls shortest of its share by the most; an empty one comes first.
        let need = |idx: usize| {
            weights.get(idx).zip(shares.get(idx)).map(|(weight, share)| {
                let owed = if *share == 0 { f64::INFINITY } else { *weight as f64 / (*share as f64 + 0.5) };
                (owed, *weight)
            })
        };
        let next = (0..weights.len())
            .filter(|idx| weights.get(*idx).is_some_and(|weight| *weight > 0))
            .max_by(|a, b| need(*a).partial_cmp(&need(*b)).unwrap_or(std::cmp::Ordering::Equal).then(b.cmp(a)));
        match next.and_then(|idx| shares.get_mut(idx)) {
            Some(share) => *share += 1,
            None => break,
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::apportion;

    #[test]
    fn connections_follow_the_slots() {
        assert_eq!(apportion(50, &[16_384]), [50]);
        assert_eq!(apportion(8, &[3, 3, 2]), [3, 3, 2]);
        assert_eq!(apportion(100, &[300, 300, 0, 400]), [30, 30, 0, 40]);
        assert_eq!(apportion(3, &[16_000, 1, 1]), [1, 1, 1], "nobody goes empty");
        assert_eq!(apportion(1, &[1, 5, 2]), [0, 1, 0], "too few: the heaviest");
        assert_eq!(apportion(5, &[0, 0]), [0, 0]);
    }
}
