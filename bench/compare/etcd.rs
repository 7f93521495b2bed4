//! Three etcd servers on this machine.
//!
//! Clients send to the leader only, over few or many connections: what etcd's own benchmark tool calls
//! `--target-leader`, and the most favourable to etcd. All that is tried is listed; its best counts.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::compare::Context;
use crate::compare::etcd_client::{EtcdClient, put_frame};
use crate::compare::measure::{Sample, Spent, delta};
use crate::compare::process::{Cpu, Server, device_flushes, free_ports};
use crate::error::Error;
use crate::load::keys::key_name;
use crate::load::mix::Kind;
use crate::load::report::Report;
use crate::load::rng::Rng;
use crate::load::stats::Stats;

/// Its name in the results.
pub const SYSTEM: &str = "etcd x3";
const NODES_COUNT: usize = 3;
/// How long to wait for answers behind the end of a measurement.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait for one connection or status.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Starts etcd, measures, and stops it.
///
/// # Errors
/// If it is not installed or does not start, and those of the load.
pub fn measure(context: &Context<'_>) -> Result<Vec<Sample>, Error> {
    let dir = context.dir.join("etcd");
    std::fs::create_dir(&dir).map_err(Error::os(format!("creating {}", dir.display())))?;
    let samples = with_cluster(context, &dir);
    std::fs::remove_dir_all(&dir).map_err(Error::os(format!("removing {}", dir.display())))?;
    samples
}

fn with_cluster(context: &Context<'_>, dir: &Path) -> Result<Vec<Sample>, Error> {
    context.say("etcd x3: starting");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::os("starting a runtime"))?;
    let (servers, clients) = start(dir)?;
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    let Some(first) = servers.first() else { return Ok(Vec::new()) };
    let leader = first.await_ready(context.stop, |_| find_leader(&runtime, &clients))?;
    let many = context.options.connections_many;
    // (clients, connections); each client has one put on its way.
    let mut loads = vec![(1, 1), (100, 100), (many, many.min(100)), (many, many)];
    loads.dedup();
    let sample = |(clients, connections)| {
        let test = format!("PUT clients={clients} c={connections}");
        context.say(&format!("{SYSTEM}: {test}"));
        let (before, flushes) = (Cpu::of(&pids), device_flushes(context.dir));
        let report = run_load(context, &runtime, leader, clients, connections)?;
        let flushes = delta(flushes, device_flushes(context.dir));
        let mut sample = Sample {
            system: SYSTEM.to_owned(),
            test,
            ops_per_s: report.ops_per_s,
            p50_us: report.latency.p50_us,
            p99_us: report.latency.p99_us,
            errors_count: report.errors_count,
            error_text: report.errors.keys().next().cloned(),
            ..Sample::default()
        };
        let spent = Spent { before, after: Cpu::of(&pids), syncs: None, flushes };
        spent.divide(report.replies_ok + report.errors_count, Kind::Set, &mut sample);
        Ok(sample)
    };
    loads.into_iter().map(sample).collect()
}

/// The servers and the addresses for clients.
fn start(dir: &Path) -> Result<(Vec<Server>, Vec<SocketAddr>), Error> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ports = free_ports(ip, 2 * NODES_COUNT)?;
    let (clients, peers) = ports.split_at(NODES_COUNT);
    let members: Vec<String> =
        peers.iter().enumerate().map(|(idx, port)| format!("n{idx}=http://127.0.0.1:{port}")).collect();
    let mut servers = Vec::with_capacity(NODES_COUNT);
    for (idx, (client, peer)) in clients.iter().zip(peers).enumerate() {
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut command = Command::new("etcd");
        command.args(["--name", &format!("n{idx}"), "--data-dir"]).arg(dir.join(format!("n{idx}")));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"]);
        command.args(["--logger", "zap", "--log-level", "error"]);
        servers.push(Server::start(&format!("etcd n{idx}"), command, dir.join(format!("log-{idx}")))?);
    }
    Ok((servers, clients.iter().map(|port| SocketAddr::new(ip, *port)).collect()))
}

/// The address of the leader, once every server knows it.
fn find_leader(runtime: &Runtime, clients: &[SocketAddr]) -> Option<SocketAddr> {
    let mut statuses = Vec::new();
    for addr in clients {
        let status = async { EtcdClient::connect(*addr).await?.status().await };
        let status = LocalSet::new().block_on(runtime, async { tokio::time::timeout(ASK_TIMEOUT, status).await });
        statuses.push((addr, status.ok()?.ok()?));
    }
    let (_, first) = statuses.first()?;
    let agreed = first.leader_id != 0 && statuses.iter().all(|(_, status)| status.leader_id == first.leader_id);
    let leader = statuses.iter().find(|(_, status)| status.member_id == first.leader_id)?;
    agreed.then_some(*leader.0)
}

fn run_load(
    context: &Context<'_>,
    runtime: &Runtime,
    leader: SocketAddr,
    clients: usize,
    connections: usize,
) -> Result<Report, Error> {
    let options = context.options;
    let limit = options.measure_for + DRAIN_TIMEOUT;
    let stalled = |waited| Error::Stalled { addr: leader.to_string(), what: "puts or connections pending", waited };
    LocalSet::new().block_on(runtime, async {
        let load = async {
            let mut pool = Vec::with_capacity(connections);
            for _ in 0..connections {
                pool.push(EtcdClient::connect(leader).await?);
            }
            let stats = Rc::new(RefCell::new(Stats::new()));
            let started = Instant::now();
            let ends = started + options.measure_for;
            let (keys_count, value) = (options.keys_count, Bytes::from(vec![b'x'; options.value_bytes]));
            let tasks: Vec<_> = pool
                .iter()
                .cycle()
                .take(clients)
                .enumerate()
                .map(|(idx, client)| {
                    let client = Client { etcd: client.clone(), value: value.clone(), keys_count, started, ends };
                    tokio::task::spawn_local(client.put_until_end(Rng::new(idx as u64), Rc::clone(&stats)))
                })
                .collect();
            for task in tasks {
                // A task neither panics nor is cancelled; it counts its errors.
                drop(task.await);
            }
            let report = Report::of(&stats.borrow());
            Ok(report)
        };
        let stop = async {
            while context.check_stop().is_ok() {
                tokio::time::sleep(STOP_POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            result = tokio::time::timeout(limit, load) => result.unwrap_or_else(|_| Err(stalled(limit))),
            () = stop => Err(Error::Interrupted),
        }
    })
}

/// One client: one put at a time.
struct Client {
    etcd: EtcdClient,
    value: Bytes,
    keys_count: u32,
    started: Instant,
    ends: Instant,
}

impl Client {
    async fn put_until_end(mut self, mut rng: Rng, stats: Rc<RefCell<Stats>>) {
        loop {
            let begun = Instant::now();
            if begun >= self.ends {
                return;
            }
            let frame = put_frame(&key_name(rng.below(self.keys_count)), &self.value);
            let result = self.etcd.put(frame).await;
            let mut stats = stats.borrow_mut();
            stats.last_reply_ns = self.started.elapsed().as_nanos() as u64;
            match result {
                Ok(()) => stats.record(Kind::Set, begun.elapsed().as_nanos() as u64),
                Err(error) => {
                    stats.record_errors(&error.to_string(), 1);
                    // A connection that has failed fails again, at once.
                    return;
                }
            }
        }
    }
}
