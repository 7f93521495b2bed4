//! What a core tells of itself as figures with names, for whoever shows them elsewhere than in INFO.
//!
//! They bear the names that INFO has for them, and follow from the same lists: who adds a counter adds it here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use raft::Role;
use types::CoreAddr;

use crate::budget::Pool;
use crate::config::Config;
use crate::observe::counters::Counters;
use crate::observe::field::FieldKind;
use crate::observe::report::{CoreReport, ReplicaReport};
use crate::observe::sections::{Info, InfoScope};
use crate::observe::stages::Stage;
use crate::settings::NodeSettings;

/// How long turns take, in microseconds: the upper bounds of what [`TurnFigures::counts`] counts.
pub const TURN_BOUNDS_US: [u64; 13] =
    [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000, 1_000_000];

/// A figure of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Its name, as in INFO: of times it ends with `_us` or `_ms`, unless the time is within.
    pub name: Cow<'static, str>,
    /// What it tells, a sentence.
    pub help: &'static str,
    /// Whether it only grows, but for a restart and `CONFIG RESETSTAT`.
    pub is_counter: bool,
    /// What tells it from others of that name, and its value there.
    pub label: Option<(&'static str, Cow<'static, str>)>,
    /// Its value.
    pub value: u64,
}

impl Figure {
    fn gauge(name: impl Into<Cow<'static, str>>, help: &'static str, value: u64) -> Figure {
        Figure { name: name.into(), help, is_counter: false, label: None, value }
    }

    fn counter(name: impl Into<Cow<'static, str>>, help: &'static str, value: u64) -> Figure {
        Figure { is_counter: true, ..Figure::gauge(name, help, value) }
    }

    fn of(self, label: &'static str, value: impl Into<Cow<'static, str>>) -> Figure {
        Figure { label: Some((label, value.into())), ..self }
    }
}

/// How long the turns of a core took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnFigures {
    /// How many took at most as long as each of [`TURN_BOUNDS_US`].
    pub counts: [u64; TURN_BOUNDS_US.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub took: Duration,
}

/// How long a stage takes, in microseconds: the upper bounds of what [`StageFigures::counts`] counts.
pub const STAGE_BOUNDS_US: [u64; 12] =
    [20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 100_000, 500_000, 2_000_000];

/// How long a stage of commands took on a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageFigures {
    /// The stage.
    pub name: &'static str,
    /// How many took at most as long as each of [`STAGE_BOUNDS_US`].
    pub counts: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// How long they took together.
    pub took: Duration,
}

/// Whom a core tells what it was asked for with [`MeshMessage::ReportWanted`](crate::MeshMessage::ReportWanted).
#[derive(Clone)]
pub struct ReportReceiver(Arc<dyn Fn(CoreReport) + Send + Sync>);

impl ReportReceiver {
    /// `take` is called by a core within a turn: it must not wait.
    pub fn new(take: impl Fn(CoreReport) + Send + Sync + 'static) -> ReportReceiver {
        ReportReceiver(Arc::new(take))
    }

    pub(crate) fn tell(&self, report: CoreReport) {
        (self.0)(report);
    }
}

impl fmt::Debug for ReportReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportReceiver")
    }
}

/// What INFO tells of a node in all its sections, from what each of its cores tells; `unix_ms` is the wall clock, in milliseconds
/// since 1970.
pub fn node_info(config: &Config, reports: &[CoreReport], unix_ms: u64) -> String {
    let report = match reports.split_first() {
        Some((own, others)) => CoreReport::merged(own.clone(), others),
        None => CoreReport::default(),
    };
    let process = config.process.as_ref().map(|probe| probe.ask());
    Info { scope: InfoScope::Node, config, report: &report, unix_ms, process }.whole_text()
}

impl CoreReport {
    /// The core that it is about.
    pub fn addr(&self) -> CoreAddr {
        self.addr
    }

    /// The settings in force there.
    pub fn settings(&self) -> &NodeSettings {
        &self.settings
    }

    /// What CLUSTER INFO tells.
    pub fn cluster_info(&self) -> &str {
        &self.cluster_info
    }

    /// Groups of the cluster whose leader is not known to the core.
    pub fn groups_without_leader(&self) -> usize {
        self.groups_leaderless_count
    }

    /// Its figures, but for those of each group and of its turns.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = self.own_figures();
        figures.extend(Pool::ALL.iter().zip(self.memory.pools).map(|(pool, bytes)| {
            Figure::gauge("memory_bytes", "Bytes of memory, by what they are held for.", bytes as u64)
                .of("pool", pool.name())
        }));
        figures.extend(self.counters.list().map(|(name, help, value)| Figure {
            is_counter: !Counters::MAXIMA.contains(&name),
            ..Figure::gauge(name, help, value)
        }));
        figures.extend(self.fields.iter().map(|field| Figure {
            is_counter: field.kind == FieldKind::Counter,
            ..Figure::gauge(field.name, field.help, field.value)
        }));
        figures.extend(self.refusals.list().map(|(name, help, value)| Figure::counter(name, help, value)));
        let raft = self.raft.list();
        figures.extend(raft.map(|(name, help, value)| Figure::counter(format!("raft_{name}"), help, value)));
        figures
    }

    /// Figures of each group with a replica here.
    pub fn group_figures(&self) -> Vec<Figure> {
        self.replicas.iter().flat_map(of_replica).collect()
    }

    /// How long its turns took.
    pub fn turn_figures(&self) -> TurnFigures {
        let (count, took) = self.turns.total();
        TurnFigures { counts: TURN_BOUNDS_US.map(|us| self.turns.count_up_to(us)), count, took }
    }

    /// How long the stages of its commands took.
    pub fn stage_figures(&self) -> impl Iterator<Item = StageFigures> + '_ {
        Stage::ALL.iter().map(|stage| {
            let us = self.stages.stage(*stage);
            StageFigures {
                name: stage.name(),
                counts: us.counts_up_to(STAGE_BOUNDS_US.into_iter()),
                count: us.count(),
                took: Duration::from_micros(us.sum()),
            }
        })
    }

    fn own_figures(&self) -> Vec<Figure> {
        let own = [
            ("clients", "Clients connected.", self.clients_count),
            ("clients_blocked", "Clients whose next command waits for something.", self.clients_blocked_count),
            ("groups", "Groups with a replica here that takes part.", self.groups_count),
            ("groups_led", "Groups that are led here.", self.groups_led_count),
            (
                "groups_quarantined",
                "Replicas that stay away, as their log is damaged.",
                self.groups_quarantined_count,
            ),
            ("groups_without_leader", "Groups whose leader is not known here.", self.groups_leaderless_count),
            ("keys", "Keys of the groups that are led here.", self.keys_count),
            (
                "groups_with_keys_about",
                "Groups led here that are not wholly in memory: how many keys they have is known about.",
                self.groups_inexact_count,
            ),
            (
                "keys_exact",
                "1 if that number is exact, 0 if it is about so.",
                usize::from(self.groups_inexact_count == 0),
            ),
            ("keys_expiring", "Those keys that expire.", self.expiring_count),
            ("links", "Links to other cores.", self.links_count),
            ("links_up", "Links to other cores that are up.", self.links_up_count),
            ("memory_bytes_max", "Bytes of memory that the core may hold.", self.memory.bytes_max),
        ];
        let own = own.into_iter().map(|(name, help, value)| Figure::gauge(name, help, value as u64));
        let rejected = "Client connections closed at once because there were as many as allowed.";
        let unknown = "Writes of which clients were told that nobody knows whether they were applied.";
        let counted = [
            Figure::counter("connections_rejected", rejected, self.connections_rejected_count),
            Figure::counter("outcomes_unknown", unknown, self.refusals.outcomes_unknown()),
        ];
        own.chain(counted).collect()
    }
}

fn of_replica(replica: &ReplicaReport) -> impl Iterator<Item = Figure> {
    let figures = [
        ("group_is_led", "Whether the group is led here.", u64::from(replica.role == Role::Leader)),
        ("group_term", "Term of the replica.", replica.term),
        ("group_commit_index", "Index of the last entry that is committed.", replica.commit),
        ("group_applied_index", "Index of the last entry that is applied.", replica.applied),
        ("group_last_index", "Index of the last entry of the log.", replica.last),
        ("group_durable_index", "Index of the last entry that is durable here.", replica.durable),
        ("group_snapshot_index", "Index of the last entry that the tables hold.", replica.snapshot),
        ("group_keys", "Keys of the group.", replica.keys_count as u64),
        ("group_backlog_bytes", "Bytes of commands that wait to be proposed.", replica.backlog_bytes as u64),
    ];
    let counted = [
        ("group_stalls", "How often writers of the group began to wait or to be refused.", replica.stalls.count()),
        ("group_stall_us", "For how long they did, in microseconds.", replica.stalls.us()),
    ];
    let figures = figures.map(|(name, help, value)| Figure::gauge(name, help, value));
    let counted = counted.map(|(name, help, value)| Figure::counter(name, help, value));
    figures.into_iter().chain(counted).map(|figure| figure.of("group", replica.group.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use types::GroupId;

    use super::*;
    use crate::observe::field::Field;
    use crate::observe::stalls::StallReport;

    #[test]
    fn every_figure_has_its_own_name_and_says_what_it_tells() {
        let mut report = CoreReport { clients_count: 7, ..CoreReport::default() };
        report.counters.turns = 3;
        report.fields =
            vec![Field::counter("log_bytes_written", "Bytes.", 5), Field::greatest("log_is_slow", "It is.", 1)];
        let figures = report.figures();
        let mut by_name = BTreeMap::new();
        for figure in &figures {
            assert!(figure.help.ends_with('.'), "{figure:?}");
            let known = by_name.insert((&figure.name, &figure.label), figure);
            assert!(known.is_none(), "{figure:?} is there twice");
        }
        let of = |name: &'static str| figures.iter().find(|figure| figure.name == name).expect("it is there");
        assert_eq!((of("clients").value, of("clients").is_counter), (7, false));
        assert_eq!((of("turns").value, of("turns").is_counter), (3, true));
        assert_eq!((of("flush_last_ms").value, of("flush_last_ms").is_counter), (0, false));
        assert_eq!((of("log_bytes_written").value, of("log_bytes_written").is_counter), (5, true));
        assert_eq!((of("log_is_slow").value, of("log_is_slow").is_counter), (1, false));
        assert!(of("raft_campaigns").is_counter && of("refused_no_leader").is_counter);
    }

    #[test]
    fn figures_of_groups_name_their_group() {
        let replica = ReplicaReport {
            group: GroupId(3),
            role: Role::Leader,
            term: 2,
            commit: 9,
            applied: 8,
            last: 10,
            durable: 9,
            keys_count: 4,
            backlog_bytes: 5,
            snapshot: 6,
            stalls: StallReport::default(),
            members: None,
        };
        let report = CoreReport {
            replicas: vec![replica.clone(), ReplicaReport { group: GroupId(4), ..replica }],
            ..CoreReport::default()
        };
        let figures = report.group_figures();
        let led: Vec<_> = figures.iter().filter(|figure| figure.name == "group_is_led").collect();
        assert_eq!(led.iter().map(|figure| figure.value).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(led[1].label, Some(("group", "4".into())));
    }
}
