//! What the planner may be told to do otherwise.

use std::time::Duration;

/// The planner's limits and thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knobs {
    /// Nothing is replaced while more than this share of the nodes is missing, in percent. One may always be.
    pub missing_percent_max: u32,
    /// How many snapshots a node may receive, and how many it may send.
    pub snapshots_count_max: u32,
    /// No disk is filled beyond this by replicas that are moved there, in percent; from a disk that is fuller they are moved away.
    pub disk_percent_max: u32,
    /// Whether loads are moved so that none is much greater than others.
    pub balance: bool,
    /// Loads are moved from one to another if the greater of the two falls by at least this share of the mean, in percent.
    pub gain_percent_min: u32,
    /// A group that was moved for the sake of balance rests this long before it is moved for that again.
    pub rest: Duration,
    /// For this long it does not come back, for the sake of balance, to a node that it was moved off.
    pub no_return: Duration,
    /// What the leader of a group said this long ago counts no more.
    pub report_age_max: Duration,
    /// A replica on a sound node whose leader has not heard it for this long is lost.
    pub silence_max: Duration,
    /// How long a transfer of leadership that was asked for counts as done, whatever is reported.
    pub transfer_timeout: Duration,
    /// How many transfers of leadership are asked for in one round.
    pub transfers_count_max: usize,
    /// How fast one snapshot is sent: what a forecast takes for granted, in bytes per second. Not 0.
    pub snapshot_bytes_per_s: u64,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            missing_percent_max: 20,
            snapshots_count_max: 2,
            disk_percent_max: 80,
            balance: true,
            gain_percent_min: 5,
            rest: Duration::from_secs(300),
            no_return: Duration::from_secs(3_600),
            report_age_max: Duration::from_secs(30),
            silence_max: Duration::from_secs(600),
            transfer_timeout: Duration::from_secs(10),
            transfers_count_max: 64,
            snapshot_bytes_per_s: 64 << 20,
        }
    }
}
