//! The scrub: everything that a core has at rest is read at a modest rate and checked, so that damage is found while other replicas are
//! sound.
//!
//! A pass checks the copies of the manifest, the sealed segments of the log, and then the tables and blob files of each group: one part at a
//! time in a task, in the lowest I/O class, so that the log, clients, flushes and merges go first. Whatever is written meanwhile is left to
//! the next pass, so that a pass ends. It keeps no file for longer than it reads it, and no segment of the log from being used again.
//!
//! What fails is read again after a while, since some errors pass. If it fails again, it is an alarm, and
//! - of tables, what any read of them that meets damage leads to ([`super::damage`]);
//! - of the manifest, that it is written anew, as all that it says is in memory;
//! - of the log, that the groups whose entries keep the segment are flushed and let that log go, so that neither a start nor a follower will
//!   need it. Whoever reads entries of it meanwhile checks each record. What was applied is in memory.

use std::fmt::Display;
use std::ops::Bound;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use host::{IoClass, TaskClass};
use lsm::manifest::{Written, verify_copies};
use lsm::read::Part;
use lsm::write::Pace;
use types::GroupId;

use super::scrubbing::{Checked, ManifestDamage, Pass, Progress, ScrubPace, Stage, first_at, until};
use super::{Storage, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::observe::Field;
use crate::replicas::Replicas;
use crate::scrub_report::{ScrubFinding, ScrubReport, ScrubbedPart};
use crate::settings::NodeSettings;

/// How long to wait before what the disk could not read is read again: it may be in trouble for a moment.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The same for what was read and is not what was written: what has changed it on its way will not do so again.
const CHECK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long to wait after the manifest could not be written anew.
const RENEW_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Groups that are looked at in one go for one with tables.
const LOOKS_MAX: usize = 256;
/// Memory that a check of the manifest takes, in bytes.
const MANIFEST_MEMORY_BYTES: usize = 64 << 10;

/// Why a check has failed.
trait CheckError: Display {
    /// Whether the disk has not answered with bytes.
    fn is_refusal(&self) -> bool;
}

impl CheckError for lsm::Error {
    fn is_refusal(&self) -> bool {
        matches!(self, lsm::Error::Io { .. })
    }
}

impl CheckError for wal::Error {
    fn is_refusal(&self) -> bool {
        matches!(self, wal::Error::Io { .. })
    }
}

impl<H: StorageHost> Storage<H> {
    /// Has a pass begin soon, unless one is under way. `false` if the scrub is turned off.
    pub(crate) fn scrub_soon(&mut self, ctx: &Context) -> bool {
        let is_on = ctx.settings.scrub_bytes_per_s > 0;
        self.scrubbing.is_wanted = is_on && self.scrubbing.pass.is_none();
        is_on
    }

    /// Other settings are in force. A pass under way goes on at another rate, and ends if there is none.
    pub(crate) fn settings_changed(&mut self, ctx: &Context, before: &NodeSettings) {
        let (scrubbing, now) = (&mut self.scrubbing, &ctx.settings);
        if before.scrub_interval != now.scrub_interval {
            scrubbing.next_at = first_at(&self.config, now.scrub_interval, ctx.now);
        }
        if now.scrub_bytes_per_s == 0 {
            (scrubbing.pass, scrubbing.is_wanted) = (None, false);
        } else if let Some(pass) = &scrubbing.pass {
            pass.progress.bytes_per_s.set(now.scrub_bytes_per_s);
        }
    }

    /// Begins a pass if one is due, and goes on with the one under way. At every tick.
    pub(super) fn tick_scrub(&mut self, ctx: &mut Context) {
        if ctx.is_stopping {
            self.scrubbing.pass = None;
            self.scrubbing.is_wanted = false;
            return;
        }
        self.treat_manifest(ctx);
        if self.scrubbing.pass.is_some() {
            return self.go_on_scrubbing(ctx);
        }
        let is_due = self.scrubbing.is_wanted || ctx.now >= self.scrubbing.next_at;
        if !is_due || ctx.settings.scrub_bytes_per_s == 0 {
            return;
        }
        let scrubbing = &mut self.scrubbing;
        scrubbing.is_wanted = false;
        scrubbing.next_at = ctx.settings.scrub_interval.map_or(types::Instant::NEVER, |interval| ctx.now + interval);
        scrubbing.passes_begun += 1;
        scrubbing.pass = Some(Pass {
            number: scrubbing.passes_begun,
            begun_at: ctx.now,
            begun_unix_ms: ctx.unix_ms,
            stage: Stage::Manifest,
            progress: Rc::new(Progress::new(ctx.settings.scrub_bytes_per_s)),
            is_checking: false,
            bytes: 0,
            found_count: 0,
            unread_count: 0,
            sound: Default::default(),
        });
        tracing::debug!(core = %ctx.addr(), "a pass of the scrub begins");
        if let Some(observer) = &ctx.observer {
            observer.scrub_begun(ctx.addr());
        }
        self.go_on_scrubbing(ctx);
    }

    /// Begins the next check, if none is under way.
    fn go_on_scrubbing(&mut self, ctx: &mut Context) {
        let Some(mut pass) = self.scrubbing.pass.take_if(|pass| !pass.is_checking) else { return };
        for _ in 0..LOOKS_MAX {
            let (stage, is_checking) = self.next_check(&mut pass);
            let Some(stage) = stage else { return self.end_pass(ctx, &pass) };
            pass.stage = stage;
            pass.is_checking = is_checking;
            if is_checking {
                break;
            }
        }
        self.scrubbing.pass = Some(pass);
    }

    /// Begins the check that a pass has come to, if there is one. Returns what comes behind it, and whether one was begun.
    fn next_check(&self, pass: &mut Pass) -> (Option<Stage>, bool) {
        match pass.stage {
            Stage::Manifest => {
                let written = self.store.written();
                if let Some(written) = written {
                    self.check_manifest(&pass.progress, written);
                }
                (Some(Stage::Log { behind: 0 }), written.is_some())
            }
            Stage::Log { behind } => match self.log.sealed_behind(behind) {
                Some(segment) => {
                    let behind = segment.id();
                    self.check_segment(&pass.progress, segment);
                    (Some(Stage::Log { behind }), true)
                }
                None => (Some(Stage::Groups { behind: None }), false),
            },
            Stage::Groups { behind } => {
                let group = self.store.next_group(behind.map_or(Bound::Unbounded, Bound::Excluded));
                let stage = group.map(|group| {
                    let last = Part::last_place(&self.store.version(group)).unwrap_or_default();
                    Stage::Parts { group, behind: None, last, is_sound: true }
                });
                (stage, false)
            }
            Stage::Parts { group, behind, last, is_sound } => {
                let is_read = self.records.index_of(group).is_some_and(|idx| !self.records.is_damaged_or_lost(idx));
                let part = Part::next_behind(&self.store.version(group), behind);
                let Some(part) = part.filter(|part| is_read && is_sound && part.place() <= last) else {
                    if is_read && is_sound {
                        pass.sound.insert(group);
                    }
                    return (Some(Stage::Groups { behind: Some(group) }), false);
                };
                let behind = Some(part.place());
                self.check_part(&pass.progress, group, part);
                (Some(Stage::Parts { group, behind, last, is_sound }), true)
            }
        }
    }

    fn check_manifest(&self, progress: &Rc<Progress>, written: Written) {
        let files = Rc::clone(self.store.reader().files());
        let check = async move |pace: &ScrubPace<H>| verify_copies(&files, &written, IoClass::Scrub, pace).await;
        self.check(progress, MANIFEST_MEMORY_BYTES, check, move |result| Checked::Manifest { written, result });
    }

    fn check_segment(&self, progress: &Rc<Progress>, segment: wal::SealedSegment<H>) {
        let (id, path, memory_bytes) = (segment.id(), segment.path(), segment.memory_bytes());
        let check = async move |pace: &ScrubPace<H>| {
            segment.verify(IoClass::Scrub, &async |bytes: usize| pace.pause(bytes).await).await
        };
        self.check(progress, memory_bytes, check, move |result| Checked::Segment { id, path, result });
    }

    fn check_part(&self, progress: &Rc<Progress>, group: GroupId, part: Part) {
        let (files, checked) = (Rc::clone(self.store.reader().files()), part.clone());
        let memory_bytes = part.memory_bytes();
        let check = async move |pace: &ScrubPace<H>| part.verify(&files, IoClass::Scrub, pace).await;
        self.check(progress, memory_bytes, check, move |result| Checked::Part { group, part: checked, result });
    }

    /// Carries a check out in a task.
    fn check<T: 'static, E: CheckError + 'static>(
        &self,
        progress: &Rc<Progress>,
        memory_bytes: usize,
        check: impl AsyncFn(&ScrubPace<H>) -> Result<T, E> + 'static,
        checked: impl FnOnce(Result<T, E>) -> Checked + 'static,
    ) {
        let mut permit = self.budget.permit(Pool::Snapshots);
        permit.set(memory_bytes);
        let (host, progress) = (self.host.clone(), Rc::clone(progress));
        let pace = ScrubPace::new(self.host.clone(), Rc::clone(&progress));
        self.host.spawn(TaskClass::Background, async move {
            let result = unless_given_up(&progress, twice(&host, &progress, async || check(&pace).await)).await;
            drop(permit);
            if let Some(result) = result {
                *progress.checked.borrow_mut() = Some(checked(result));
                host.notify();
            }
        });
    }

    /// Takes in what was found.
    pub(super) fn poll_scrub(&mut self, ctx: &mut Context, replicas: &impl Replicas) {
        let Some(pass) = &mut self.scrubbing.pass else { return };
        let bytes = pass.progress.bytes.take();
        pass.bytes += bytes;
        ctx.counters.scrub_bytes += bytes;
        ctx.counters.scrub_errors_passed += pass.progress.passing_errors.take();
        let checked = pass.progress.checked.take();
        let Some(checked) = checked else { return };
        pass.is_checking = false;
        match checked {
            Checked::Manifest { result: Ok(_), .. } => {}
            Checked::Manifest { written, result: Err(error) } if error.is_damage() => {
                self.scrubbing.manifest = Some(ManifestDamage { written, error });
                self.treat_manifest(ctx);
            }
            Checked::Segment { result: Ok(_), .. } => {}
            Checked::Segment { id, path, result: Err(error) } if error.is_damage() => {
                self.segment_is_damaged(ctx, id, &path, &error);
            }
            Checked::Part { result: Ok(()), .. } => {}
            Checked::Part { group, part, result: Err(error) } if error.is_damage() => {
                self.part_is_damaged(ctx, replicas, group, &part, &error);
            }
            Checked::Manifest { result: Err(error), .. } => self.could_not_read(ctx, &error),
            Checked::Segment { result: Err(error), .. } => self.could_not_read(ctx, &error),
            Checked::Part { result: Err(error), .. } => {
                if let Some(Stage::Parts { is_sound, .. }) = self.scrubbing.pass.as_mut().map(|pass| &mut pass.stage)
                {
                    *is_sound = false;
                }
                self.could_not_read(ctx, &error);
            }
        }
        self.go_on_scrubbing(ctx);
    }

    fn could_not_read(&mut self, ctx: &mut Context, error: &impl Display) {
        if let Some(pass) = &mut self.scrubbing.pass {
            pass.unread_count += 1;
        }
        ctx.counters.scrub_unread += 1;
        tracing::warn!(core = %ctx.addr(), %error, "the scrub could not read what it was to check: the next pass will");
    }

    /// A table or a blob file is damaged, if the group still consists of it.
    fn part_is_damaged(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        id: GroupId,
        part: &Part,
        error: &lsm::Error,
    ) {
        let group = self.records.index_of(id).filter(|group| !self.records.is_damaged_or_lost(*group));
        let Some(group) = group.filter(|_| part.is_of(&self.store.version(id))) else { return };
        if let Some(Stage::Parts { is_sound, .. }) = self.scrubbing.pass.as_mut().map(|pass| &mut pass.stage) {
            *is_sound = false;
        }
        let is_alone = self.config.map.group(id).is_some_and(|spec| spec.replicas.len() == 1);
        let remedy = match (replicas.keyspace(group).is_resident(), is_alone) {
            (true, _) => "all rows of the group are in memory and are written anew",
            (false, false) => "the replica takes another one's state over",
            (false, true) => "no other replica holds the rows: what needs them fails",
        };
        let what = if matches!(part, Part::Table(_)) { ScrubbedPart::Table } else { ScrubbedPart::Blob };
        let (file, offset) = place_of(error, part.place().1);
        self.found(ctx, (what, file, offset), vec![id], error, remedy);
        self.tables_are_damaged(ctx, id, error);
    }

    /// A segment of the log is damaged: whatever keeps it is to go into tables.
    fn segment_is_damaged(&mut self, ctx: &mut Context, id: u64, path: &Path, error: &wal::Error) {
        // What is wrong may be the first block of the segment behind it.
        let (id, offset) = match error {
            wal::Error::Corrupt { segment, offset, .. } => (*segment, *offset),
            _ => (id, 0),
        };
        let path = path.with_file_name(wal::format::segment_name(id));
        let mut groups = Vec::new();
        for (group, index) in self.log.segment_is_damaged(id) {
            groups.push(group);
            if let Some(group) = self.records.index_of(group) {
                self.log.reads.is_damaged(group, index);
            }
        }
        let remedy = "the groups are flushed and let it go";
        self.found(ctx, (ScrubbedPart::Log, path.display().to_string(), offset), groups, error, remedy);
    }

    /// Says that the manifest is damaged and writes it anew, if it is the one that is in use. While it is written, that waits.
    fn treat_manifest(&mut self, ctx: &mut Context) {
        if !self.store.is_at_rest() {
            return;
        }
        if let Some(ManifestDamage { written, error }) = self.scrubbing.manifest.take()
            && self.store.written().is_some_and(|now| now.epoch == written.epoch)
        {
            let (file, offset) = place_of(&error, 0);
            let remedy = "what it says is in memory, and it is written anew";
            self.found(ctx, (ScrubbedPart::Manifest, file, offset), Vec::new(), &error, remedy);
            self.scrubbing.renew_at = Some(ctx.now);
        }
        if self.scrubbing.renew_at.is_some_and(|at| ctx.now >= at) {
            self.scrubbing.renew_at = None;
            self.store.renew();
        }
    }

    /// The manifest was written anew, or could not be.
    pub(super) fn manifest_renewed(&mut self, ctx: &Context, result: Result<(), lsm::Error>) {
        match result {
            Ok(()) => tracing::info!(core = %ctx.addr(), "both copies of the manifest were written anew"),
            Err(error) => {
                tracing::error!(core = %ctx.addr(), %error, "a damaged manifest cannot be written anew; it is tried again");
                self.scrubbing.renew_at = Some(ctx.now + RENEW_AGAIN_AFTER);
            }
        }
    }

    /// An alarm: something is not what was written.
    fn found(
        &mut self,
        ctx: &mut Context,
        (part, file, offset): (ScrubbedPart, String, u64),
        groups: Vec<GroupId>,
        reason: &impl Display,
        remedy: &'static str,
    ) {
        let number = self.scrubbing.passes_begun;
        let reason = reason.to_string();
        let finding = ScrubFinding { pass: number, unix_ms: ctx.unix_ms, part, file, offset, groups, reason, remedy };
        ctx.counters.scrub_damaged += 1;
        tracing::error!(
            core = %ctx.addr(),
            what = part.name(),
            file = finding.file,
            offset,
            groups = finding.shown_groups(),
            reason = finding.reason,
            "the scrub has found damage at rest: {remedy}; a disk that damages what it holds is to be replaced"
        );
        if let Some(pass) = &mut self.scrubbing.pass {
            pass.found_count += 1;
        }
        self.scrubbing.keep(finding);
    }

    fn end_pass(&mut self, ctx: &mut Context, pass: &Pass) {
        ctx.counters.scrub_passes += 1;
        self.scrubbing.passes_ended += 1;
        self.scrubbing.last_end_unix_ms = ctx.unix_ms;
        self.scrubbing.findings.retain(|finding| finding.pass >= pass.number);
        let (damaged, unread, took) = (pass.found_count, pass.unread_count, ctx.now.since(pass.begun_at));
        tracing::info!(core = %ctx.addr(), bytes = pass.bytes, damaged, unread, ?took, "a pass of the scrub has ended");
        if let Some(observer) = &ctx.observer {
            let is_sound = |id: &GroupId| {
                self.records.index_of(*id).is_some_and(|group| !self.records.is_damaged_or_lost(group))
            };
            let sound: Vec<GroupId> = pass.sound.iter().copied().filter(is_sound).collect();
            observer.scrub_ended(ctx.addr(), &sound);
        }
    }

    /// A group has taken another replica's tables over, which were checked when they came.
    pub(super) fn scrub_replaced(&mut self, id: GroupId) {
        let last = Part::last_place(&self.store.version(id));
        self.scrubbing.replaced(id, last);
    }

    /// The figures of the scrub for INFO.
    pub(super) fn report_scrub(&self, tell: &mut impl FnMut(Field)) {
        let is_under_way = self.scrubbing.pass.is_some();
        tell(Field::sum(
            "scrub_under_way",
            "Cores that are reading what they have at rest, to check it.",
            is_under_way.into(),
        ));
        tell(Field::least(
            "scrub_last_end_unix_ms",
            "When the last pass of the scrub ended, in milliseconds since 1970; of several cores the one longest ago, 0 if one has had none.",
            self.scrubbing.last_end_unix_ms,
        ));
    }

    /// What CORACLE SCRUB STATUS tells.
    pub(crate) fn scrub_report(&self, ctx: &Context) -> ScrubReport {
        let scrubbing = &self.scrubbing;
        ScrubReport {
            core: ctx.addr(),
            bytes_per_s: ctx.settings.scrub_bytes_per_s,
            under_way: scrubbing.pass.as_ref().map(|pass| (pass.begun_unix_ms, pass.bytes)),
            passes: scrubbing.passes_ended,
            last_end_unix_ms: scrubbing.last_end_unix_ms,
            next_in: until(scrubbing.next_at, ctx.now),
            findings: scrubbing.findings.iter().cloned().collect(),
        }
    }
}

/// The file that an error names, and where in it; `base` if it does not say.
fn place_of(error: &lsm::Error, base: u64) -> (String, u64) {
    match error {
        lsm::Error::Damaged { path, offset, .. } => (path.display().to_string(), *offset),
        lsm::Error::Io { path, .. } => (path.display().to_string(), base),
        other => (other.to_string(), base),
    }
}

/// Checks once more, after a while, what fails: some errors pass.
async fn twice<H: StorageHost, T, E: CheckError>(
    host: &H,
    progress: &Progress,
    check: impl AsyncFn() -> Result<T, E>,
) -> Result<T, E> {
    let error = match check().await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    tracing::warn!(%error, "the scrub reads again what has failed");
    let after = if error.is_refusal() { READ_AGAIN_AFTER } else { CHECK_AGAIN_AFTER };
    host.sleep_until(host.now() + after).await;
    let again = check().await;
    if again.is_ok() {
        progress.passing_errors.set(progress.passing_errors.get() + 1);
    }
    again
}

/// Gives a check up between two steps of it, if nobody wants to know any more.
async fn unless_given_up<T>(progress: &Progress, check: impl Future<Output = T>) -> Option<T> {
    let mut check = pin!(check);
    std::future::poll_fn(|cx| {
        if progress.is_given_up.get() {
            return Poll::Ready(None);
        }
        check.as_mut().poll(cx).map(Some)
    })
    .await
}
