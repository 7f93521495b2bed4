//! CORACLE REPLACE and CORACLE JOIN: a node that has lost its data comes back with an empty directory.
//!
//! An operator asks for a token, which names the node and is for one use; group 0 keeps its fingerprint. The node shows it, and says under
//! which incarnation it comes back. From then on the node is let in with that directory alone, and other replicas are wanted on it than
//! those that it has lost: they begin there with nothing, as any successor of a lost replica does.

use std::time::Duration;

use meta::{Admit, Await, JoinToken, MapChange};
use resp::{Args, Reply};
use types::{Instant, NodeId};

use super::{Core, CoreHost};

/// For how long group 0 is asked to know of a token. An operator whose token has not come there by then asks for another one.
const ASK_FOR: Duration = Duration::from_secs(60);
/// What a node is answered that is to ask again.
const WAIT: &str = "WAIT";

impl<H: CoreHost> Core<H> {
    /// CORACLE REPLACE node.
    pub(super) fn replace_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let Some(node) = self.node_at(args, reply) else { return };
        if node == self.ctx.addr().node || self.is_there(node) {
            return reply.error(&format!(
                "ERR node {node} is there: stop it first, if its data is to be given up; one that has its data needs no token"
            ));
        }
        let token = match (self.host.secret_u64(), self.host.secret_u64()) {
            (Ok(high), Ok(low)) => JoinToken::new(u128::from(high) << 64 | u128::from(low)),
            (Err(error), _) | (_, Err(error)) => {
                return reply.error(&format!("ERR the system has no random numbers for a token: {error}; try again"));
            }
        };
        let awaited = Await { node, token: token.fingerprint() };
        // The last one counts.
        self.tokens.retain(|(other, _)| other.node != node);
        self.tokens.push((awaited, self.ctx.now + ASK_FOR));
        self.ask_changes(&[MapChange::Await(awaited)]);
        tracing::warn!(%node, "an operator lets this node come back without data");
        reply.bulk(token.to_string().as_bytes());
    }

    /// CORACLE JOIN node incarnation token map.
    pub(super) fn join_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let Some(node) = self.node_at(args, reply) else { return };
        let text = |at| args.get(at).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        let incarnation = u64::from_str_radix(text(3), 16).ok().filter(|incarnation| *incarnation != 0);
        let (Some(incarnation), Ok(token)) = (incarnation, text(4).parse::<JoinToken>()) else {
            return reply.error("ERR CORACLE JOIN takes a node, an incarnation and a token");
        };
        let own: String = self.ctx.config.config_print.map.iter().map(|byte| format!("{byte:02x}")).collect();
        if text(5) != own {
            return reply.error(
                "ERR the node is configured otherwise than this one: give it the same list of peers, groups and settings",
            );
        }
        let shown = token.fingerprint();
        let map = self.cluster.map();
        let (awaited, in_force) = map
            .replaced(node)
            .map_or((None, None), |known| (known.awaited, known.joined_with.map(|used| (used, known.incarnation))));
        if in_force == Some((shown, incarnation)) {
            return reply.simple(&format!("OK {:032x}", map.cluster_id.0));
        }
        if in_force.is_some_and(|(used, _)| used == shown) {
            return reply
                .error("ERR the token was used with another data directory: ask for a new one with CORACLE REPLACE");
        }
        if self.is_there(node) {
            return reply.error(&format!("ERR node {node} is there with other data: stop it first"));
        }
        if awaited == Some(shown) {
            self.ask_changes(&[MapChange::Admit(Admit { node, token: shown, incarnation })]);
        }
        // The token may not have come this far, or the change.
        reply.simple(WAIT);
    }

    /// The node that a command names behind its subcommand.
    fn node_at(&self, args: Args<'_>, reply: &mut Reply<'_>) -> Option<NodeId> {
        let number = args.get(2).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.parse().ok());
        let node = number.map(NodeId).filter(|id| self.cluster.map().node(*id).is_some());
        if node.is_none() {
            reply.error("ERR there is no such node: CORACLE NODES names them");
        }
        node
    }

    /// Whether any core of another node is there: it is connected, and was heard of late.
    fn is_there(&self, node: NodeId) -> bool {
        let links = self.cluster.map().node(node).into_iter().flat_map(|node| node.places());
        let mut links = links.filter_map(|place| self.peers.link_to(place));
        links.any(|link| self.peers.is_up(link) && !self.peers.is_silent(&self.ctx, link))
    }

    /// Asks once more that nodes are awaited with tokens that were handed out here, until the map says so. Called with each look at it.
    pub(super) fn awaited_changes(&mut self) -> Vec<MapChange> {
        let (map, now) = (self.cluster.map().clone(), self.ctx.now);
        let is_open = |(awaited, until): &(Await, Instant)| {
            let known = map.replaced(awaited.node);
            let is_known = known.is_some_and(|it| [it.awaited, it.joined_with].contains(&Some(awaited.token)));
            *until > now && !is_known
        };
        self.tokens.retain(is_open);
        self.tokens.iter().map(|(awaited, _)| MapChange::Await(*awaited)).collect()
    }
}
