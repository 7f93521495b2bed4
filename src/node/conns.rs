//! How many connections a core may have, and so how many descriptors.

/// Ports of a core on which `maxclients` clients each may be connected: its own, and its share of the node's gateway.
const CLIENT_PORTS_COUNT: usize = 2;

/// Most connections of a core: clients on both of its ports, peers that have connected here, and one to each core of the
/// other nodes, which have `other_cores_count` cores together.
pub const fn per_core(clients_count_max: usize, other_cores_count: usize) -> usize {
    CLIENT_PORTS_COUNT * clients_count_max + of_peers(other_cores_count)
}

/// The `maxclients` for which a core needs no more than `conns_count` connections; at least 1.
pub const fn clients_that_fit(conns_count: usize, other_cores_count: usize) -> usize {
    let clients_count = conns_count.saturating_sub(of_peers(other_cores_count)) / CLIENT_PORTS_COUNT;
    if clients_count == 0 { 1 } else { clients_count }
}

const fn of_peers(other_cores_count: usize) -> usize {
    engine::peer_conns_count_max(other_cores_count) + other_cores_count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_needs_no_more_than_there_is() {
        for other_cores_count in [0, 2, 2_000] {
            for conns_count in [of_peers(other_cores_count) + 2, 20_000, 1_000_001] {
                let clients_count = clients_that_fit(conns_count, other_cores_count);
                assert!(per_core(clients_count, other_cores_count) <= conns_count);
                assert!(per_core(clients_count + 1, other_cores_count) > conns_count);
            }
        }
        assert_eq!(clients_that_fit(0, 2), 1);
        // Both ports of a core, and every one of a thousand cores either way.
        assert!(per_core(10_000, 1_000) >= 2 * 10_000 + 2 * 1_000);
    }
}
