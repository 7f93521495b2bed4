//! Carries out what [`machine`](super::machine) decides, until the cluster is formed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use meta::{ClusterId, ClusterMap};
use types::CoreId;
use wire::{ConfigPrint, Question};

use super::asking::ask_all;
use super::error::Error;
use super::listener::Listener;
use super::machine::{Machine, Next};
use super::peer::Peer;
use super::report::{Report, conflict_words};
use super::shared::Shared;
use crate::identity::{Identity, Stage};
use crate::signals::StopRequests;

/// How often the others are asked, by the coordinator and by the rest. Nobody waits for that in a sound cluster: a node
/// that starts asks at once, which wakes the coordinator, and the coordinator tells the others what was agreed.
const ASK_INTERVAL_COORDINATOR: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
const ASK_INTERVAL_OTHERS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How long the coordinator waits until the others have written down that the cluster is formed.
const TELL_WAIT_MAX: Duration = Duration::from_millis(500);
/// How often a waiting node looks whether it was asked to stop.
const STOP_POLL: Duration = Duration::from_millis(50);

/// What two nodes compare of their configurations. `map` is the configured one, with the id that the cluster's name
/// stands for.
pub fn config_print(map: &ClusterMap) -> ConfigPrint {
    let mut print = ConfigPrint::default();
    print.name.copy_from_slice(&map.cluster_id.0.to_le_bytes()[..12]);
    print.map.copy_from_slice(&map.fingerprint()[..12]);
    print
}

/// Forms the cluster, if it is not formed yet, and returns the identity of this node in it; `None` if asked to stop
/// before. `map` is the configured one.
pub fn run(
    dir: &Path,
    map: &ClusterMap,
    identity: Identity,
    stop: &StopRequests,
) -> Result<Option<(Identity, ClusterId)>, Error> {
    if let Stage::Formed(id) = identity.stage {
        return Ok(Some((identity, id)));
    }
    let me = identity.node_id;
    let own = map.node(me).expect("a checked configuration holds its own node");
    let others = map.nodes.iter().filter(|node| node.id != me);
    let peers: Vec<Peer> = others.map(|node| Peer { id: node.id, addr: node.peer_addr(CoreId(0)) }).collect();
    let machine = Machine::new(me, peers.iter().map(|peer| peer.id), config_print(map), identity.stage);
    let (shared, woken) = Shared::new(machine, identity, dir.to_owned());
    let own_addr = own.peer_addr(CoreId(0));
    // A cluster of one has nobody to listen to.
    let listener = if peers.is_empty() { None } else { Some(Listener::start(own_addr, me, &shared)?) };
    let agreed = agree(&shared, own_addr, &peers, &woken, stop);
    // Its port is free when this returns, for the core.
    listener.map(Listener::end).transpose()?;
    let Some(id) = agreed? else { return Ok(None) };
    let state = shared.lock();
    if state.machine.is_coordinator() {
        tell(&state.machine, own_addr, peers);
    }
    tracing::info!(node = me.0, cluster = %id, "the cluster is formed");
    Ok(Some((state.identity, id)))
}

/// Asks, stores and waits until the cluster is formed; `None` if asked to stop.
fn agree(
    shared: &Shared,
    own_addr: SocketAddr,
    peers: &[Peer],
    woken: &Receiver<()>,
    stop: &StopRequests,
) -> Result<Option<ClusterId>, Error> {
    let mut report = Report::new(peers);
    let (mut interval, interval_max) =
        if shared.lock().machine.is_coordinator() { ASK_INTERVAL_COORDINATOR } else { ASK_INTERVAL_OTHERS };
    while stop.count() == 0 {
        let questions: Vec<Question> = {
            let mut state = shared.lock();
            if let Some(error) = state.failed.take() {
                return Err(error.into());
            }
            match state.machine.next(draw) {
                Next::Store(stage) => {
                    state.store(stage)?;
                    continue;
                }
                Next::Done(id) => return Ok(Some(id)),
                Next::GiveUp(conflict) => {
                    let (me, dir) = (state.identity.node_id, &state.dir);
                    return Err(Error::Conflict(conflict_words(conflict, me, dir, peers)));
                }
                Next::Ask => peers.iter().map(|peer| state.machine.question(peer.id)).collect(),
            }
        };
        let heard = ask_all(own_addr.ip(), peers, &questions);
        let is_waiting = {
            let mut state = shared.lock();
            for (question, heard) in questions.iter().zip(&heard) {
                state.machine.take_answer(question, heard.code());
            }
            // Whatever is drawn here is not used.
            state.machine.next(|| ClusterId(1)) == Next::Ask
        };
        report.heard(&heard);
        if is_waiting {
            report.waiting(&shared.lock().dir);
            wait(woken, interval, stop);
            interval = (interval * 3 / 2).min(interval_max);
        }
    }
    Ok(None)
}

/// Waits until a question has come, the time has passed, or the process was asked to stop.
fn wait(woken: &Receiver<()>, time_max: Duration, stop: &StopRequests) {
    let mut rest = time_max;
    while stop.count() == 0 && !rest.is_zero() {
        let part = rest.min(STOP_POLL);
        if woken.recv_timeout(part).is_ok() {
            return;
        }
        rest -= part;
    }
}

/// Tells the others that the cluster is formed, and waits a little until they have written it down too: cores that start at
/// the same time find each other at once. Who does not hear it asks.
fn tell(machine: &Machine, own_addr: SocketAddr, peers: Vec<Peer>) {
    let questions: Vec<Question> = peers.iter().map(|peer| machine.question(peer.id)).collect();
    let (told, telling) = sync_channel(1);
    let tell = move || {
        ask_all(own_addr.ip(), &peers, &questions);
        // Nobody waits any more if it took too long.
        let _ = told.send(());
    };
    // Without a thread to tell them, they ask.
    let _ = std::thread::Builder::new().name("formation-tell".to_owned()).spawn(tell);
    let _ = telling.recv_timeout(TELL_WAIT_MAX);
}

/// A cluster id that nobody has used. Zero means that there is none.
fn draw() -> ClusterId {
    let mut bytes = [0; 16];
    loop {
        getrandom::fill(&mut bytes).expect("the kernel has random numbers, and the incarnation came from there");
        let id = u128::from_le_bytes(bytes);
        if id != 0 {
            return ClusterId(id);
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
