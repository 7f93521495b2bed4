//! What a core tells of its scrub: how far it is, and what it has found damaged.

use std::time::Duration;

use types::{CoreAddr, GroupId};

/// What a scrub has found damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScrubFinding {
    /// The pass that has found it; the first one behind a start is 1.
    pub(crate) pass: u64,
    /// When, in milliseconds since 1970 UTC.
    pub(crate) unix_ms: u64,
    pub(crate) part: ScrubbedPart,
    pub(crate) file: String,
    /// Where in the file that begins which is damaged, in bytes; where the part begins if the disk cannot read it.
    pub(crate) offset: u64,
    /// Whose data it is. Of the manifest and the log it may be none.
    pub(crate) groups: Vec<GroupId>,
    /// What is wrong with it.
    pub(crate) reason: String,
    /// What is done about it.
    pub(crate) remedy: &'static str,
}

/// What a core has at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScrubbedPart {
    Table,
    Blob,
    Manifest,
    Log,
}

impl ScrubbedPart {
    /// As it is shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ScrubbedPart::Table => "table",
            ScrubbedPart::Blob => "blob",
            ScrubbedPart::Manifest => "manifest",
            ScrubbedPart::Log => "log",
        }
    }
}

impl ScrubFinding {
    /// The groups as they are shown: `3+7`, or `none`.
    pub(crate) fn shown_groups(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(GroupId::to_string).collect();
        if groups.is_empty() { "none".to_owned() } else { groups.join("+") }
    }
}

/// The scrub of a core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScrubReport {
    pub(crate) core: CoreAddr,
    /// How fast it reads, in bytes per second; 0 if it is turned off.
    pub(crate) bytes_per_s: u64,
    /// When the pass under way began, in milliseconds since 1970 UTC, and how many bytes it has read; `None` if none is.
    pub(crate) under_way: Option<(u64, u64)>,
    /// Passes that have ended.
    pub(crate) passes: u64,
    /// When the last of them ended, in milliseconds since 1970 UTC; 0 if none has.
    pub(crate) last_end_unix_ms: u64,
    /// When the next one begins by itself; `None` for never.
    pub(crate) next_in: Option<Duration>,
    /// What the last pass that ended has found, and those since; the newest last, a bounded number of them.
    pub(crate) findings: Vec<ScrubFinding>,
}
