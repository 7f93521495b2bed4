//! A replica whose log is damaged never takes part again, and another one takes its place on the same core, without a person: it
//! receives what the group holds, becomes a voter, and is one that the group can rely on.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sim::checkers::{Checkers, Voters};
use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use sim::observation::{Observation, ObservationKind};
use types::{GroupId, Index, Instant, NodeId, ReplicaId};

const SECOND: u64 = 1_000_000_000;

/// Sets keys, one after the other, and counts what is acknowledged.
struct Setter {
    addr: std::net::SocketAddr,
    conn: Option<ClientConn>,
    count: u64,
    acknowledged: u64,
    history: History,
}

impl Setter {
    fn set(&mut self, net: &ClientNet) {
        self.count += 1;
        let command = format!("SET key{} {:0200}\r\n", self.count % 50, self.count);
        net.send(self.conn.unwrap(), command.as_bytes());
    }
}

impl Workload for Setter {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(2 * SECOND), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Connected(_) => self.set(net),
            ClientEvent::Received(_, bytes) => {
                self.acknowledged += u64::from(bytes.starts_with(b"+OK"));
                self.set(net);
            }
            ClientEvent::Closed(_) => net.timer(net.now() + Duration::from_millis(100), 0),
            ClientEvent::Timer(_) => self.conn = Some(net.connect(self.addr)),
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// The replicas that started on a node, in their order, by group.
fn started(cluster: &Cluster, node: NodeId) -> BTreeMap<GroupId, Vec<ReplicaId>> {
    let mut started = BTreeMap::<_, Vec<_>>::new();
    for seen in cluster.observations.borrow().iter().filter(|seen| seen.place.node == node) {
        if matches!(seen.kind, ObservationKind::Started { .. }) {
            started.entry(seen.group).or_default().push(seen.replica);
        }
    }
    started
}

/// How far each group's state on a node has come.
fn applied(cluster: &Cluster, node: NodeId) -> BTreeMap<GroupId, Index> {
    let mut applied = BTreeMap::new();
    for seen in cluster.observations.borrow().iter().filter(|seen| seen.place.node == node) {
        if let ObservationKind::Applied { index, .. } | ObservationKind::Restored { last: (index, _) } = seen.kind {
            applied.insert(seen.group, index);
        }
    }
    applied
}

/// Flips bits in the second page of each segment of a node's log, behind which others follow: what was acknowledged is damaged.
fn rot_log(cluster: &Cluster, node: usize) {
    let machine = &mut cluster.world.borrow_mut().nodes[node];
    machine.is_damaged = true;
    let disk = &mut machine.disk;
    let dir = Path::new("/data/wal/core-00");
    let rotten = disk.list(dir).unwrap().into_iter().filter(|name| name.ends_with(".seg"));
    let count = rotten.map(|name| u32::from(disk.rot_at(&dir.join(name), 1, 1_000))).sum::<u32>();
    assert!(count > 0, "there is nothing that could rot");
}

fn run(seed: u64, group_log_bytes_max: u64) -> (Cluster, Setter) {
    let mut cluster_spec = ClusterSpec::of_seed(1);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 2);
    (cluster_spec.group_log_bytes_max, cluster_spec.log_tail_bytes_max) = (group_log_bytes_max, 0);
    cluster_spec.faulty_nodes = Vec::new();
    let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    (0..3).for_each(|node| cluster.boot(node));
    let addr = cluster.map.nodes[0].gateway_addr();
    let mut setter = Setter { addr, conn: None, count: 0, acknowledged: 0, history: History::new() };
    cluster.start(&mut setter);
    cluster.run_with(6 * SECOND, &mut setter);
    (cluster, setter)
}

/// `group_log_bytes_max`: whether the others still have all of the log, or a state must be sent.
fn is_replaced_and_counts(group_log_bytes_max: u64) {
    let (cluster, mut setter) = run(10, group_log_bytes_max);
    let number = |node: usize| cluster.map.nodes[node].id;
    cluster.kill(2, Death::Process);
    rot_log(&cluster, 2);
    cluster.run_with(7 * SECOND, &mut setter);
    cluster.boot(2);
    cluster.run_with(20 * SECOND, &mut setter);
    let is_quarantine = |seen: &&Observation| matches!(seen.kind, ObservationKind::Quarantined { .. });
    let quarantined: Vec<_> =
        cluster.observations.borrow().iter().filter(is_quarantine).map(|seen| (seen.group, seen.replica)).collect();
    assert!(!quarantined.is_empty(), "the damage was not noticed");
    let started = started(&cluster, number(2));
    for (group, lost) in &quarantined {
        let last = started[group].last().unwrap();
        assert!(last > lost, "group {group}: {last} is no successor of {lost}");
    }
    // Without it there is no majority from here on.
    cluster.kill(1, Death::Process);
    let before = setter.acknowledged;
    cluster.run_with(30 * SECOND, &mut setter);
    assert!(setter.acknowledged > before + 100, "{} of {before}", setter.acknowledged);
    cluster.boot(1);
    cluster.run_with(40 * SECOND, &mut setter);
    let [first, last] = [0, 2].map(|node| applied(&cluster, number(node)));
    assert!(first.iter().all(|(group, index)| last[group] + 100 > *index), "{first:?} {last:?}");
    // It is found again by a start, under its new id.
    cluster.kill(2, Death::Process);
    cluster.boot(2);
    cluster.run_with(45 * SECOND, &mut setter);
    let again = self::started(&cluster, number(2));
    for (group, _) in &quarantined {
        let [.., before, last] = again[group][..] else { panic!("group {group} has not started again") };
        assert_eq!(before, last, "group {group}");
    }
    // Whatever it has received and flushed is what the others hold, and elections and commits had their majorities.
    let voters = |group: &meta::Group| group.replicas.iter().map(|replica| replica.id).collect();
    let voters: Voters = cluster.map.groups.iter().map(|group| (group.id, voters(group))).collect();
    let mut checkers = Checkers::new(voters, Duration::from_secs(10));
    for seen in cluster.observations.borrow().iter() {
        checkers.observe(seen).unwrap();
    }
    let ended = |seen: &Observation| matches!(seen.kind, ObservationKind::Ended { .. });
    assert!(!cluster.observations.borrow().iter().any(ended), "a node has ended");
}

#[test]
fn a_replica_with_a_damaged_log_is_replaced_by_one_that_reads_the_log_of_the_others() {
    is_replaced_and_counts(64 << 20);
}

#[test]
fn a_replica_with_a_damaged_log_is_replaced_by_one_that_receives_a_state() {
    is_replaced_and_counts(16 << 10);
}
