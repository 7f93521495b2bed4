//! Where a cluster client believes slots to be.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use types::Slot;

use crate::prng::Prng;

/// What one session knows of the cluster: nothing at first, then what MOVED tells.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    cores: Vec<SocketAddr>,
    /// Those of nodes that may join.
    later_cores: Vec<SocketAddr>,
    slots: BTreeMap<Slot, SocketAddr>,
}

impl Routes {
    pub(super) fn new(cores: Vec<SocketAddr>) -> Routes {
        Routes { cores, later_cores: Vec::new(), slots: BTreeMap::new() }
    }

    /// Nodes with these cores may join.
    pub(super) fn expect(&mut self, later_cores: &[SocketAddr]) {
        self.later_cores = later_cores.to_vec();
    }

    /// Whom to ask for a slot; anyone if that is not known.
    pub(super) fn addr(&self, slot: Slot, prng: &mut Prng) -> SocketAddr {
        self.slots.get(&slot).copied().unwrap_or_else(|| prng.pick(&self.cores))
    }

    /// MOVED says where a slot is.
    pub(super) fn learn(&mut self, slot: u16, addr: SocketAddr) {
        if let Some(slot) = Slot::new(slot) {
            self.slots.insert(slot, addr);
        }
    }

    /// Whether MOVED may name this address.
    pub(super) fn knows(&self, addr: SocketAddr) -> bool {
        self.cores.contains(&addr) || self.later_cores.contains(&addr)
    }

    /// Nobody answers there.
    pub(super) fn forget(&mut self, addr: SocketAddr) {
        self.slots.retain(|_, other| *other != addr);
    }
}
