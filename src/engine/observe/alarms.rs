//! What a node tells a person to look at: what CORACLE STATUS shows, and the rules of Prometheus too, as far as one look can tell.

use crate::observe::report::CoreReport;

/// Of this share of a core's memory on it is nearly full, in percent.
const MEMORY_NEARLY_FULL_PERCENT: usize = 90;

/// Something that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    /// Its name; stable, for scripts.
    pub(crate) name: &'static str,
    /// What is the matter and what to do, in sentences without a full stop at the end.
    pub(crate) text: String,
}

/// What is to be told of a node, or of one of its cores.
pub(crate) fn alarms(report: &CoreReport) -> Vec<Alarm> {
    let field = |name: &str| report.fields.iter().find(|field| field.name == name).map_or(0, |field| field.value);
    let mut alarms = Vec::new();
    let mut tell = |is_so: bool, name: &'static str, text: String| {
        if is_so {
            alarms.push(Alarm { name, text });
        }
    };
    if let Some(alarm) = &report.planner_alarm {
        tell(true, "nodes_missing", alarm.clone());
    }
    let count = report.groups_leaderless_count;
    let text = format!(
        "{} without a leader that is known here: most often a majority of their nodes is down or cannot be reached",
        groups(count)
    );
    tell(count > 0, "groups_without_leader", text);
    let count = report.groups_quarantined_count;
    let text = format!(
        "{} away, as what the disk holds of them cannot be trusted: others take their places while most replicas are there; the log of \
         the node names the files",
        if count == 1 { "1 replica stays".to_owned() } else { format!("{count} replicas stay") }
    );
    tell(count > 0, "replicas_quarantined", text);
    let text = "the disk is full: writes are refused with DISKFULL but for those that delete; make room";
    tell(field("disk_is_full") > 0, "disk_full", text.to_owned());
    let text = "the disk is slow, so that other nodes lead: look at its health and at who else uses it";
    tell(field("log_is_slow") > 0, "disk_slow", text.to_owned());
    let memory = &report.memory;
    let percent = (memory.used * 100).checked_div(memory.bytes_max).unwrap_or(0);
    let text = format!("memory is {percent} % full: raise memory_bytes_max, remove keys or add nodes");
    tell(percent >= MEMORY_NEARLY_FULL_PERCENT, "memory_nearly_full", text);
    for found in report.comparisons.iter().filter(|found| found.is_alarm()) {
        let text = format!(
            "the replicas of group {} hold different rows ({}): CORACLE COMPARISON {} tells where; suspect the memory of their nodes",
            found.point.group,
            found.shown_differing(),
            found.point.group
        );
        tell(true, "replicas_differ", text);
    }
    for (core, found) in report.scrubs.iter().flat_map(|scrub| scrub.findings.iter().map(|found| (scrub.core, found)))
    {
        let text = format!(
            "core {core} has found damage in {} (groups {}): {}; a disk that damages what it holds is to be replaced",
            found.file,
            found.shown_groups(),
            found.remedy
        );
        tell(true, "scrub_damage", text);
    }
    alarms
}

fn groups(count: usize) -> String {
    if count == 1 { "1 group is".to_owned() } else { format!("{count} groups are") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::field::Field;
    use crate::observe::report::MemoryReport;

    fn names(report: &CoreReport) -> Vec<&'static str> {
        alarms(report).iter().map(|alarm| alarm.name).collect()
    }

    #[test]
    fn a_node_on_which_all_is_well_tells_nothing() {
        let report = CoreReport {
            fields: vec![Field::greatest("disk_is_full", "", 0), Field::greatest("log_is_slow", "", 0)],
            memory: MemoryReport { bytes_max: 100, used: 89, ..MemoryReport::default() },
            ..CoreReport::default()
        };
        assert_eq!(names(&report), [""; 0]);
    }

    #[test]
    fn each_trouble_has_a_name_and_says_how_much_of_it_there_is() {
        let mut report =
            CoreReport { groups_leaderless_count: 1, groups_quarantined_count: 2, ..CoreReport::default() };
        report.fields = vec![Field::greatest("disk_is_full", "", 1), Field::greatest("log_is_slow", "", 1)];
        report.memory = MemoryReport { bytes_max: 100, used: 90, ..MemoryReport::default() };
        let expected =
            ["groups_without_leader", "replicas_quarantined", "disk_full", "disk_slow", "memory_nearly_full"];
        assert_eq!(names(&report), expected);
        let texts = alarms(&report);
        for (alarm, part) in
            texts.iter().zip(["1 group is without", "2 replicas stay away", "DISKFULL", "slow", "90 %"])
        {
            assert!(alarm.text.contains(part) && !alarm.text.ends_with('.'), "{alarm:?}");
        }
    }
}
