//! What an operator orders: a replica to live elsewhere, another one to lead, something of a node.

use meta::reports::Duty;
use meta::{Assign, Replace};
use resp::{Args, CommandId};
use types::{CoreAddr, CoreId, Index, Instant, NodeId, ReplicaId, Term};

use crate::origin::Origin;

const NO_PLAN: &str = "ERR there is a plan of DECOMMISSION node alone";

/// A node, or one of its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) node: NodeId,
    pub(super) core: Option<CoreId>,
}

impl Location {
    /// `node` or `node/core`.
    pub(super) fn parse(text: &[u8]) -> Option<Location> {
        let text = std::str::from_utf8(text).ok()?;
        let (node, core) = text.split_once('/').map_or((text, None), |(node, core)| (node, Some(core)));
        let core = core.map(|core| core.parse().ok().map(CoreId));
        Some(Location { node: NodeId(node.parse().ok()?), core: core.map_or(Some(None), |core| core.map(Some))? })
    }

    pub(super) fn is(self, addr: CoreAddr) -> bool {
        self.node == addr.node && self.core.is_none_or(|core| core == addr.core)
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.core {
            Some(core) => write!(f, "core {}/{core}", self.node),
            None => write!(f, "node {}", self.node),
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Move { from: Location, to: Location },
    Lead { node: NodeId },
    Assign(Assign),
    Ask(PlannerQuestion),
}

/// What whoever plans is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlannerQuestion {
    /// What is under way.
    Tasks,
    /// What would be done if this node were to leave.
    Decommission(NodeId),
}

impl Wish {
    pub(super) fn parse(command: CommandId, args: Args<'_>) -> Result<Wish, String> {
        let assign = |duty| node_at(args, 2).map(|node| Wish::Assign(Assign { node, duty }));
        match command {
            CommandId::CoracleDrain => assign(Duty::Drains),
            CommandId::CoracleUndrain => assign(Duty::Serves),
            CommandId::CoracleDecommission => assign(Duty::Leaves),
            CommandId::CoracleTasks => Ok(Wish::Ask(PlannerQuestion::Tasks)),
            CommandId::CoraclePlan => {
                let is_known = args.get(2).is_some_and(|what| what.eq_ignore_ascii_case(b"decommission"));
                let node = if is_known { node_at(args, 3) } else { Err(NO_PLAN.to_owned()) };
                node.map(|node| Wish::Ask(PlannerQuestion::Decommission(node)))
            }
            _ => Wish::parse_of_group(args),
        }
    }

    fn parse_of_group(args: Args<'_>) -> Result<Wish, String> {
        let place = |at: usize| {
            let text = args.get(at).unwrap_or_default();
            let shown = || text.escape_ascii().take(64).map(char::from).collect::<String>();
            Location::parse(text)
                .ok_or_else(|| format!("ERR '{}' names no node and no core: 3 and 3/0 would", shown()))
        };
        match args.len() {
            4 => Ok(Wish::Lead { node: place(3)?.node }),
            _ => Ok(Wish::Move { from: place(3)?, to: place(4)? }),
        }
    }
}

/// The node that an argument names.
fn node_at(args: Args<'_>, at: usize) -> Result<NodeId, String> {
    let text = args.get(at).unwrap_or_default();
    let id = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
    id.and_then(|id| id.parse().ok()).map(NodeId).ok_or_else(|| {
        let shown: String = text.escape_ascii().take(64).map(char::from).collect();
        format!("ERR '{shown}' is no node: CORACLE NODES names them")
    })
}

/// What was begun, and what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Nothing was.
    Nothing,
    /// The map is to name a replica with this id or a later one there.
    Moved { change: Replace, id_min: ReplicaId },
    /// This one is to lead.
    Leader(ReplicaId),
    /// This entry, of the term in which it was proposed here, is to be applied.
    Agreed { term: Term, index: Index },
}

/// An order that is carried out.
pub(super) struct Order {
    pub(super) group: usize,
    pub(super) origin: Origin,
    pub(super) wish: Wish,
    pub(super) awaited: Awaited,
    /// When the change of the map is asked for again.
    pub(super) ask_at: Instant,
    pub(super) until: Instant,
}

/// The orders of a core.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) list: Vec<Order>,
}

impl Orders {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
