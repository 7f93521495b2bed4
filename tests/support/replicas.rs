//! What the replicas of a cluster say of themselves, node by node, and whether they agree.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Client, Cluster, Reply, wait_until};

/// A replica, as the section `Groups` of INFO shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Whether it leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// Last index it has applied.
    pub applied: u64,
    /// Last index of its log.
    pub last: u64,
    /// Its keys.
    pub keys: u64,
}

/// The replicas of a node's first core, by group.
///
/// # Panics
/// If INFO does not show them.
pub fn of_core(client: &mut Client) -> BTreeMap<u32, Replica> {
    let text = client.command("INFO groups").text();
    let parsed = text.lines().filter_map(|line| {
        let (group, fields) = line.strip_prefix("group")?.split_once(':')?;
        let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let number = |name| field(name)?.parse().ok();
        let replica = Replica {
            leads: field("role")? == "Leader",
            term: number("term")?,
            applied: number("applied")?,
            last: number("last")?,
            keys: number("keys")?,
        };
        Some((group.parse().ok()?, replica))
    });
    parsed.collect()
}

/// The replicas of these nodes, by group. A node that does not answer has none.
pub fn of_nodes(cluster: &Cluster, ids: &[usize]) -> BTreeMap<u32, Vec<Replica>> {
    let mut all: BTreeMap<u32, Vec<Replica>> = BTreeMap::new();
    for id in ids {
        let node = cluster.node(*id);
        let Ok(mut client) = Client::connect(&node.host, node.cores[0]) else { continue };
        for (group, replica) in of_core(&mut client) {
            all.entry(group).or_default().push(replica);
        }
    }
    all
}

/// Waits until each group has one leader among these nodes, and all its replicas there the same term, the same log
/// and as many keys. Nobody may write meanwhile.
///
/// # Panics
/// If that does not come about.
pub fn wait_equal(cluster: &Cluster, ids: &[usize], groups_count: usize, within: Duration) {
    let mut seen = BTreeMap::new();
    let mut is_equal = || {
        seen = of_nodes(cluster, ids);
        seen.len() == groups_count
            && seen.values().all(|replicas| {
                let same = |replica: &Replica| Replica { leads: false, ..replica.clone() };
                replicas.len() == ids.len()
                    && replicas.iter().filter(|replica| replica.leads).count() == 1
                    && replicas.iter().all(|replica| same(replica) == same(&replicas[0]))
                    && replicas.iter().all(|replica| replica.applied == replica.last)
            })
    };
    let begin = std::time::Instant::now();
    while !is_equal() {
        if begin.elapsed() > within {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(is_equal(), "the replicas differ after {within:?}: {seen:#?}");
}

/// The group, of as many that share the slots, that owns this key.
///
/// # Panics
/// If the cluster does not tell the key's slot.
pub fn group_of(client: &mut Client, key: &str, groups_count: u32) -> u32 {
    let Reply::Int(slot) = client.command(&format!("CLUSTER KEYSLOT {key}")) else { panic!("{key} has no slot") };
    let slot = u32::try_from(slot).expect("slots are numbers from 0");
    // Group 0 holds the map; the others own equal shares in turn.
    let group = (1..=groups_count).find(|group| slot < group * 16_384 / groups_count);
    group.expect("a slot is smaller than 16,384")
}

/// Leaderships that cores of these nodes have gained since they started.
pub fn leaderships(cluster: &Cluster, ids: &[usize]) -> u64 {
    ids.iter().map(|id| cluster.core(*id, 0).info("leaderships_gained")).sum()
}

/// Waits until node `id` leads something, and returns the keys among `key:0` to `key:COUNT` that are its.
///
/// # Panics
/// If it leads nothing for long.
pub fn keys_led_by(cluster: &Cluster, id: usize, count: usize, within: Duration) -> Vec<usize> {
    let mut led = Vec::new();
    wait_until("the node leads groups with keys", within, || {
        let mut core = cluster.core(id, 0);
        let is_led = |key: &usize| core.command(&format!("GET key:{key}")).error().is_none();
        led = (0..count).filter(is_led).collect();
        !led.is_empty()
    });
    led
}
