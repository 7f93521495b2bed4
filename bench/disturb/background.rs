//! What the nodes tell of their background work and of their turns.

use std::net::SocketAddr;

use serde::Serialize;

use crate::client;
use crate::error::Error;
use crate::reply::Reply;

/// What was done in the background, by all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Flushes that have ended.
    pub flushes: u64,
    /// Bytes that they have written.
    pub flush_bytes: u64,
    /// Merges that have ended.
    pub merges: u64,
    /// Bytes that they have written.
    pub merge_bytes: u64,
    /// Bytes of snapshots that were sent.
    pub snapshot_bytes: u64,
    /// Snapshots that were taken into use.
    pub snapshots: u64,
}

/// The longest turn of any core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LongestTurn {
    /// How long it took, in µs.
    pub us: u64,
    /// What it was busy with, as INFO tells it.
    pub busy_with: String,
}

/// Forgets what was counted, on every core.
///
/// # Errors
/// Those of [`client::ask`].
pub fn reset(cores: &[SocketAddr]) -> Result<(), Error> {
    let done = |core: &SocketAddr| {
        client::ask(*core, &["CONFIG", "RESETSTAT"], |reply| match reply {
            Reply::Simple(b"OK") => Ok(()),
            other => Err(Error::MalformedReply { addr: core.to_string(), what: format!("RESETSTAT: {other:?}") }),
        })
    };
    cores.iter().try_for_each(done)
}

/// What was counted since the last [`reset`].
///
/// # Errors
/// Those of [`client::ask`].
pub fn ask(cores: &[SocketAddr]) -> Result<(Work, LongestTurn), Error> {
    let (mut work, mut longest) = (Work::default(), LongestTurn::default());
    for core in cores {
        let text = client::info(*core, None)?;
        work.add(&text);
        let turn = longest_turn(&text);
        if turn.us >= longest.us {
            longest = turn;
        }
    }
    Ok((work, longest))
}

impl Work {
    fn add(&mut self, info: &str) {
        let field = |name| client::info_field(info, name).unwrap_or(0);
        self.flushes += field("flushes");
        self.flush_bytes += field("flush_bytes_written");
        self.merges += field("merges");
        self.merge_bytes += field("merge_bytes_written");
        self.snapshot_bytes += field("snapshot_bytes_sent");
        self.snapshots += field("snapshots_received");
    }

    /// In a few words.
    pub fn text(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        let mut parts = Vec::new();
        if self.flushes > 0 || self.flush_bytes > 0 {
            parts.push(format!("{} flushes of {} MiB", self.flushes, mib(self.flush_bytes)));
        }
        if self.merges > 0 || self.merge_bytes > 0 {
            parts.push(format!("{} merges of {} MiB", self.merges, mib(self.merge_bytes)));
        }
        if self.snapshots > 0 || self.snapshot_bytes > 0 {
            parts.push(format!("{} snapshots, {} MiB sent", self.snapshots, mib(self.snapshot_bytes)));
        }
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}

/// Reads `turn_longest:us=1234,phase=input,phase_us=...`.
fn longest_turn(info: &str) -> LongestTurn {
    let line = info.lines().find_map(|line| line.strip_prefix("turn_longest:")).unwrap_or_default().trim();
    let field = |name: &str| line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let number = |name| field(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let others: Vec<String> = ["commands", "applied", "forwarded", "frames"]
        .into_iter()
        .filter(|name| number(name) > 0)
        .map(|name| format!("{} {name}", number(name)))
        .collect();
    let mut busy_with = format!("{} {} us", field("phase").unwrap_or("?"), number("phase_us"));
    if !others.is_empty() {
        busy_with.push_str(&format!("; {}", others.join(", ")));
    }
    LongestTurn { us: number("us"), busy_with }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Coracle\r\nflushes:3\r\nflush_bytes_written:4194304\r\nmerges:1\r\nmerge_bytes_written:9\r\n\
        snapshots_received:0\r\nturn_us_max:812\r\nturn_longest:us=812,phase=groups,phase_us=700,commands=12,applied=40,\
        forwarded=0,requeued=0,frames=2\r\n";

    #[test]
    fn work_of_all_nodes_adds_up() {
        let mut work = Work::default();
        work.add(INFO);
        work.add(INFO);
        assert_eq!((work.flushes, work.merges, work.snapshots), (6, 2, 0));
        assert_eq!(work.text(), "6 flushes of 8 MiB, 2 merges of 0 MiB");
        assert_eq!(Work::default().text(), "none");
    }

    #[test]
    fn the_longest_turn_tells_what_it_was_busy_with() {
        let turn = longest_turn(INFO);
        assert_eq!(
            turn,
            LongestTurn { us: 812, busy_with: "groups 700 us; 12 commands, 40 applied, 2 frames".into() }
        );
        assert_eq!(longest_turn("nothing").us, 0);
    }
}
