//! What a core has under way of its scrub, and what it has found.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use host::{Clock, Spawn};
use lsm::manifest::Written;
use lsm::read::{Part, PartPlace};
use lsm::write::Pace;
use types::{GroupId, Instant};
use xxhash_rust::xxh3::xxh3_64;

use super::pace::BackgroundPace;
use crate::config::Config;
use crate::scrub_report::ScrubFinding;

/// Findings that are kept to be told.
const FINDINGS_COUNT_MAX: usize = 16;

/// What a pass checks next.
pub(super) enum Stage {
    Manifest,
    /// The sealed segments of the log behind this one.
    Log {
        behind: u64,
    },
    /// The groups behind this one, or of all.
    Groups {
        behind: Option<GroupId>,
    },
    /// The parts of a group's version behind a place, up to another one: what comes behind was written since.
    Parts {
        group: GroupId,
        behind: Option<PartPlace>,
        last: PartPlace,
        /// Whether all that was checked of it is sound.
        is_sound: bool,
    },
}

/// What has become of a check.
pub(super) enum Checked {
    Manifest { written: Written, result: Result<u64, lsm::Error> },
    Segment { id: u64, path: std::path::PathBuf, result: Result<wal::Verified, wal::Error> },
    Part { group: GroupId, part: Part, result: Result<(), lsm::Error> },
}

/// What the task of a check and the turns share.
pub(super) struct Progress {
    /// How fast to read, in bytes per second. Invariant: greater than 0.
    pub(super) bytes_per_s: Cell<u64>,
    /// Bytes read since somebody took them.
    pub(super) bytes: Cell<u64>,
    /// Nobody wants to know any more.
    pub(super) is_given_up: Cell<bool>,
    /// Errors that were not there when it was read again.
    pub(super) passing_errors: Cell<u64>,
    pub(super) checked: RefCell<Option<Checked>>,
}

impl Progress {
    pub(super) fn new(bytes_per_s: u64) -> Progress {
        Progress {
            bytes_per_s: Cell::new(bytes_per_s),
            bytes: Cell::default(),
            is_given_up: Cell::default(),
            passing_errors: Cell::default(),
            checked: RefCell::default(),
        }
    }
}

/// A pass under way.
pub(super) struct Pass {
    /// The first one behind a start is 1.
    pub(super) number: u64,
    pub(super) begun_at: Instant,
    /// The same by the wall clock, in milliseconds since 1970 UTC.
    pub(super) begun_unix_ms: u64,
    pub(super) stage: Stage,
    pub(super) progress: Rc<Progress>,
    /// Whether a check is under way: its end goes on with the pass.
    pub(super) is_checking: bool,
    pub(super) bytes: u64,
    /// How much was found damaged.
    pub(super) found_count: u64,
    /// How much could not be read for other reasons than damage.
    pub(super) unread_count: u64,
    /// Groups whose tables are sound.
    pub(super) sound: BTreeSet<GroupId>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.progress.is_given_up.set(true);
    }
}

/// A copy of the manifest that is damaged.
pub(super) struct ManifestDamage {
    /// What it was to hold.
    pub(super) written: Written,
    pub(super) error: lsm::Error,
}

/// The scrub of a core.
pub(super) struct Scrubbing {
    pub(super) pass: Option<Pass>,
    /// Passes begun.
    pub(super) passes_begun: u64,
    /// Passes that have ended.
    pub(super) passes_ended: u64,
    /// Somebody wants one now.
    pub(super) is_wanted: bool,
    /// When one begins by itself.
    pub(super) next_at: Instant,
    /// When the last one ended, in milliseconds since 1970 UTC; 0 if none has.
    pub(super) last_end_unix_ms: u64,
    /// What is to be said and done about the manifest once nobody writes it.
    pub(super) manifest: Option<ManifestDamage>,
    /// When to write the manifest anew, if that could not be done.
    pub(super) renew_at: Option<Instant>,
    /// Invariant: at most [`FINDINGS_COUNT_MAX`], the newest last.
    pub(super) findings: VecDeque<ScrubFinding>,
}

impl Scrubbing {
    pub(super) fn new(config: &Config, now: Instant) -> Scrubbing {
        Scrubbing {
            pass: None,
            passes_begun: 0,
            passes_ended: 0,
            is_wanted: false,
            next_at: first_at(config, config.settings.scrub_interval, now),
            last_end_unix_ms: 0,
            manifest: None,
            renew_at: None,
            findings: VecDeque::new(),
        }
    }

    /// Whether something waits for ticks. A pass that becomes due does not: the core ticks anyway.
    pub(super) fn wants_ticks(&self) -> bool {
        self.is_wanted
            || self.manifest.is_some()
            || self.renew_at.is_some()
            || self.pass.as_ref().is_some_and(|pass| !pass.is_checking)
    }

    pub(super) fn keep(&mut self, finding: ScrubFinding) {
        if self.findings.len() == FINDINGS_COUNT_MAX {
            self.findings.pop_front();
        }
        self.findings.push_back(finding);
    }

    /// What a group consists of was replaced by what was checked before, maybe long ago.
    pub(super) fn replaced(&mut self, id: GroupId, last: Option<PartPlace>) {
        let Some(pass) = &mut self.pass else { return };
        pass.sound.remove(&id);
        if let Stage::Parts { group, behind, last: known, .. } = &mut pass.stage
            && *group == id
        {
            (*behind, *known) = (None, last.unwrap_or_default());
        }
    }
}

/// When the first pass behind a start, or a change of the interval, begins: anywhere within the interval, so that cores and nodes which start together do not read all at
/// once, and a node that starts often checks about as often as others.
pub(super) fn first_at(config: &Config, interval: Option<Duration>, now: Instant) -> Instant {
    let Some(interval) = interval else { return Instant::NEVER };
    let place = config.place;
    let seed = [config.incarnation, now.as_nanos(), u64::from(place.node.0) << 16 | u64::from(place.core.0)];
    let permille = xxh3_64(seed.map(u64::to_le_bytes).as_flattened()) % 1_000;
    now + interval / 1_000 * permille as u32
}

/// Works at the scrub's rate, and counts what it has read.
pub(super) struct ScrubPace<H> {
    pace: BackgroundPace<H>,
    progress: Rc<Progress>,
}

impl<H> ScrubPace<H> {
    pub(super) fn new(host: H, progress: Rc<Progress>) -> ScrubPace<H> {
        ScrubPace { pace: BackgroundPace::new(host, progress.bytes_per_s.get()), progress }
    }
}

impl<H: Clock + Spawn> Pace for ScrubPace<H> {
    async fn pause(&self, bytes: usize) {
        self.progress.bytes.set(self.progress.bytes.get() + bytes as u64);
        self.pace.set_rate(self.progress.bytes_per_s.get());
        self.pace.pause(bytes).await;
    }
}

/// Time from now on as long as `at` is not over.
pub(super) fn until(at: Instant, now: Instant) -> Option<Duration> {
    (at != Instant::NEVER).then(|| at.since(now))
}
