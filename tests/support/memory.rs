//! The memory of nodes, watched while something is done to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::{Cluster, Options, process};

/// What a core of a cluster under [`limited`] may use.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// What a node of one core may have resident beside that: 96 MiB of buffers for its log and its sockets and of the program
/// itself, which an idle node has too, and some MiB that the allocator keeps to itself.
pub const FIXED_BYTES: u64 = 128 << 20;
/// A node that grows beyond this is killed, so that the machine does not suffer with it.
const GUARD_BYTES: u64 = 3 << 30;
const POLL: Duration = Duration::from_millis(10);

/// The most that a node of one core under [`limited`] may have resident.
pub const RESIDENT_BYTES_MAX: u64 = MEMORY_BYTES_MAX + MEMORY_BYTES_MAX / 10 + FIXED_BYTES;

/// The same cluster, with [`MEMORY_BYTES_MAX`] for each core.
pub fn limited(mut options: Options) -> Options {
    options.set.push(format!("memory_bytes_max={MEMORY_BYTES_MAX}"));
    options
}

/// What became of a node while it was watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its process.
    pub pid: u32,
    /// What it had resident in the beginning, in bytes.
    pub before: u64,
    /// The most that it had.
    pub peak: u64,
    /// What it had last.
    pub last: u64,
    /// Whether it ended by itself.
    pub is_dead: bool,
    /// Whether it was killed because it grew without an end.
    pub is_killed: bool,
}

/// Watches the nodes of a cluster until it is asked what it saw.
#[derive(Debug)]
pub struct MemoryWatch {
    nodes: Arc<Mutex<Vec<Watched>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// Begins.
    pub fn start(cluster: &Cluster) -> MemoryWatch {
        let watched = |pid| {
            let before = process::resident_bytes(pid);
            Watched { pid, before, peak: before, last: before, is_dead: false, is_killed: false }
        };
        let nodes: Vec<Watched> = cluster.nodes().iter().map(|node| watched(node.pid)).collect();
        for node in &nodes {
            // The kernel's own high-water mark begins anew, so that nothing is missed between two looks.
            std::fs::write(format!("/proc/{}/clear_refs", node.pid), "5").expect("the process is ours");
        }
        let (nodes, stop) = (Arc::new(Mutex::new(nodes)), Arc::new(AtomicBool::new(false)));
        let (shared, told) = (Arc::clone(&nodes), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().for_each(Watched::look);
                std::thread::sleep(POLL);
            }
        });
        MemoryWatch { nodes, stop, thread: Some(thread) }
    }

    /// What it has seen so far, by node.
    pub fn seen(&self) -> Vec<Watched> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter_mut().for_each(Watched::look);
        nodes.clone()
    }

    /// The most that a node had resident.
    pub fn peak(&self) -> u64 {
        self.seen().iter().map(|node| node.peak).max().unwrap_or(0)
    }

    /// Prints what was seen under this name.
    ///
    /// # Panics
    /// If a node ended, or had more resident than `bytes_max`.
    pub fn check(&self, name: &str, bytes_max: u64) {
        let seen = self.seen();
        for (at, node) in seen.iter().enumerate() {
            let Watched { before, peak, last, is_dead, is_killed, .. } = node;
            let fate = match (is_killed, is_dead) {
                (true, _) => ", killed by the test",
                (_, true) => ", ended by itself",
                _ => "",
            };
            println!(
                "{name}: node {}: {} MiB, at most {}, at last {}{fate}",
                at + 1,
                before >> 20,
                peak >> 20,
                last >> 20
            );
        }
        for (at, node) in seen.iter().enumerate() {
            assert!(!node.is_dead, "{name}: node {} ended by itself", at + 1);
            assert!(node.peak <= bytes_max, "{name}: node {} had {} MiB resident", at + 1, node.peak >> 20);
        }
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It panics only if the test has failed anyhow.
            let _ = thread.join();
        }
    }
}

impl Watched {
    fn look(&mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        // A process that has ended has no memory, whether somebody has waited for it or not.
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
        };
        let (Some(now), Some(peak)) = (field("VmRSS:"), field("VmHWM:")) else {
            self.is_dead |= !self.is_killed;
            return;
        };
        (self.last, self.peak) = (now, self.peak.max(peak));
        if now > GUARD_BYTES {
            self.is_killed = true;
            process::signal(self.pid, Signal::KILL);
        }
    }
}
