//! Clients whose keys live for moments. Each key has one client that writes it; all clients read it. Some keys are written once
//! and never named again, so that nobody but the sweep finds out that their time has come.
//!
//! They fall silent when sessions stop writing. Once everything that was due must be gone they remove all that is left, so that no
//! key expires when replicas are compared at the very end.
//!
//! Read `calls` (what is asked), `client`.

mod calls;
mod client;

use std::net::SocketAddr;
use std::time::Duration;

use types::Instant;

use super::port::ClientPort;
use super::shared::{BEGIN, Shared, WRITES_UNTIL};
use crate::client::ClientConn;
use crate::prng::{Ppm, Prng};

use calls::Calls;
use client::{Client, Stage};

/// How likely a run has such clients.
const HAS_CLIENTS_PPM: Ppm = 500_000;
/// How long after the last fault they remove what is left: right behind the moment at which what was due must be gone.
pub const CLEAN_AFTER: Duration = Duration::from_millis(17_500);

/// All such clients of a run.
pub(super) struct ExpiringClients {
    /// The number of the first of them among all clients.
    first: u64,
    clients: Vec<Client>,
    calls: Calls,
}

impl ExpiringClients {
    /// Nobody.
    pub(super) fn none(first: u64) -> ExpiringClients {
        ExpiringClients { first, clients: Vec::new(), calls: Calls::new(Prng::stream(0, "")) }
    }

    /// Those of a seed, who ask these gateways.
    pub(super) fn of_seed(seed: u64, first: u64, gateways: Vec<SocketAddr>) -> ExpiringClients {
        let mut prng = Prng::stream(seed, "expiring keys");
        let count = if prng.bernoulli(HAS_CLIENTS_PPM) { prng.range(1, 3) } else { 0 };
        let clients = (first..first + count).map(|number| Client::new(number, gateways.clone(), &mut prng)).collect();
        ExpiringClients { first, clients, calls: Calls::new(prng) }
    }

    /// The run begins.
    pub(super) fn begin(&mut self, port: &dyn ClientPort) {
        self.clients.iter_mut().for_each(|client| client.sleep_until(port, BEGIN));
    }

    /// Whether a client of this number is one of them.
    pub(super) fn is_client(&self, number: u64) -> bool {
        (self.first..self.first + self.clients.len() as u64).contains(&number)
    }

    /// Whether a connection is one of theirs.
    pub(super) fn owns(&self, conn: ClientConn) -> bool {
        self.clients.iter().any(|client| client.owns(conn))
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn) {
        let stage = stage(port.now(), shared);
        if let Some(client) = self.clients.iter_mut().find(|client| client.owns(conn)) {
            client.connected(port, shared, &mut self.calls, stage);
        }
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn, bytes: &[u8]) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.owns(conn)) {
            client.received(port, shared, &mut self.calls, bytes);
        }
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.owns(conn)) {
            client.give_up(port, shared, &mut self.calls);
        }
    }

    /// A timer of one of them.
    pub(super) fn timer(&mut self, port: &dyn ClientPort, shared: &mut Shared, number: u64, timer: u64) {
        let stage = stage(port.now(), shared);
        if let Some(client) = self.clients.get_mut((number - self.first) as usize) {
            client.timer(port, shared, &mut self.calls, timer, stage);
        }
    }

    /// Whether they have removed everything.
    pub(super) fn is_done(&self) -> bool {
        self.clients.iter().all(Client::is_done)
    }
}

fn stage(now: Instant, shared: &Shared) -> Stage {
    match shared.history.healed_at() {
        Some(healed) if now >= healed + CLEAN_AFTER => Stage::Cleaning,
        Some(healed) if now >= healed + WRITES_UNTIL => Stage::Silent(healed + CLEAN_AFTER),
        _ => Stage::Busy { may_write: !shared.mix.is_lull(now) },
    }
}
