//! Which runs of a version to merge next.

use std::rc::Rc;

use crate::ids::FileId;
use crate::version::{Run, Version};

use super::deleted::deleted_rows_about;

/// When runs are merged.
#[derive(Clone, Copy, Debug)]
pub struct MergeSettings {
    /// So many runs of a level are merged into one of the next level.
    pub fan_out: usize,
    /// They, and what is between, are merged with the oldest run instead when that is at most so many times as long. Larger:
    /// fewer runs and less room, more bytes written.
    pub oldest_ratio: u64,
    /// All runs are merged when that makes at least so many percent of the rows go.
    pub garbage_percent_max: u64,
    /// A merge with the oldest run ends behind so many bytes written. The rest is left for the next one, so that no
    /// more room is taken than this.
    pub window_bytes: u64,
    /// A blob file is given up when rows lead to less than so many percent of its bytes.
    pub blob_live_percent_min: u64,
    /// The live values of files that are given up at once are at most so many bytes: they are written anew before those go.
    pub relocate_bytes_max: u64,
}

impl Default for MergeSettings {
    fn default() -> MergeSettings {
        MergeSettings {
            fan_out: 4,
            oldest_ratio: 4,
            garbage_percent_max: 50,
            window_bytes: 1 << 30,
            blob_live_percent_min: 50,
            relocate_bytes_max: u64::MAX,
        }
    }
}

/// Runs to be merged into one.
#[derive(Clone)]
pub struct MergeTask {
    /// The runs, the newest first. No run of the version is of an age between theirs.
    pub inputs: Vec<Rc<Run>>,
    /// Age of the run to be written: that of the oldest input.
    pub age: u64,
    /// Its level.
    pub level: u8,
    /// Whether nothing older lies below.
    pub is_oldest: bool,
    /// Where it begins. Tables of the oldest run that end before stay as they are.
    pub from: Vec<u8>,
    /// Where it ends, if it ends before the oldest run does: the tables behind stay as they are.
    pub until: Option<Vec<u8>>,
    /// Bytes written behind which it ends before that.
    pub window_bytes: u64,
    /// Blob files whose values are to be written anew, so that they can go.
    pub relocate: Vec<FileId>,
}

impl MergeTask {
    /// Bytes of tables that are written at most, but for a table and values that are written anew: the room that is to
    /// be reserved.
    pub fn bytes(&self) -> u64 {
        self.inputs.iter().map(|run| run.bytes()).sum::<u64>().min(self.window_bytes)
    }

    /// A merge of all runs of a version, which gives up the blob files that few rows lead to. `None` if there are no
    /// runs.
    pub fn all(version: &Version, settings: &MergeSettings) -> Option<MergeTask> {
        MergeTask::of(version, 0, version.runs().len(), settings, &blobs_to_relocate(version, settings))
    }

    /// A merge of the runs of a version from one number up to another.
    fn of(
        version: &Version,
        from: usize,
        to: usize,
        settings: &MergeSettings,
        relocate: &[FileId],
    ) -> Option<MergeTask> {
        let inputs: Vec<Rc<Run>> = version.runs().get(from..to)?.to_vec();
        let is_oldest = to == version.runs().len();
        let (oldest, upper) = inputs.split_last()?;
        // A run that is rewritten alone would not show how far a window has come.
        let has_windows = is_oldest && !upper.is_empty();
        let (from, until) = if has_windows { window(upper, oldest) } else { (Vec::new(), None) };
        Some(MergeTask {
            age: oldest.age,
            level: inputs.iter().map(|run| run.level).max()?.saturating_add(1),
            is_oldest,
            from,
            until,
            window_bytes: if has_windows { settings.window_bytes } else { u64::MAX },
            relocate: if is_oldest { relocate.to_vec() } else { Vec::new() },
            inputs,
        })
    }
}

/// Where a merge of newer runs with the oldest one begins and ends: that run's tables beside need not be written again.
fn window(upper: &[Rc<Run>], oldest: &Run) -> (Vec<u8>, Option<Vec<u8>>) {
    let tables = || upper.iter().flat_map(|run| run.tables());
    let smallest = tables().map(|table| table.smallest()).min().unwrap_or_default();
    let largest = tables().map(|table| table.largest()).max().unwrap_or_default();
    let first = oldest.tables().get(oldest.find_from(smallest)).map(|table| table.smallest());
    let beside = oldest.tables().iter().map(|table| table.smallest()).find(|from| *from > largest);
    (first.map_or(smallest, |first| first.min(smallest)).to_vec(), beside.map(<[u8]>::to_vec))
}

/// The merge that a version needs most, if it needs one. `time_ms` is replicated time, as merges drop expired rows by.
pub fn pick(version: &Version, settings: &MergeSettings, time_ms: u64) -> Option<MergeTask> {
    let relocate = blobs_to_relocate(version, settings);
    if let Some(task) = pick_level(version, settings, &relocate) {
        return Some(task);
    }
    let is_due = has_garbage(version, settings, time_ms) || is_worth_it(version, &relocate);
    if is_due { MergeTask::all(version, settings) } else { None }
}

/// A level that is full.
fn pick_level(version: &Version, settings: &MergeSettings, relocate: &[FileId]) -> Option<MergeTask> {
    let (oldest, upper) = version.runs().split_last()?;
    let mut from = 0;
    while let Some(first) = upper.get(from) {
        let count = upper[from..].iter().take_while(|run| run.level == first.level).count();
        if count >= settings.fan_out {
            let bytes: u64 = upper[from..].iter().map(|run| run.bytes()).sum();
            // What was begun goes on.
            let reaches_oldest = upper[from..].iter().any(|run| run.is_trimmed())
                || bytes.saturating_mul(settings.oldest_ratio) >= oldest.bytes();
            let to = if reaches_oldest { version.runs().len() } else { from + count };
            return MergeTask::of(version, from, to, settings, relocate);
        }
        from += count;
    }
    None
}

/// Whether much of what is there is known to be nothing that anybody will read.
fn has_garbage(version: &Version, settings: &MergeSettings, time_ms: u64) -> bool {
    let (mut rows, mut garbage) = (0_u64, 0_u64);
    for table in version.tables() {
        let properties = &table.info.properties;
        rows = rows.saturating_add(properties.rows);
        // A tombstone and the row that it hides, which is likely to be there.
        garbage = garbage.saturating_add(2 * properties.tombstones).saturating_add(properties.expired_about(time_ms));
    }
    let garbage = garbage.saturating_add(deleted_rows_about(version));
    garbage > 0 && garbage.saturating_mul(100) >= rows.saturating_mul(settings.garbage_percent_max)
}

fn blobs_to_relocate(version: &Version, settings: &MergeSettings) -> Vec<FileId> {
    let is_sparse = |live: &&crate::version::LiveBlob| {
        live.bytes.saturating_mul(100) < live.blob.info.value_bytes.saturating_mul(settings.blob_live_percent_min)
    };
    let mut sparse: Vec<_> = version.blobs().filter(is_sparse).collect();
    sparse.sort_by_key(|live| live.bytes);
    let mut bytes = 0_u64;
    let fitting = sparse.into_iter().take_while(|live| {
        bytes = bytes.saturating_add(live.bytes);
        bytes <= settings.relocate_bytes_max
    });
    fitting.map(|live| live.blob.info.id).collect()
}

/// Whether giving up blob files frees more than all tables, which are written for it.
fn is_worth_it(version: &Version, relocate: &[FileId]) -> bool {
    let freed = relocate.iter().filter_map(|id| version.blob(*id));
    let freed: u64 = freed.map(|live| live.blob.info.value_bytes.saturating_sub(live.bytes)).sum();
    freed > version.table_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::ids::TableId;
    use crate::table::properties::Properties;
    use crate::table::widest_ranges::WidestRanges;
    use crate::table::{RangeTombstones, TableInfo, UnitKind, UnitRef};
    use crate::version::{Change, FileSet, NewRun, NewTable};

    const ROW_BYTES: u64 = 4_096;

    fn table(number: u64, rows: u64, properties: Properties) -> NewTable {
        let id = TableId { file: FileId { store: 1, number }, offset: 0 };
        let top = UnitRef { kind: UnitKind::Top, offset: 0, len: 16 };
        let properties = Properties { rows, ..properties };
        NewTable {
            info: TableInfo { id, len: rows * ROW_BYTES, top, properties },
            file: number,
            base: 0,
            from: Vec::new(),
        }
    }

    /// A version of runs of these levels and rows, the newest first.
    fn version(runs: &[(u8, u64)]) -> Version {
        let run = |(idx, (level, rows)): (usize, &(u8, u64))| NewRun {
            age: (runs.len() - idx) as u64,
            level: *level,
            tables: vec![table(idx as u64, *rows, Properties::default())],
        };
        let added = runs.iter().enumerate().map(run).collect();
        Version::default().apply(&Change { added, ..Change::default() }, &FileSet::default()).expect("sound")
    }

    fn picked(runs: &[(u8, u64)]) -> Option<(Vec<u64>, u64, u8, bool)> {
        let task = pick(&version(runs), &MergeSettings::default(), 0)?;
        Some((task.inputs.iter().map(|run| run.age).collect(), task.age, task.level, task.is_oldest))
    }

    #[test]
    fn few_runs_are_left_alone() {
        assert_eq!(picked(&[]), None);
        assert_eq!(picked(&[(0, 10)]), None);
        assert_eq!(picked(&[(0, 10), (0, 10), (0, 10), (1, 1_000)]), None);
    }

    #[test]
    fn a_full_level_becomes_a_run_of_the_next_one() {
        let runs = [(0, 10), (0, 10), (0, 10), (0, 10), (1, 40), (2, 10_000)];
        assert_eq!(picked(&runs), Some((vec![6, 5, 4, 3], 3, 1, false)));
        let runs = [(0, 10), (1, 40), (1, 40), (1, 40), (1, 40), (2, 10_000)];
        assert_eq!(picked(&runs), Some((vec![5, 4, 3, 2], 2, 2, false)));
    }

    #[test]
    fn a_full_level_that_is_large_enough_is_merged_with_the_oldest_run() {
        let runs = [(0, 10), (1, 40), (1, 40), (1, 40), (1, 40), (2, 600)];
        assert_eq!(picked(&runs), Some((vec![5, 4, 3, 2, 1], 1, 3, true)));
    }

    #[test]
    fn rows_that_are_gone_make_all_runs_be_merged() {
        let of = |properties: Properties| {
            let tables = vec![table(1, 100, properties)];
            let change = Change { added: vec![NewRun { age: 1, level: 0, tables }], ..Change::default() };
            Version::default().apply(&change, &FileSet::default()).expect("sound")
        };
        let settings = MergeSettings::default();
        let tombstones = |tombstones| of(Properties { tombstones, ..Properties::default() });
        assert!(pick(&tombstones(24), &settings, 0).is_none());
        assert!(pick(&tombstones(25), &settings, 0).is_some_and(|task| task.is_oldest));
        let expiring =
            of(Properties { expiring: 100, expiry_ms_min: 1_000, expiry_ms_max: 2_000, ..Properties::default() });
        assert!(pick(&expiring, &settings, 1_400).is_none());
        assert!(pick(&expiring, &settings, 1_600).is_some());
    }

    /// A table of rows spread from one key to another, with range tombstones.
    fn spread(number: u64, rows: u64, (smallest, largest): (&str, &str), ranges: &[(&str, &str)]) -> NewTable {
        let mut tombstones = RangeTombstones::default();
        ranges.iter().for_each(|(from, to)| tombstones.push(from.as_bytes(), to.as_bytes()));
        let properties = Properties {
            smallest: smallest.into(),
            largest: largest.into(),
            range_tombstones: ranges.len() as u64,
            widest_ranges: WidestRanges::of(&tombstones),
            ..Properties::default()
        };
        table(number, rows, properties)
    }

    /// A version of runs of one table each, the newest first.
    fn layered(tables: Vec<NewTable>) -> Version {
        let ages = (1..=tables.len() as u64).rev();
        let added = tables.into_iter().zip(ages).map(|(table, age)| NewRun { age, level: 0, tables: vec![table] });
        let change = Change { added: added.collect(), ..Change::default() };
        Version::default().apply(&change, &FileSet::default()).expect("sound")
    }

    #[test]
    fn ranges_that_are_deleted_in_much_of_what_is_older_make_all_runs_be_merged() {
        let is_due = |tables| {
            let task = pick(&layered(tables), &MergeSettings::default(), 0);
            task.inspect(|task| assert!(task.is_oldest)).is_some()
        };
        let of = |ranges: &[(&str, &str)]| vec![spread(1, 0, ("a", "z"), ranges), spread(2, 1_000, ("a", "k"), &[])];
        assert!(is_due(of(&[("a", "l")])));
        assert!(is_due(of(&[("a", "g")])), "six of ten parts");
        assert!(!is_due(of(&[("a", "e")])), "four of ten parts");
        assert!(is_due(of(&[("a", "c"), ("e", "h")])), "five of ten parts in two ranges");
        assert!(!is_due(of(&[("l", "z")])), "nothing lies there");
        // What two newer runs delete is counted once, and rows between them that only one deletes count too.
        let twice = |between: u64| {
            let newest = spread(1, 0, ("a", "z"), &[("a", "e")]);
            let newer = spread(2, between, ("a", "e"), &[("b", "e")]);
            vec![newest, newer, spread(3, 1_000, ("a", "k"), &[])]
        };
        assert!(!is_due(twice(0)));
        assert!(is_due(twice(1_000)));
        // Ranges delete in older runs alone.
        assert!(!is_due(vec![spread(1, 1_000, ("a", "k"), &[("a", "z")])]));
        assert!(!is_due(vec![spread(1, 1_000, ("a", "k"), &[]), spread(2, 0, ("a", "z"), &[("a", "z")])]));
    }

    #[test]
    fn a_range_deletes_nothing_any_more_where_it_was_merged() {
        let is_due = |from: &str| {
            let cut = NewTable { from: from.into(), ..spread(1, 0, ("a", "z"), &[("a", "z")]) };
            let oldest = spread(2, 1_000, ("a", "k"), &[]);
            pick(&layered(vec![cut, oldest]), &MergeSettings::default(), 0).is_some()
        };
        assert!(is_due("c"));
        assert!(!is_due("h"));
    }

    #[test]
    fn a_merge_with_the_oldest_run_that_was_begun_goes_on() {
        let reaches_oldest = |from: &str| {
            let upper = |number| NewTable { from: from.into(), ..spread(number, 10, ("a", "k"), &[]) };
            let tables = (1..=4).map(upper).chain([spread(5, 10_000, ("a", "z"), &[])]).collect();
            pick(&layered(tables), &MergeSettings::default(), 0).map(|task| (task.is_oldest, task.from))
        };
        assert_eq!(reaches_oldest(""), Some((false, Vec::new())), "too little to write the oldest run for");
        assert_eq!(reaches_oldest("h"), Some((true, b"a".to_vec())), "a window of it was written");
    }

    #[test]
    fn a_blob_file_that_few_rows_lead_to_is_given_up() {
        use crate::blob::BlobInfo;
        use crate::table::properties::BlobUse;
        let id = FileId { store: 1, number: 50 };
        let of = |live: u64| {
            let blobs = vec![BlobUse { file: id, values: 1, bytes: live }];
            let tables = vec![table(1, 10, Properties { blobs, ..Properties::default() })];
            let info = BlobInfo { id, len: 1 << 20, values: 9, value_bytes: 1 << 20 };
            let blobs = vec![crate::version::NewBlob { info, file: 50, base: 0 }];
            let change = Change { added: vec![NewRun { age: 1, level: 0, tables }], blobs, removed: Vec::new() };
            Version::default().apply(&change, &FileSet::default()).expect("sound")
        };
        let settings = MergeSettings::default();
        assert!(pick(&of(1 << 19), &settings, 0).is_none());
        let task = pick(&of((1 << 19) - 1), &settings, 0).expect("less than half of it is live");
        assert_eq!(task.relocate, [id]);
        // Its live values must fit what may be written for that.
        let bytes_of = |relocate_bytes_max| {
            let version = of(1 << 10);
            let settings = MergeSettings { relocate_bytes_max, ..MergeSettings::default() };
            MergeTask::all(&version, &settings).expect("there are runs").relocate.len()
        };
        assert_eq!((bytes_of((1 << 10) - 1), bytes_of(1 << 10)), (0, 1));
    }

    /// Overwrites rows at random, and merges as picked: how many bytes are written and taken.
    #[test]
    fn writes_and_room_stay_within_bounds() {
        const KEYS_COUNT: u64 = 20_000;
        const FLUSH_ROWS: u64 = 200;
        let files = FileSet::default();
        let (mut version, mut contents) = (Version::default(), BTreeMap::<TableId, BTreeSet<u64>>::new());
        let (mut number, mut flushed, mut written, mut dice) = (0, 0, 0, 7_u64);
        let (mut runs_max, mut room_max) = (0, 0.0_f64);
        let mut add =
            |version: &Version, contents: &mut BTreeMap<_, _>, rows: BTreeSet<u64>, task: Option<MergeTask>| {
                number += 1;
                let new = table(number, rows.len() as u64, Properties::default());
                contents.insert(new.info.id, rows);
                let (age, level) = task.as_ref().map_or((version.next_age(), 0), |task| (task.age, task.level));
                let inputs = task.iter().flat_map(|task| &task.inputs).flat_map(|run| run.tables());
                let removed = inputs.map(|table| table.info.id).collect();
                let added = vec![NewRun { age, level, tables: vec![new] }];
                version.apply(&Change { removed, added, blobs: Vec::new() }, &files).expect("sound")
            };
        for round in 0..2_000 {
            let mut rows = BTreeSet::new();
            while (rows.len() as u64) < FLUSH_ROWS {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                rows.insert((dice >> 33) % KEYS_COUNT);
            }
            flushed += FLUSH_ROWS;
            written += FLUSH_ROWS;
            version = add(&version, &mut contents, rows, None);
            while let Some(task) = pick(&version, &MergeSettings::default(), 0) {
                let inputs = task.inputs.iter().flat_map(|run| run.tables());
                let rows: BTreeSet<u64> = inputs.flat_map(|table| contents[&table.info.id].clone()).collect();
                written += rows.len() as u64;
                version = add(&version, &mut contents, rows, Some(task));
            }
            runs_max = runs_max.max(version.runs().len());
            if round > 500 {
                room_max = room_max.max(version.table_bytes() as f64 / (KEYS_COUNT * ROW_BYTES) as f64);
            }
        }
        let writes = written as f64 / flushed as f64;
        assert!(writes < 9.0, "{writes} bytes written for each");
        assert!(room_max < 1.6, "{room_max} times the room of what is live");
        assert!(runs_max <= 11, "{runs_max} runs");
    }
}
