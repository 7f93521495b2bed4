//! Who owns what, as a thread sees it, and which connection leads there.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{Owner, Worker};
use crate::load::conn::State;
use crate::load::keys::KeyChooser;
use crate::load::{Spec, Target, apportion, find_targets};

impl Worker<'_> {
    /// Learns who owns what now, and connects what is down or leads to where nothing is owned.
    pub(super) fn refresh(&mut self, now_ns: u64) {
        if self.spec.cluster {
            let seeds: Vec<SocketAddr> =
                self.owners.iter().map(|owner| owner.addr).chain(self.spec.addrs.iter().copied()).collect();
            match find_targets(self.spec, &seeds) {
                Ok(targets) => {
                    let waiting = self.set_owners(&targets);
                    self.redirect(&targets);
                    self.list_conns();
                    waiting.into_iter().for_each(|due_ns| self.enqueue(due_ns));
                }
                // Nobody knows: the old owners are tried on, until the timeout.
                Err(_) => self.stale_since_ns = Some(now_ns),
            }
        }
        for idx in 0..self.conns.len() {
            let Some((conn, owner_idx)) = self.conns.get_mut(idx) else { continue };
            let Some(owner) = self.owners.get(*owner_idx) else { continue };
            let moved = conn.addr != owner.addr && conn.in_flight.is_empty();
            let State::Down(since_ns) = conn.state else {
                if moved && conn.reconnect(owner.addr, self.poll.registry(), now_ns).is_err() {
                    conn.state = State::Down(now_ns);
                }
                if conn.addr != owner.addr {
                    // It still waits for answers; come back for it.
                    self.stale_since_ns = Some(now_ns);
                }
                continue;
            };
            // Whether this attempt succeeds shows at the next event; a failed one is down since `since_ns`.
            match conn.reconnect(owner.addr, self.poll.registry(), since_ns) {
                Ok(()) => {}
                Err(_) => conn.state = State::Down(since_ns),
            }
            self.stale_since_ns = Some(now_ns);
        }
    }

    /// Takes the owners of `targets` over; connections keep the address they lead to. When commands were due that waited
    /// for the old owners, the oldest first.
    pub(super) fn set_owners(&mut self, targets: &[Target]) -> Vec<u64> {
        let Spec { key_order, threads, .. } = *self.spec;
        let mut waiting = Vec::new();
        let old: Vec<KeyChooser> = self
            .owners
            .drain(..)
            .map(|owner| {
                waiting.extend(owner.waiting);
                owner.keys
            })
            .collect();
        waiting.sort_unstable();
        self.waiting_count = 0;
        let owner = |target: &Target| {
            let keys = target.keys.clone();
            let mut keys = KeyChooser::new(keys, key_order, self.thread_idx as u32, threads as u32);
            keys.inherit(&old);
            Owner {
                addr: target.addr,
                keys,
                conns: Vec::new(),
                waiting: VecDeque::new(),
                conn_next: 0,
                is_full: false,
                room_since_ns: 0,
            }
        };
        self.owners = targets.iter().map(owner).collect();
        waiting
    }

    /// Tells the owners their connections.
    pub(super) fn list_conns(&mut self) {
        self.owners.iter_mut().for_each(|owner| owner.conns.clear());
        for (idx, (_, owner_idx)) in self.conns.iter().enumerate() {
            if let Some(owner) = self.owners.get_mut(*owner_idx) {
                owner.conns.push(idx);
            }
        }
    }

    /// Spreads the connections of this thread over the owners anew, moving as few as possible.
    fn redirect(&mut self, targets: &[Target]) {
        let weights: Vec<usize> = targets.iter().map(|target| target.connections).collect();
        let mut wanted = apportion(self.conns.len(), &weights);
        let mut homeless = Vec::new();
        for (idx, (conn, owner_idx)) in self.conns.iter_mut().enumerate() {
            let current = targets.iter().position(|target| target.addr == conn.addr);
            match current
                .and_then(|current| wanted.get_mut(current).filter(|left| **left > 0).map(|left| (current, left)))
            {
                Some((current, left)) => {
                    *left -= 1;
                    *owner_idx = current;
                }
                None => homeless.push(idx),
            }
        }
        for idx in homeless {
            let Some((owner_idx, left)) = wanted.iter_mut().enumerate().find(|(_, left)| **left > 0) else { return };
            *left -= 1;
            if let Some((_, conn_owner)) = self.conns.get_mut(idx) {
                *conn_owner = owner_idx;
            }
        }
    }
}
