//! CORACLE TOKEN, REPLACE, JOIN and REMOVE: nodes join the cluster, come back without data, and are removed.
//!
//! An operator asks for a token, which is for one use; group 0 keeps its fingerprint. A node with an empty directory shows it, and says
//! where it listens and which incarnation its directory has. One change of the map then takes the token out of use and names the
//! incarnation: that of a new node, which gets an id, or that of a node which has lost its data. From then on the node is let in with that
//! directory alone. On one that comes back other replicas are wanted than those that it has lost: they begin there with nothing, as any
//! successor of a lost replica does. A new node has none yet.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use meta::{
    Admit, Await, ClusterMap, Fingerprint, INVITATIONS_COUNT_MAX, Invite, Join, JoinToken, MapChange, Node, Remove,
};
use resp::{Args, Reply};
use types::{Instant, NodeId};

use super::{Core, CoreHost};

/// For how long group 0 is asked to make a change that an operator wants. One whose change has not come there by then asks again.
const ASK_FOR: Duration = Duration::from_secs(60);
/// For how long a token for a new node is good if nobody says.
const TOKEN_TTL: Duration = Duration::from_secs(60 * 60);
/// Longest that it may be.
const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What a node is answered that is to ask again.
const WAIT: &str = "WAIT";
/// How many groups an error names.
const NAMED_COUNT_MAX: usize = 8;

/// What a node shows that wants to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    token: Fingerprint,
    /// Not 0.
    incarnation: u64,
    /// What its configuration calls the cluster.
    name: [u8; 12],
    /// Where it listens; without an id.
    node: Node,
}

/// What a node is told that wants to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The map names it.
    Admitted(NodeId),
    /// The map is to change.
    Ask(MapChange),
    /// The token may not have come this far.
    Wait,
    /// Something is in the way, at least as far as is known here, and what.
    NotYet(String),
    /// No other answer will come, and why.
    Refused(String),
}

impl Shown {
    /// The arguments of CORACLE JOIN.
    fn of(args: Args<'_>) -> Option<Shown> {
        let text = |at| args.get(at).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let node = Node {
            id: NodeId(0),
            host: text(5)?.parse::<IpAddr>().ok()?,
            gateway_port: number(text(6)?)?,
            core_port: number(text(7)?)?,
            peer_port: number(text(8)?)?,
            admin_port: number(text(9)?)?,
            cores: number(text(10)?)?,
            rack: match args.len() {
                11 => None,
                12 => Some(text(11)?.to_owned()),
                _ => return None,
            },
        };
        let token = text(2)?.parse::<JoinToken>().ok()?.fingerprint();
        let incarnation = u64::from_str_radix(text(3)?, 16).ok().filter(|incarnation| *incarnation != 0)?;
        Some(Shown { token, incarnation, name: digits(text(4)?)?, node })
    }

    /// What becomes of whoever shows this, by the latest map that is known and at this time. `is_there` tells whether a node is heard.
    fn verdict(&self, map: &ClusterMap, unix_ms: u64, is_there: impl Fn(NodeId) -> bool) -> Verdict {
        let has_addresses = |id: NodeId| map.node(id).is_some_and(|node| node.is_described_by(&self.node));
        let by =
            |is_it: &dyn Fn(&meta::AdmittedNode) -> bool| map.admitted.iter().find(|it| is_it(it)).map(|it| it.id);
        if let Some(id) = by(&|it| it.incarnation == self.incarnation) {
            return if has_addresses(id) { Verdict::Admitted(id) } else { other_addresses(id) };
        }
        if by(&|it| it.joined_with == Some(self.token)).is_some() {
            let why = "the token was used with another data directory: ask for a new one with CORACLE TOKEN, or CORACLE REPLACE";
            return Verdict::Refused(why.to_owned());
        }
        if let Some(id) = by(&|it| it.awaited == Some(self.token)) {
            return match () {
                () if !has_addresses(id) => other_addresses(id),
                () if is_there(id) => Verdict::NotYet(format!("node {id} is there with other data: stop it first")),
                () => {
                    let Shown { token, incarnation, .. } = *self;
                    Verdict::Ask(MapChange::Admit(Admit { node: id, token, incarnation }))
                }
            };
        }
        let Some(invitation) = map.invitations.iter().find(|it| it.token == self.token) else {
            return Verdict::Wait;
        };
        if invitation.expires_ms <= unix_ms {
            return Verdict::Refused("the token has expired: ask for a new one with CORACLE TOKEN".to_owned());
        }
        let Shown { token, incarnation, .. } = *self;
        let join = MapChange::Join(Join { token, at_ms: unix_ms, incarnation, node: self.node.clone() });
        match map.changed(&join) {
            // Whoever has the addresses may have been removed meanwhile.
            Err(rule) => Verdict::NotYet(format!("the node cannot be admitted: {rule}")),
            Ok(_) => Verdict::Ask(join),
        }
    }
}

fn other_addresses(id: NodeId) -> Verdict {
    Verdict::Refused(format!(
        "the cluster knows node {id} with other addresses, cores or rack: configure them as they were"
    ))
}

/// A number without anything else.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The bytes of 24 hexadecimal digits.
fn digits(text: &str) -> Option<[u8; 12]> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 24)?;
    let (_, digits) = number.to_be_bytes().split_last_chunk::<12>().map(|(head, tail)| (head.len(), *tail))?;
    Some(digits)
}

impl<H: CoreHost> Core<H> {
    /// CORACLE TOKEN [EX seconds].
    pub(super) fn token_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let seconds = match (args.get(2), args.get(3)) {
            (None, None) => Some(TOKEN_TTL.as_secs()),
            (Some(word), Some(seconds)) if args.len() == 4 && word.eq_ignore_ascii_case(b"ex") => {
                std::str::from_utf8(seconds).ok().and_then(number)
            }
            _ => return reply.error(resp::errors::SYNTAX),
        };
        let Some(ttl) = seconds.map(Duration::from_secs).filter(|ttl| !ttl.is_zero() && *ttl <= TOKEN_TTL_MAX) else {
            return reply.error(&format!(
                "ERR a token is good for 1 to {} seconds; without EX for {}",
                TOKEN_TTL_MAX.as_secs(),
                TOKEN_TTL.as_secs()
            ));
        };
        let at_ms = self.ctx.unix_ms;
        let map = self.cluster.map();
        let good_count = map.invitations.iter().filter(|it| it.expires_ms > at_ms).count();
        // Those that group 0 has not agreed on yet count, too.
        let is_open = |change: &MapChange| matches!(change, MapChange::Invite(_)) && !map.shows(change);
        let good_count = good_count + self.asked_changes.iter().filter(|(change, _)| is_open(change)).count();
        if good_count >= INVITATIONS_COUNT_MAX {
            return reply.error(&format!("ERR {good_count} tokens are good: wait until one is used or has expired"));
        }
        let Some(token) = self.draw_token(reply) else { return };
        let expires_ms = at_ms + ttl.as_millis() as u64;
        self.want_change(MapChange::Invite(Invite { token: token.fingerprint(), at_ms, expires_ms }));
        tracing::warn!(ttl_s = ttl.as_secs(), "an operator lets a new node join");
        reply.bulk(token.to_string().as_bytes());
    }

    /// CORACLE REPLACE node.
    pub(super) fn replace_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let Some(node) = self.node_at(args, reply) else { return };
        if node == self.ctx.addr().node || self.is_there(node) {
            return reply.error(&format!(
                "ERR node {node} is there: stop it first, if its data is to be given up; one that has its data needs no token"
            ));
        }
        let Some(token) = self.draw_token(reply) else { return };
        // The last one counts.
        self.asked_changes.retain(|(change, _)| !matches!(change, MapChange::Await(former) if former.node == node));
        self.want_change(MapChange::Await(Await { node, token: token.fingerprint() }));
        tracing::warn!(%node, "an operator lets this node come back without data");
        reply.bulk(token.to_string().as_bytes());
    }

    /// CORACLE REMOVE node.
    pub(super) fn remove_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let Some(node) = self.node_at(args, reply) else { return };
        let groups: Vec<_> = self.cluster.map().groups_on(node).map(|group| group.id.to_string()).collect();
        if !groups.is_empty() {
            let named =
                groups.get(..NAMED_COUNT_MAX).map_or_else(|| groups.join(", "), |some| some.join(", ") + ", …");
            return reply.error(&format!(
                "ERR node {node} holds replicas of {} groups ({named}): move them to other nodes first (CORACLE MOVE); CORACLE GROUPS names all",
                groups.len()
            ));
        }
        self.want_change(MapChange::Remove(Remove { node }));
        tracing::warn!(%node, "an operator removes this node");
        reply.simple("OK the node leaves; once no group has a member there any more, CORACLE NODES does not name it");
    }

    /// CORACLE JOIN token incarnation name host gateway-port core-port peer-port admin-port cores [rack].
    pub(super) fn join_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let Some(shown) = Shown::of(args) else {
            return reply.error("ERR CORACLE JOIN takes a token, an incarnation, a name and the addresses of a node");
        };
        if shown.name != self.ctx.config.config_print.name {
            return reply
                .error("REFUSED the node is configured for a cluster of another name: correct its cluster_id");
        }
        match shown.verdict(self.cluster.map(), self.ctx.unix_ms, |node| self.is_there(node)) {
            Verdict::Admitted(id) => {
                reply.array(3);
                reply.integer(i64::from(id.0));
                reply.bulk(&self.cluster.first_map().to_bytes());
                reply.bulk(&self.cluster.map().to_bytes());
            }
            Verdict::Ask(change) => {
                self.ask_changes(&[change]);
                reply.simple(WAIT);
            }
            Verdict::Wait => reply.simple(WAIT),
            Verdict::NotYet(why) => reply.error(&format!("ERR {why}")),
            Verdict::Refused(why) => reply.error(&format!("REFUSED {why}")),
        }
    }

    /// A token that nobody knows yet, unless the system has no random numbers.
    fn draw_token(&self, reply: &mut Reply<'_>) -> Option<JoinToken> {
        match (self.host.secret_u64(), self.host.secret_u64()) {
            (Ok(high), Ok(low)) => Some(JoinToken::new(u128::from(high) << 64 | u128::from(low))),
            (Err(error), _) | (_, Err(error)) => {
                reply.error(&format!("ERR the system has no random numbers for a token: {error}; try again"));
                None
            }
        }
    }

    /// The node that a command names behind its subcommand.
    fn node_at(&self, args: Args<'_>, reply: &mut Reply<'_>) -> Option<NodeId> {
        let id = args.get(2).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(number);
        let node = id.map(NodeId).filter(|id| self.cluster.map().node(*id).is_some());
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

    /// An operator wants a change of the map: group 0 is asked for it until the map shows it. What is asked for already is not asked for twice, so
    /// nobody makes the list longer than there are nodes and tokens.
    fn want_change(&mut self, change: MapChange) {
        self.ask_changes(std::slice::from_ref(&change));
        self.asked_changes.retain(|(former, _)| *former != change);
        self.asked_changes.push((change, self.ctx.now + ASK_FOR));
    }

    /// The changes that operators have asked for here and that the map does not show yet. Called with each look at it.
    pub(super) fn operators_changes(&mut self) -> Vec<MapChange> {
        let (map, now) = (self.cluster.map().clone(), self.ctx.now);
        self.asked_changes.retain(|(change, until): &(MapChange, Instant)| *until > now && !map.shows(change));
        self.asked_changes.iter().map(|(change, _)| change.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::origin::Origin;
    use crate::testing::with_request;

    const TOKEN: &str = "00000000000000000000000000000007";

    fn shown(line: &str) -> Option<Shown> {
        with_request(Origin::NONE, &format!("CORACLE JOIN {line}"), |request| Shown::of(request.args))
    }

    fn of_node(host: u8, incarnation: u64) -> Shown {
        let line = format!("{TOKEN} {incarnation:x} 0a0b000000000000000000ff 127.0.0.{host} 7000 7001 8001 9000 2");
        shown(&line).expect("it is well formed")
    }

    fn token() -> Fingerprint {
        JoinToken::new(7).fingerprint()
    }

    /// A map of two nodes with two cores each, behind these changes.
    fn map(changes: &[MapChange]) -> ClusterMap {
        let mut map = Config::of_test(2, 2, 2).map;
        assert!(changes.iter().all(|change| map.change(change)));
        map
    }

    fn refused(verdict: &Verdict, part: &str) -> bool {
        matches!(verdict, Verdict::Refused(why) if why.contains(part))
    }

    #[test]
    fn what_a_node_shows_is_read_with_care() {
        let sound = of_node(9, 0xab);
        assert_eq!((sound.token, sound.incarnation, sound.node.cores), (token(), 0xab, 2));
        assert_eq!(sound.name, [10, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
        let words = format!("{TOKEN} ab 0a0b000000000000000000ff 127.0.0.9 7000 7001 8001 9000 2");
        assert_eq!(shown(&format!("{words} r1")).and_then(|shown| shown.node.rack), Some("r1".to_owned()));
        assert_eq!(shown(&format!("{words} r1 r2")), None);
        for (from, to) in [
            ("00007 ", "0007 "),
            (" ab ", " 0 "),
            (" ab ", " x "),
            ("00ff ", "0ff "),
            ("127.0.0.9", "localhost"),
            ("7001", "+7001"),
            ("8001", "80010"),
            (" 2", " "),
        ] {
            assert_eq!(shown(&words.replacen(from, to, 1)), None, "{to} for {from}");
        }
    }

    #[test]
    fn a_new_node_is_admitted_once_and_told_so_again() {
        let invite = |expires_ms| MapChange::Invite(Invite { token: token(), at_ms: 1, expires_ms });
        let nobody = |_| false;
        let node = of_node(9, 5);
        assert_eq!(node.verdict(&map(&[]), 50, nobody), Verdict::Wait, "the token may be on its way");
        let invited = map(&[invite(100)]);
        let Verdict::Ask(join) = node.verdict(&invited, 99, nobody) else { panic!("it may join") };
        assert!(refused(&node.verdict(&invited, 100, nobody), "has expired"));
        let clash = of_node(2, 5).verdict(&invited, 99, nobody);
        let is_named = |why: &str| why.contains("127.0.0.2:7000 is used twice");
        assert!(matches!(&clash, Verdict::NotYet(why) if is_named(why)), "{clash:?}");
        let joined = map(&[invite(100), join]);
        for at_ms in [99, 100_000] {
            assert_eq!(node.verdict(&joined, at_ms, nobody), Verdict::Admitted(NodeId(3)), "retried");
        }
        assert!(refused(&of_node(9, 6).verdict(&joined, 99, nobody), "was used with another data directory"));
        assert!(refused(&of_node(8, 5).verdict(&joined, 99, nobody), "node 3 with other addresses"));
    }

    #[test]
    fn a_node_without_data_comes_back_where_it_was() {
        let awaited = map(&[MapChange::Await(Await { node: NodeId(2), token: token() })]);
        let node = of_node(2, 5);
        let Verdict::Ask(admit) = node.verdict(&awaited, 1, |_| false) else { panic!("it may come back") };
        let there = node.verdict(&awaited, 1, |id| id == NodeId(2));
        assert!(matches!(&there, Verdict::NotYet(why) if why.contains("is there with other data")), "{there:?}");
        assert!(refused(&of_node(9, 5).verdict(&awaited, 1, |_| false), "node 2 with other addresses"));
        let mut back = awaited;
        assert!(back.change(&admit));
        assert_eq!(node.verdict(&back, 1, |_| true), Verdict::Admitted(NodeId(2)));
    }
}
