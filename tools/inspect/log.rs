//! The log of one core: what its files hold and what is wrong with them.

use std::path::Path;

use futures_lite::future::block_on;
use wal::format::{BlockHeader, segment_name};
use wal::{Condition, Damage, Survey};

use crate::data_dir::{CoreDir, DataDir};
use crate::disk::ReadDisk;
use crate::error::InspectError;
use crate::finding::Finding;

/// What a log that cannot be read at all means.
const REFUSED: &str = "the node does not start with this log";
pub(crate) const GONE: &str = "the node does not start: it has voted and acknowledged on this log. Restore it from a copy, or \
                    rebuild the node under a new identity";

/// A log that was looked at.
pub(crate) struct Log {
    /// `None` if there are no segments, or they cannot be read.
    pub(crate) survey: Option<Survey>,
    pub(crate) findings: Vec<Finding>,
}

impl Log {
    /// Looks at the log of a core; `seen` is shown each sound block with its records.
    pub(crate) fn open(
        data: &DataDir,
        dir: &CoreDir,
        seen: impl FnMut(&BlockHeader, &[u8]),
    ) -> Result<Log, InspectError> {
        match block_on(Survey::take(&ReadDisk::default(), &dir.path, seen)) {
            Ok(Some(survey)) => Ok(Log { findings: findings(&survey, dir), survey: Some(survey) }),
            Ok(None) if data.has_begun() => {
                let findings = vec![Finding::damage(&dir.shown, "the log is gone", GONE)];
                Ok(Log { survey: None, findings })
            }
            Ok(None) => Ok(Log { survey: None, findings: Vec::new() }),
            Err(error) => {
                let finding = Finding::of_log(error, &dir.path, &data.root, REFUSED)?;
                Ok(Log { survey: None, findings: vec![finding] })
            }
        }
    }
}

fn findings(survey: &Survey, dir: &CoreDir) -> Vec<Finding> {
    let file = |segment| Path::new(&dir.shown).join(segment_name(segment)).display().to_string();
    let mut findings = Vec::new();
    let faults: Vec<_> = survey
        .groups
        .iter()
        .filter_map(|(group, found)| match &found.group.condition {
            Condition::Quarantined(fault) => Some((group, fault)),
            Condition::Sound => None,
        })
        .collect();
    let names: Vec<String> = faults.iter().map(|(group, _)| group.to_string()).collect();
    let meaning = match (survey.may_lack_groups, names.is_empty()) {
        (true, _) => {
            "groups that the log does not name any more may have lost all that they had here: those replicas \
                      are quarantined at the next start"
                .to_owned()
        }
        (false, true) => "all groups are complete in spite of it: nothing is lost".to_owned(),
        (false, false) => {
            format!("acknowledged data may be lost here. Quarantined: group {}; the others go on", names.join(", "))
        }
    };
    for damage in &survey.damages {
        let (segment, offset) = place_of(damage, survey);
        findings.push(Finding::damage(file(segment), what_of(damage), &meaning).at(offset));
    }
    for (group, fault) in faults {
        let meaning =
            "this replica stays away, and the others of its group go on; without others the node does not start";
        findings.push(Finding::damage(&dir.shown, format!("group {group} is quarantined: {fault}"), meaning));
    }
    if let Some(torn) = survey.torn_at {
        let what = "a block was being written when the process ended";
        let meaning = "it was never acknowledged, and the next start drops it";
        findings.push(Finding::note(file(torn.segment), what, meaning).at(torn.offset));
    }
    for segment in survey.segments.iter().filter(|segment| segment.is_unreadable) {
        let what = "the disk cannot read it everywhere";
        findings.push(Finding::note(file(segment.id), what, "it is set aside once nothing in it is needed"));
    }
    for aside in &survey.set_aside {
        let name = Path::new(&dir.shown).join(&aside.name).display().to_string();
        findings.push(Finding::note(name, "was set aside", "the log does not need it; it may be removed"));
    }
    for name in &survey.unfinished {
        let name = Path::new(&dir.shown).join(name).display().to_string();
        findings.push(Finding::note(name, "was not complete when the process ended", "the next start removes it"));
    }
    findings
}

/// Where a block is missing: behind the end of a segment that is the beginning of the next one.
fn place_of(damage: &Damage, survey: &Survey) -> (u64, u64) {
    let is_behind = |segment: &wal::SegmentSurvey| segment.id == damage.segment && damage.offset >= segment.bytes;
    if survey.segments.iter().any(is_behind) { (damage.segment + 1, 0) } else { (damage.segment, damage.offset) }
}

/// What is wrong at a place, without the place.
fn what_of(damage: &Damage) -> String {
    let text = damage.to_string();
    let place = format!("segment {}, offset {}: ", damage.segment, damage.offset);
    text.strip_prefix(&place).map(str::to_owned).unwrap_or(text)
}

/// Where a log ends, and why there.
pub(crate) fn end_of(survey: &Survey) -> String {
    let end = survey.end;
    let why = if !survey.damages.is_empty() && survey.damages.iter().any(|damage| is_at_end(damage, survey)) {
        "acknowledged blocks behind it are lost"
    } else if survey.torn_at.is_some() {
        "a torn block follows, which was never acknowledged"
    } else if survey.blocks_count == 0 {
        "nothing was written yet"
    } else if survey.last_is_mark {
        "a mark stands last: all before it was durable"
    } else {
        "no mark confirms the last block, so it may not have been acknowledged"
    };
    format!("segment {}, offset {} ({why})", end.segment, end.offset)
}

fn is_at_end(damage: &Damage, survey: &Survey) -> bool {
    (damage.segment, damage.offset) >= (survey.end.segment, survey.end.offset)
}
