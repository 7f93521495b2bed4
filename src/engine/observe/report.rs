//! What a core tells of itself: plain data that can be sent to the other cores of its node and added up there.
//!
//! `core` fills it from its parts. Each core sends its report to the others about once per second, so that INFO on the
//! gateway tells of the whole node whichever core answers it.

use std::sync::Arc;
use std::time::Duration;

use raft::Role;
use types::{CoreAddr, GroupId, Index, Term};
use wire::Membership;

use crate::budget::{Budget, Pool};
use crate::comparison::Comparison;
use crate::observe::command_log::CommandLogs;
use crate::observe::command_stats::CommandStats;
use crate::observe::counters::Counters;
use crate::observe::error_stats::ErrorStats;
use crate::observe::field::Field;
use crate::observe::hot_keys::HotReport;
use crate::observe::led_group::LedGroup;
use crate::observe::log_limit::RefusalCounts;
use crate::observe::rates::Rate;
use crate::observe::reset::Reset;
use crate::observe::spikes::Spikes;
use crate::observe::stages::StageStats;
use crate::observe::stalls::StallReport;
use crate::observe::turns::TurnStats;
use crate::scrub_report::ScrubReport;
use crate::settings::NodeSettings;

/// Most groups whose state a report to other cores tells one by one. A core with more shows its own only.
pub(crate) const REPORTED_GROUPS_COUNT_MAX: usize = 1_024;

/// What a core tells of itself, or what the cores of a node tell together.
#[derive(Clone, Debug, Default)]
pub struct CoreReport {
    /// The core; for a node the one that answers.
    pub(crate) addr: CoreAddr,
    /// The settings in force there; for a node those of the core that answers.
    pub(crate) settings: Arc<NodeSettings>,
    /// How many cores it is about.
    pub(crate) cores_count: usize,
    /// How long the core has been running; for a node the longest.
    pub(crate) uptime: Duration,
    pub(crate) counters: Counters,
    pub(crate) refusals: RefusalCounts,
    pub(crate) commands: CommandStats,
    pub(crate) errors: ErrorStats,
    pub(crate) rate: Rate,
    pub(crate) turns: TurnStats,
    pub(crate) stages: StageStats,
    pub(crate) spikes: Spikes,
    pub(crate) command_logs: CommandLogs,
    pub(crate) hot: HotReport,
    pub(crate) memory: MemoryReport,
    /// Client connections that were closed at once because there were as many as allowed.
    pub(crate) connections_rejected_count: u64,
    /// Clients connected.
    pub(crate) clients_count: usize,
    /// Those of them whose next command waits for something.
    pub(crate) clients_blocked_count: usize,
    /// Groups with a replica here that takes part.
    pub(crate) groups_count: usize,
    /// Those of them that are led here.
    pub(crate) groups_led_count: usize,
    /// Replicas that the map places here and that stay away, since what the log holds of them cannot be trusted.
    pub(crate) groups_quarantined_count: usize,
    /// Groups of the cluster whose leader is not known here.
    pub(crate) groups_leaderless_count: usize,
    /// Keys of the groups that are led here.
    pub(crate) keys_count: usize,
    /// Groups that are led here and not wholly in memory: about how many keys they have is what the tables say.
    pub(crate) groups_inexact_count: usize,
    /// Those of the keys in memory that expire.
    pub(crate) expiring_count: usize,
    /// For how long these have to live, in milliseconds, added up; estimated from those last looked at.
    pub(crate) ttl_ms_sum: u64,
    /// The commit indexes of all groups here, added up: it grows with every entry, as a replication offset does.
    pub(crate) commit_index_sum: u64,
    /// Links to other cores, those of the own node included.
    pub(crate) links_count: usize,
    /// Those of them that are up.
    pub(crate) links_up_count: usize,
    /// What Raft has counted, all groups together.
    pub(crate) raft: raft::Counters,
    /// What else parts tell.
    pub(crate) fields: Vec<Field>,
    /// What CLUSTER INFO tells. Empty but in what is told to others than cores.
    pub(crate) cluster_info: String,
    /// The replicas here, by group; at most [`REPORTED_GROUPS_COUNT_MAX`] in what is sent to other cores.
    pub(crate) replicas: Vec<ReplicaReport>,
    /// The groups that are led here, with their members; as many as of the replicas.
    pub(crate) led: Vec<LedGroup>,
    /// What was found when replicas of the groups that are led here were last compared; as many as of the replicas.
    pub(crate) comparisons: Vec<Comparison>,
    /// Why no node is replaced, if the planner is at work here and says so.
    pub(crate) planner_alarm: Option<String>,
    /// The scrub of each core.
    pub(crate) scrubs: Vec<ScrubReport>,
}

/// Who holds how much memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryReport {
    pub(crate) bytes_max: usize,
    pub(crate) used: usize,
    /// For a node the sum of its cores' peaks, which need not have been at the same time.
    pub(crate) peak: usize,
    /// In the order of [`Pool::ALL`].
    pub(crate) pools: [usize; Pool::ALL.len()],
}

/// The state of one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaReport {
    pub(crate) group: GroupId,
    pub(crate) role: Role,
    pub(crate) term: Term,
    pub(crate) commit: Index,
    pub(crate) applied: Index,
    pub(crate) last: Index,
    pub(crate) durable: Index,
    pub(crate) keys_count: usize,
    /// Bytes of commands that wait to be proposed.
    pub(crate) backlog_bytes: usize,
    /// The last entry that the tables hold.
    pub(crate) snapshot: Index,
    /// What has held up its writers.
    pub(crate) stalls: StallReport,
    /// Who takes part, if it leads.
    pub(crate) members: Option<Box<Membership>>,
}

impl CoreReport {
    /// Adds up what the cores of a node tell, of which `own` answers.
    pub(crate) fn merged<'a>(own: CoreReport, others: impl IntoIterator<Item = &'a CoreReport>) -> CoreReport {
        let mut node = own;
        others.into_iter().for_each(|report| node.merge(report));
        node.replicas.sort_unstable_by_key(|replica| replica.group);
        node.comparisons.sort_by_key(|found| found.point.group);
        node.scrubs.sort_by_key(|scrub| scrub.core);
        node
    }

    /// Forgets what CONFIG RESETSTAT makes the core forget.
    pub(crate) fn reset_stats(&mut self) {
        self.counters.reset();
        self.refusals = RefusalCounts::default();
        self.commands = CommandStats::default();
        self.errors = ErrorStats::default();
        self.turns = TurnStats::default();
        self.stages = StageStats::default();
    }

    /// Forgets what the core is made to forget.
    pub(crate) fn reset(&mut self, reset: &Reset) {
        match reset {
            Reset::Spikes(events) => drop(self.spikes.reset(events)),
            Reset::CommandLog(kind) => self.command_logs.reset(*kind),
        }
    }

    fn merge(&mut self, other: &CoreReport) {
        self.cores_count += other.cores_count;
        self.uptime = self.uptime.max(other.uptime);
        self.counters.merge(&other.counters);
        self.refusals.merge(&other.refusals);
        self.commands.merge(&other.commands);
        self.errors.merge(&other.errors);
        self.rate.merge(other.rate);
        self.turns.merge(&other.turns);
        self.stages.merge(&other.stages);
        self.spikes.merge(&other.spikes);
        self.command_logs.merge(&other.command_logs);
        self.hot.merge(&other.hot);
        self.memory.merge(&other.memory);
        self.connections_rejected_count += other.connections_rejected_count;
        self.clients_count += other.clients_count;
        self.clients_blocked_count += other.clients_blocked_count;
        self.groups_count += other.groups_count;
        self.groups_led_count += other.groups_led_count;
        self.groups_quarantined_count += other.groups_quarantined_count;
        // Each core knows of all groups of the cluster; one may have heard earlier than another.
        self.groups_leaderless_count = self.groups_leaderless_count.max(other.groups_leaderless_count);
        self.keys_count += other.keys_count;
        self.groups_inexact_count += other.groups_inexact_count;
        self.expiring_count += other.expiring_count;
        self.ttl_ms_sum = self.ttl_ms_sum.saturating_add(other.ttl_ms_sum);
        self.commit_index_sum += other.commit_index_sum;
        self.links_count += other.links_count;
        self.links_up_count += other.links_up_count;
        self.raft.merge(&other.raft);
        self.planner_alarm = self.planner_alarm.take().or_else(|| other.planner_alarm.clone());
        for field in &other.fields {
            match self.fields.iter_mut().find(|known| known.name == field.name) {
                Some(mine) => mine.merge(field),
                None => self.fields.push(*field),
            }
        }
        self.replicas.extend_from_slice(&other.replicas);
        self.led.extend_from_slice(&other.led);
        self.comparisons.extend_from_slice(&other.comparisons);
        self.scrubs.extend_from_slice(&other.scrubs);
    }
}

impl MemoryReport {
    /// What a core holds.
    pub(crate) fn of(budget: &Budget) -> MemoryReport {
        MemoryReport {
            bytes_max: budget.bytes_max(),
            used: budget.used(),
            peak: budget.peak().max(budget.used()),
            pools: Pool::ALL.map(|pool| budget.used_by(pool)),
        }
    }

    fn merge(&mut self, other: &MemoryReport) {
        self.bytes_max += other.bytes_max;
        self.used += other.used;
        self.peak += other.peak;
        self.pools.iter_mut().zip(other.pools).for_each(|(mine, theirs)| *mine += theirs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(group: u32) -> ReplicaReport {
        ReplicaReport {
            group: GroupId(group),
            role: Role::Leader,
            term: 1,
            commit: 2,
            applied: 2,
            last: 3,
            durable: 3,
            keys_count: 4,
            backlog_bytes: 0,
            snapshot: 1,
            stalls: StallReport::default(),
            members: None,
        }
    }

    fn is_send<T: Send + 'static>(_: &T) {}

    #[test]
    fn what_cores_tell_adds_up_to_what_the_node_tells() {
        let budget = Budget::new(3_000);
        let mut keys = budget.permit(Pool::Keys);
        keys.set(700);
        let one = CoreReport {
            cores_count: 1,
            uptime: Duration::from_secs(5),
            memory: MemoryReport::of(&budget),
            clients_count: 3,
            groups_leaderless_count: 2,
            keys_count: 10,
            raft: raft::Counters { campaigns: 1, ..raft::Counters::default() },
            replicas: vec![replica(3)],
            ..CoreReport::default()
        };
        let other = CoreReport {
            uptime: Duration::from_secs(4),
            groups_leaderless_count: 1,
            raft: raft::Counters { campaigns: 2, woken: 1, ..raft::Counters::default() },
            replicas: vec![replica(1)],
            ..one.clone()
        };
        let node = CoreReport::merged(one, [&other]);
        is_send(&node);
        assert_eq!((node.cores_count, node.clients_count, node.keys_count), (2, 6, 20));
        assert_eq!((node.uptime, node.groups_leaderless_count), (Duration::from_secs(5), 2));
        assert_eq!((node.memory.used, node.memory.peak, node.memory.bytes_max), (1_400, 1_400, 6_000));
        assert_eq!(node.memory.pools[Pool::Keys as usize], 1_400);
        assert_eq!((node.raft.campaigns, node.raft.woken, node.raft.compactions), (3, 1, 0));
        assert_eq!(node.replicas, [replica(1), replica(3)]);
    }

    #[test]
    fn reset_forgets_what_was_counted_and_not_what_there_is() {
        let mut report = CoreReport { keys_count: 10, clients_count: 3, ..CoreReport::default() };
        report.counters.turns = 5;
        report.commands.count(resp::CommandId::Get);
        report.errors.count(b"-ERR x");
        report.reset_stats();
        assert_eq!((report.counters.turns, report.keys_count, report.clients_count), (0, 10, 3));
        assert!(report.commands.list().next().is_none() && report.errors.list().is_empty());
    }

    #[test]
    fn a_field_of_a_node_follows_from_those_of_its_cores() {
        let report = |values: [u64; 4]| CoreReport {
            fields: vec![
                Field::counter("log_bytes_written", "", values[0]),
                Field::sum("log_bytes", "", values[1]),
                Field::greatest("log_write_mean_us", "", values[2]),
                Field::least("log_has_room", "", values[3]),
            ],
            ..CoreReport::default()
        };
        let node = CoreReport::merged(CoreReport::default(), [&report([10, 1, 50, 1]), &report([5, 6, 70, 0])]);
        assert_eq!(node.fields.iter().map(|field| field.value).collect::<Vec<_>>(), [15, 7, 70, 0]);
    }
}
