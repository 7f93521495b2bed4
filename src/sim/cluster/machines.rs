//! The machines of a seed's cluster, and the network between them.

use meta::ClusterMap;

use super::config;
use crate::broken::Broken;
use crate::clock::NodeClock;
use crate::cluster_spec::{ClusterSpec, Hostility};
use crate::disk::{NodeDisk, SECTOR_BYTES};
use crate::net::{Net, Way};
use crate::prng::Prng;
use crate::world::{CoreState, Node, World};

/// A world in which all nodes of the map are down, and the machines that are no part of it yet.
pub(super) fn world(
    seed: u64,
    cluster_spec: &ClusterSpec,
    map: &ClusterMap,
    broken: Option<Broken>,
    is_told: bool,
) -> World {
    let mut prng = Prng::stream(seed, "machines");
    let (mut nodes, mut cores) = (Vec::new(), Vec::new());
    let spares = (0..cluster_spec.spares).map(|spare| config::node(cluster_spec, cluster_spec.nodes + 1 + spare));
    let spares: Vec<meta::Node> = spares.collect();
    for (idx, spec) in map.nodes.iter().chain(&spares).enumerate() {
        let first_core = cores.len();
        for place in spec.places() {
            let stream = Prng::stream(seed, &format!("core {place}"));
            let cores_count = usize::from(spec.cores);
            cores.push(CoreState::new(place, idx, cores_count, cluster_spec.mesh_count_max, stream));
        }
        let mut of_spare = Prng::stream(seed, &format!("machine {}", spec.id));
        let is_spare = map.node(spec.id).is_none();
        let mut machine =
            node(spec, first_core, cluster_spec, broken, if is_spare { &mut of_spare } else { &mut prng });
        machine.latest_map = (!is_spare).then(|| map.clone());
        nodes.push(machine);
    }
    let mut way = way(broken, &mut prng);
    // A lost packet costs up to two seconds, and commands are to be answered soon where nothing goes wrong.
    if cluster_spec.hostility == Hostility::WithoutFaults {
        way.loss = 0;
    }
    let give_up_after = prng.range(2, 15) * 1_000_000_000;
    let net = Net::new(nodes.len() + 1, way, give_up_after, Prng::stream(seed, "net"));
    let mut world = World::new(seed, nodes, cores, net, is_told);
    world.is_broken = broken.is_some();
    world.forgets_votes = broken == Some(Broken::ForgottenVote);
    if broken == Some(Broken::AlteredRow) {
        let core = Prng::stream(seed, "altered row").below(world.cores.len() as u64) as usize;
        world.alters_row_on = Some(core);
    }
    world
}

/// The machine of a node, as it is drawn.
fn node(
    spec: &meta::Node,
    first_core: usize,
    cluster_spec: &ClusterSpec,
    broken: Option<Broken>,
    prng: &mut Prng,
) -> Node {
    let bound = i64::from(cluster_spec.drift_ppm_max) / 2;
    let drift = prng.range(0, 2 * bound as u64) as i64 - bound;
    let mut disk = NodeDisk::new(prng.pick(&SECTOR_BYTES));
    disk.forgets = broken == Some(Broken::ForgetfulDisk);
    disk.flatters = broken == Some(Broken::FlatteringDisk);
    let clock = NodeClock::new(prng.below(1 << 50), drift);
    let mut node = Node::new(spec.id, spec.host, first_core..first_core + usize::from(spec.cores), clock, disk);
    node.disk_latency = (prng.range(20_000, 200_000), prng.range(10_000, 300_000));
    node.incarnation = prng.next_u64();
    node
}

/// How every way of the network is while no fault changes it.
fn way(broken: Option<Broken>, prng: &mut Prng) -> Way {
    Way {
        cuts: 0,
        delay_min: prng.range(10_000, 300_000),
        delay_mean: prng.range(10_000, 400_000),
        loss: prng.pick(&[0, 0, 100, 2_000]),
        pieces: prng.pick(&[0, 20_000, 300_000]),
        drop: 0,
        repeat: 0,
        reorder: 0,
        alter: if broken == Some(Broken::ForgedFrames) { 2_000 } else { 0 },
    }
}
