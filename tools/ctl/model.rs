//! What nodes say of the cluster: CORACLE STATUS, NODES, GROUPS, TASKS and PLAN. Fields that this program does not know are left alone, and those
//! that a node does not tell have no value.

use serde::Serialize;

use crate::value::Value;

/// The cluster as the node that was asked sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) cluster: String,
    pub(crate) cluster_id: String,
    pub(crate) epoch: i64,
    /// Which node says so.
    pub(crate) node: i64,
    pub(crate) version: String,
    pub(crate) uptime_s: i64,
    pub(crate) groups_led: i64,
    pub(crate) groups_full: i64,
    pub(crate) alarms: Vec<Alarm>,
}

/// What somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Alarm {
    pub(crate) alarm: String,
    pub(crate) text: String,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    pub(crate) id: i64,
    pub(crate) host: String,
    pub(crate) gateway: String,
    /// `here`, `up`, `down`, `awaited`, or what later versions say.
    pub(crate) state: String,
    pub(crate) rack: String,
    pub(crate) cores: i64,
    pub(crate) leads: i64,
    pub(crate) copies: i64,
    pub(crate) incarnation: String,
    /// How long ago the node that was asked has heard of it; `None` if it never has.
    pub(crate) heard_ms: Option<i64>,
    /// What is asked of it: `serves`, `drains` or `leaves`; empty if it is not told.
    pub(crate) duty: String,
    /// How whoever looks after all nodes finds it: `up`, `suspect`, `down` or `unknown`; empty if it is not told.
    pub(crate) health: String,
}

impl Node {
    /// Whether the node that was asked sees it, or is it.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "here" | "up")
    }
}

/// What the cluster does by itself, or because somebody has asked for it, and how far that is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Task {
    /// `drain`, `decommission`, `replace`, `balance`, `alarm`, or what later versions say.
    pub(crate) kind: String,
    /// For which node; 0 if for none.
    pub(crate) node: i64,
    /// Groups that the node still leads.
    pub(crate) leaders: i64,
    /// Replicas that are still to be moved, and their bytes.
    pub(crate) replicas: i64,
    pub(crate) bytes: i64,
    /// `running`, `waiting` or `done`.
    pub(crate) state: String,
    /// Why it waits, or what is to be known of it.
    pub(crate) reason: String,
}

/// What would be done, if it was asked for now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// The same as long as the same would be done.
    pub(crate) digest: String,
    /// Each move, in words.
    pub(crate) moves: Vec<String>,
    /// Bytes that would be sent.
    pub(crate) bytes: i64,
    /// About how long that would take.
    pub(crate) seconds: i64,
    /// What would not be done, and why not.
    pub(crate) refusals: Vec<String>,
    /// Whether that is all.
    pub(crate) is_whole: bool,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) slots: String,
    /// A core, `node/core`; empty if nobody is known to lead it.
    pub(crate) leader: String,
    /// The replicas that are wanted, `id@node/core`.
    pub(crate) replicas: Vec<String>,
    /// What its leader says of it, if that could be asked.
    pub(crate) led: Option<Led>,
}

/// What the leader of a group says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Led {
    pub(crate) members: Vec<Member>,
    /// What keeps it from its full strength.
    pub(crate) lacks: Vec<String>,
    pub(crate) keys: i64,
    pub(crate) table_bytes: i64,
}

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Member {
    pub(crate) id: i64,
    pub(crate) place: String,
    pub(crate) role: String,
    pub(crate) is_live: bool,
    /// Entries that it lacks.
    pub(crate) lag: i64,
}

/// How a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// All its replicas vote, are heard and keep up.
    Full,
    /// They do not.
    Lacking,
    /// Nobody is known to lead it.
    NoLeader,
    /// Its leader could not be asked.
    Unknown,
}

impl Group {
    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        match &self.led {
            Some(led) if led.lacks.is_empty() => Standing::Full,
            Some(_) => Standing::Lacking,
            None if self.leader.is_empty() => Standing::NoLeader,
            None => Standing::Unknown,
        }
    }

    /// Whether a replica lives on a node, or is to.
    pub(crate) fn is_on(&self, node: i64) -> bool {
        let is_there = |place: &str| place.split('/').next().is_some_and(|id| id == node.to_string());
        let wanted = self.replicas.iter().filter_map(|replica| replica.split_once('@')).map(|(_, place)| place);
        let members = self.led.iter().flat_map(|led| &led.members).map(|member| member.place.as_str());
        wanted.chain(members).any(is_there)
    }
}

pub(crate) fn status(value: &Value) -> Status {
    let alarm = |value: &Value| Alarm { alarm: text(value, "alarm"), text: text(value, "text") };
    Status {
        cluster: text(value, "cluster"),
        cluster_id: text(value, "cluster_id"),
        epoch: int(value, "epoch"),
        node: int(value, "node"),
        version: text(value, "version"),
        uptime_s: int(value, "uptime_s"),
        groups_led: int(value, "groups_led"),
        groups_full: int(value, "groups_full"),
        alarms: list(value, "alarms").iter().map(alarm).collect(),
    }
}

pub(crate) fn nodes(value: &Value) -> Vec<Node> {
    let node = |value: &Value| Node {
        id: int(value, "id"),
        host: text(value, "host"),
        gateway: text(value, "gateway"),
        state: text(value, "state"),
        rack: text(value, "rack"),
        cores: int(value, "cores"),
        leads: int(value, "leads"),
        copies: int(value, "copies"),
        incarnation: text(value, "incarnation"),
        heard_ms: value.get("heard_ms").and_then(Value::int).filter(|ms| *ms >= 0),
        duty: text(value, "duty"),
        health: text(value, "health"),
    };
    value.list().iter().map(node).collect()
}

pub(crate) fn tasks(value: &Value) -> Vec<Task> {
    let task = |value: &Value| Task {
        kind: text(value, "kind"),
        node: int(value, "node"),
        leaders: int(value, "leaders"),
        replicas: int(value, "replicas"),
        bytes: int(value, "bytes"),
        state: text(value, "state"),
        reason: text(value, "reason"),
    };
    value.list().iter().map(task).collect()
}

pub(crate) fn plan(value: &Value) -> Plan {
    Plan {
        digest: text(value, "digest"),
        moves: texts(value, "moves"),
        bytes: int(value, "bytes"),
        seconds: int(value, "seconds"),
        refusals: texts(value, "refusals"),
        is_whole: int(value, "is_whole") != 0,
    }
}

pub(crate) fn groups(value: &Value) -> Vec<Group> {
    let member = |value: &Value| Member {
        id: int(value, "id"),
        place: text(value, "place"),
        role: text(value, "role"),
        is_live: int(value, "is_live") != 0,
        lag: int(value, "lag"),
    };
    let led = |value: &Value| Led {
        members: list(value, "progress").iter().map(member).collect(),
        lacks: texts(value, "lacks"),
        keys: int(value, "keys"),
        table_bytes: int(value, "table_bytes"),
    };
    let group = |value: &Value| Group {
        id: int(value, "id"),
        slots: text(value, "slots"),
        leader: text(value, "leader"),
        replicas: texts(value, "replicas"),
        led: (int(value, "is_led_here") != 0).then(|| led(value)),
    };
    value.list().iter().map(group).collect()
}

fn int(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::int).unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::text).unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).map(Value::list).unwrap_or_default()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    list(value, name).iter().filter_map(Value::text).map(str::to_owned).collect()
}
