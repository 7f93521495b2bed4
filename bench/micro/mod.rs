//! What a command costs where the keys lie, without network, log and replicas: nanoseconds per command and bytes per key; and
//! how fast rows are read from their tables on disk.
//!
//! Several tables are measured in one run, and every round measures all of them, so that noise meets all alike. The medians
//! over the rounds are reported with the lowest and the highest. A command is executed as the engine does it: from the
//! arguments of a batch, with its reply written or dropped.
//!
//! Reading order: [`script`] (commands as a batch holds them), [`tables`] (what is measured), [`memory_disk`] and [`scan`] (rows
//! on disk), [`report`] (what is printed).

pub mod memory_disk;
pub mod report;
pub mod scan;
pub mod script;
pub mod tables;

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use resp::CommandId;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::load::rng::{Rng, mix};
use report::{Figure, Quantity};
use script::Script;
use tables::Table;

/// Commands that are timed at once. Their arguments fit in the second-level cache of any machine of today at short values, and
/// looking at the clock twice costs nothing beside them.
const COMMANDS_PER_SCRIPT: usize = 1_024;
/// Bytes of a key: `key:` and twelve digits.
const KEY_BYTES: usize = 16;

/// What to measure, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many keys a table holds.
    pub keys_count: u32,
    /// The length of a value, in bytes.
    pub value_bytes: usize,
    /// How many commands of each kind a round executes, the insertions excepted, of which each key needs one.
    pub commands_count: u32,
    /// How often everything is measured.
    pub rounds: usize,
}

/// A kind of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// `SET` of every key once, in no order, into an empty table.
    Insert,
    /// `SET` of keys that exist, by chance, with values of the same length.
    Overwrite,
    /// `GET` of keys that exist, by chance.
    Hit,
    /// `GET` of keys that do not.
    Miss,
    /// `INCR` of counters, by chance: a tenth as many of them as keys.
    Increment,
    /// `DEL` of every key once, in no order.
    Delete,
}

impl Load {
    /// All of them, in the order of a round: the first fills the table, the last empties it.
    pub const ALL: [Load; 6] = [Load::Insert, Load::Overwrite, Load::Hit, Load::Miss, Load::Increment, Load::Delete];

    fn command(self) -> CommandId {
        match self {
            Load::Insert | Load::Overwrite => CommandId::Set,
            Load::Hit | Load::Miss => CommandId::Get,
            Load::Increment => CommandId::Incr,
            Load::Delete => CommandId::Del,
        }
    }
}

/// Measures all tables and the scans, and prints what came out, as a table or as JSON.
pub fn run(options: &Options, as_json: bool, stop: &AtomicBool) -> Result<(), Error> {
    let bar = if as_json { ProgressBar::hidden() } else { ProgressBar::new(0) };
    let names: Vec<&str> = tables::NAMES.into_iter().chain([scan::NAME]).collect();
    bar.set_length((options.rounds * names.len()) as u64);
    let mut figures = Vec::new();
    for round in 0..options.rounds {
        for at in 0..names.len() {
            // Nobody is always the first.
            let name = names[(at + round) % names.len()];
            figures.extend(measure_apart(options, name, stop)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let rows = report::medians(&figures);
    if as_json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("numbers and texts are JSON"));
    } else {
        print!("{}", report::render(options, &rows));
    }
    Ok(())
}

/// One round of one table, or of the scans, in a process of its own, whose memory nobody has used before.
fn measure_apart(options: &Options, name: &str, stop: &AtomicBool) -> Result<Vec<Figure>, Error> {
    let doing = "measuring in a process of its own";
    let output = Command::new(env::current_exe().map_err(Error::os("finding this program"))?)
        .args(["micro", "--round-of", name])
        .args(["--keys", &options.keys_count.to_string(), "--value-bytes", &options.value_bytes.to_string()])
        .args(["--requests", &options.commands_count.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(Error::os(doing))?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let figures = if output.status.success() { serde_json::from_slice(&output.stdout).ok() } else { None };
    figures.ok_or_else(|| Error::Server {
        name: format!("coracle-bench micro --round-of {name}"),
        what: output.status.to_string(),
        log: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

/// Measures one round of one table, or of the scans, and prints the figures as JSON.
pub fn run_round(options: &Options, name: &str, stop: &AtomicBool) -> Result<(), Error> {
    let figures = if name == scan::NAME { scan::measure(options, stop)? } else { measure(options, name, stop)? };
    println!("{}", serde_json::to_string(&figures).expect("numbers and texts are JSON"));
    Ok(())
}

/// One round of one table.
fn measure(options: &Options, name: &str, stop: &AtomicBool) -> Result<Vec<Figure>, Error> {
    let mut figures = Vec::new();
    let mut note = |quantity, value| figures.push(Figure { table: name.to_owned(), quantity, value });
    let resident_before = resident_bytes()?;
    let mut table = tables::new(name)?;
    for load in Load::ALL {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let (took, commands_count) = execute(options, load, table.as_mut());
        note(Quantity::Load(load), took.as_nanos() as f64 / f64::from(commands_count));
        if load == Load::Insert {
            let grown = resident_bytes()?.saturating_sub(resident_before);
            let keys = f64::from(options.keys_count);
            note(Quantity::ResidentPerKey, grown as f64 / keys);
            note(Quantity::CountedPerKey, table.bytes() as f64 / keys);
        }
    }
    assert_eq!(table.keys_count(), 0, "a table lost a key or kept one");
    Ok(figures)
}

/// Executes the commands of a load. Returns how long that took without the preparations, and how many there were.
fn execute(options: &Options, load: Load, table: &mut dyn Table) -> (Duration, u32) {
    let keys_count = options.keys_count;
    let counters_count = (keys_count / 10).max(1);
    let every_key = matches!(load, Load::Insert | Load::Delete);
    let increments = if load == Load::Delete { counters_count } else { 0 };
    let commands_count = if every_key { keys_count + increments } else { options.commands_count };
    let order = Order::new(keys_count);
    let mut rng = Rng::new(u64::from(keys_count) ^ load as u64);
    let value = vec![b'v'; options.value_bytes];
    let mut replies = Vec::new();
    let mut script = Script::new(load.command());
    let mut took = Duration::ZERO;
    let mut done = 0;
    while done < commands_count {
        script.clear();
        replies.clear();
        while done < commands_count && script.len() < COMMANDS_PER_SCRIPT {
            let key = match load {
                Load::Delete if done >= keys_count => key_of("cnt:", done - keys_count),
                Load::Insert | Load::Delete => key_of("key:", order.at(done)),
                Load::Overwrite | Load::Hit => key_of("key:", rng.below(keys_count)),
                Load::Miss => key_of("not:", rng.below(keys_count)),
                // The first ones make all counters, so that as many are there at the end as are deleted.
                Load::Increment if done < counters_count => key_of("cnt:", done),
                Load::Increment => key_of("cnt:", rng.below(counters_count)),
            };
            script.push(&key, (load.command() == CommandId::Set).then_some(&value));
            done += 1;
        }
        let before = Instant::now();
        table.execute(&script, &mut replies);
        took += before.elapsed();
        black_box(&replies);
    }
    (took, commands_count)
}

/// A key of a prefix and a number.
pub(crate) fn key_of(prefix: &str, number: u32) -> [u8; KEY_BYTES] {
    let mut key = *b"0000000000000000";
    key[..prefix.len()].copy_from_slice(prefix.as_bytes());
    let (mut at, mut rest) = (KEY_BYTES, number);
    while rest > 0 {
        at -= 1;
        key[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// The numbers below a bound, each once, in an order that looks like chance.
struct Order {
    count: u32,
    step: u64,
}

impl Order {
    fn new(count: u32) -> Order {
        let count_wide = u64::from(count);
        // About the golden ratio of the count, and without a common divisor.
        let mut step = (mix(count_wide) % count_wide).max(count_wide * 5 / 8).max(1);
        while gcd(step, count_wide) != 1 {
            step += 1;
        }
        Order { count, step }
    }

    fn at(&self, place: u32) -> u32 {
        (u64::from(place) * self.step % u64::from(self.count)) as u32
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Bytes of this process that are in memory.
fn resident_bytes() -> Result<usize, Error> {
    let text = fs::read_to_string("/proc/self/statm").map_err(Error::os("reading /proc/self/statm"))?;
    let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_comes_once() {
        for count in [1, 2, 10, 1_000, 4_096] {
            let order = Order::new(count);
            let mut seen: Vec<u32> = (0..count).map(|place| order.at(place)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn keys_are_sixteen_bytes_and_differ() {
        assert_eq!(&key_of("key:", 0), b"key:000000000000");
        assert_eq!(&key_of("key:", 4_000_000_007), b"key:004000000007");
    }

    #[test]
    fn a_round_of_scans_reads_every_key() {
        let options = Options { keys_count: 3_000, value_bytes: 64, commands_count: 1, rounds: 1 };
        let figures = scan::measure(&options, &AtomicBool::new(false)).expect("a round");
        assert!(figures.len() == 3 && figures.iter().all(|figure| figure.value > 0.0), "{figures:?}");
    }

    #[test]
    fn a_round_of_every_table_ends_with_all_its_figures() {
        let options = Options { keys_count: 3_000, value_bytes: 64, commands_count: 5_000, rounds: 1 };
        for name in tables::NAMES {
            let figures = measure(&options, name, &AtomicBool::new(false)).expect("a round");
            assert_eq!(figures.len(), Load::ALL.len() + 2);
            let counted = figures.iter().find(|figure| figure.quantity == Quantity::CountedPerKey).expect("counted");
            assert!(counted.value > 80.0, "key and value at least: {}", counted.value);
        }
    }
}
