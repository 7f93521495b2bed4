//! The load generator. Read in this order: [`mix`] (which commands), [`keys`] and [`zipf`] (which keys), [`sizes`] and
//! [`values`] (which values), [`workload`] (their bytes), [`schedule`], [`conn`], [`worker`], [`stats`].
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
pub mod keys;
pub mod mix;
pub mod rng;
pub mod schedule;
pub mod sizes;
pub mod stats;
pub mod values;
pub mod worker;
pub mod workload;
pub mod zipf;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use crate::client;
use crate::error::Error;
use crate::topology::Topology;
use keys::{KeyOrder, OwnedKeys};
use stats::{Report, Stats};
use worker::Worker;
use workload::Workload;

/// The most connections of a run.
pub const CONNECTIONS_MAX: usize = 20_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The servers. With `cluster`, those that are asked who owns what.
    pub addrs: Vec<SocketAddr>,
    /// Whether to send each command to the owner of its slot.
    pub cluster: bool,
    /// How many connections, in all.
    pub connections: usize,
    /// The most commands on their way on one connection.
    pub pipeline: usize,
    /// End after that many commands.
    pub requests: Option<u64>,
    /// End after that time.
    pub duration: Option<Duration>,
    /// Commands a second of an open loop; `None` is a closed loop.
    pub rate: Option<f64>,
    /// The commands.
    pub workload: Workload,
    /// How many keys there are at the start.
    pub keys_count: u32,
    /// In which order they are chosen.
    pub key_order: KeyOrder,
    /// How many threads share the connections.
    pub threads: usize,
    /// How long to wait for an answer or a connection.
    pub timeout: Duration,
    /// Where chance starts.
    pub seed: u64,
}

/// What the threads of a run share with the one that watches.
#[derive(Debug, Default)]
pub struct Shared {
    /// How many threads have all their connections.
    pub threads_ready: AtomicU32,
    /// Set when one thread has failed, so that the others do not go on.
    pub failed: AtomicBool,
    /// Answers so far, for a progress display.
    pub replies: AtomicU64,
}

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
pub fn run(spec: &Spec, shared: &Shared, stop: &AtomicBool) -> Result<Report, Error> {
    let targets = find_targets(spec, &spec.addrs)?;
    // Connection i goes to thread i mod threads; neighbours lead to different owners.
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
    let mut stats = Stats::new();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..spec.threads)
            .map(|thread_idx| {
                let mine: Vec<usize> = plan.iter().copied().skip(thread_idx).step_by(spec.threads).collect();
                let targets = &targets;
                scope.spawn(move || {
                    let result = Worker::new(spec, targets, &mine, thread_idx, shared).and_then(|w| w.run(stop));
                    if result.is_err() {
                        shared.failed.store(true, std::sync::atomic::Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let mut fault = None;
        for handle in handles {
            match handle.join() {
                Ok(Ok(counted)) => stats.merge(&counted),
                // A thread that stopped because another one failed has nothing to say.
                Ok(Err(error)) if fault.is_none() || matches!(fault, Some(Error::Interrupted)) => fault = Some(error),
                Ok(Err(_)) => {}
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        fault.map_or(Ok(()), Err)
    })?;
    Ok(stats.report())
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
