//! When the next batches are proposed, once the log could take them.
//!
//! While one block of the log is being written the next batches form. In a closed loop of clients two cohorts come of that: those
//! that wait for the block, and those whose commands come meanwhile and wait for it to end. Each waits for the other's sync, so a command
//! takes two of them, and each sync makes half of what it could durable. If the next block waited, when one has ended, until those just
//! answered have sent again, both cohorts would share it from then on.
//!
//! That costs the time in which they come back, and saves a sync. So a core measures both: how long its blocks take, and how long
//! after a block's end as many commands have come as were in it. Only if the second is clearly the shorter one the core holds its batches when
//! its log falls idle, until those commands are there, and never for longer than a sync. Where clients do not come back that soon (they have
//! something else to do, the network is slow, the disk is fast and the CPU is what everybody waits for) nothing is held. A lone
//! client never waits: its command is all that the last block had.
//!
//! All this concerns groups without other replicas. Others do not wait for the own log alone, and have another way out:
//! [`Groups::propose`](super::Groups::propose).

use std::time::Duration;

use types::Instant;

/// Batches are held only if clients come back within so much of a sync: the rest is what can be won.
const RETURN_SHARE_MAX: f64 = 0.75;
/// How much longer than as a rule clients may take.
const PATIENCE: u32 = 2;
/// Nothing is held for longer than this, however slow the disk is.
const HOLD_MAX: Duration = Duration::from_millis(10);
/// One over the weight of the newest sample in the means.
const SMOOTHING: u32 = 8;
/// One in so many may be late: a client that has left holds up nobody.
const LATE_SHARE: u32 = 8;

/// Decides whether batches wait for more commands.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Commands that have joined batches since something was last proposed.
    joined_count: u32,
    /// Commands that were last proposed, with a block that has not ended.
    proposed_count: u32,
    /// The block that has ended last, until as many commands have come as were in it.
    returning: Option<Returning>,
    /// Batches are held.
    hold: Option<Hold>,
    /// Mean time in which a block becomes durable.
    sync: Duration,
    /// Mean time after a block's end in which as many commands come as were in it.
    returns: Duration,
}

/// Commands that are waited for, since those of a block were answered.
#[derive(Debug)]
struct Returning {
    since: Instant,
    left_count: u32,
}

#[derive(Debug)]
struct Hold {
    /// How many commands are to have joined.
    wanted_count: u32,
    /// Or what time it is to be.
    until: Instant,
}

impl Gather {
    /// A command has joined a batch.
    pub(super) fn joined(&mut self, now: Instant) {
        self.joined_count = self.joined_count.saturating_add(1);
        let Some(returning) = &mut self.returning else { return };
        returning.left_count -= 1;
        if returning.left_count == 0 {
            let took = now.since(returning.since);
            self.returned(took);
        }
    }

    fn returned(&mut self, took: Duration) {
        self.returning = None;
        smooth(&mut self.returns, took);
    }

    /// What has collected is proposed.
    pub(super) fn proposed(&mut self) {
        self.proposed_count = self.joined_count;
        self.joined_count = 0;
        self.hold = None;
    }

    /// A block has become durable `took` after its write began, and none is being written.
    pub(super) fn block_ended(&mut self, took: Duration, now: Instant) {
        smooth(&mut self.sync, took);
        let answered = std::mem::take(&mut self.proposed_count);
        if answered == 0 {
            return;
        }
        if let Some(late) = &self.returning {
            // Nobody knows how long it would have taken.
            let took = now.since(late.since) * 2;
            self.returned(took);
        }
        let left_count = answered - answered / LATE_SHARE;
        self.returning = Some(Returning { since: now, left_count });
        if !self.returns.is_zero() && self.returns <= self.sync.mul_f64(RETURN_SHARE_MAX) {
            let wait = (self.returns * PATIENCE).min(self.sync).min(HOLD_MAX);
            let wanted_count = self.joined_count.saturating_add(left_count);
            self.hold = Some(Hold { wanted_count, until: now + wait });
        }
    }

    /// Whether batches are to wait a little longer.
    pub(super) fn holds(&mut self, now: Instant) -> bool {
        self.hold.take_if(|hold| self.joined_count >= hold.wanted_count || now >= hold.until);
        self.hold.is_some()
    }

    /// Until when batches are held at most, if that is still to come: the core must wake then. What waits for something else by now,
    /// a block or room in the log, needs no waking for this.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.hold.as_ref().map(|hold| hold.until).filter(|until| *until > now)
    }
}

fn smooth(mean: &mut Duration, sample: Duration) {
    *mean = if mean.is_zero() { sample } else { (*mean * (SMOOTHING - 1) + sample) / SMOOTHING };
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A core with `clients` of which each sends again `think` after it was answered, on a disk that takes `sync`. What each block
    /// of a run holds, behind the first ones.
    fn blocks(clients: u32, sync: Duration, think: impl Fn(u32) -> Duration) -> Vec<u32> {
        let mut gather = Gather::default();
        let mut now = Instant::ZERO;
        let mut arrivals: Vec<Instant> = (0..clients).map(|client| now + MS / 10 * client).collect();
        let (mut batch, mut block, mut ends) = (0, 0, None);
        let mut sizes = Vec::new();
        while sizes.len() < 400 {
            let held = gather.until(now).filter(|_| batch > 0 && ends.is_none());
            let next = arrivals.iter().copied().chain(ends).chain(held).min().expect("clients never end");
            now = now.max(next);
            if ends == Some(now) {
                ends = None;
                gather.block_ended(sync, now);
                sizes.push(block);
                arrivals.extend((0..block).map(|client| now + think(client)));
            }
            let before = arrivals.len();
            arrivals.retain(|at| *at > now);
            for _ in arrivals.len()..before {
                gather.joined(now);
                batch += 1;
            }
            if batch > 0 && ends.is_none() && !gather.holds(now) {
                gather.proposed();
                (block, batch) = (batch, 0);
                ends = Some(now + sync);
            }
        }
        sizes.split_off(100)
    }

    fn mean(sizes: &[u32]) -> f64 {
        f64::from(sizes.iter().sum::<u32>()) / sizes.len() as f64
    }

    #[test]
    fn two_cohorts_become_one_where_clients_come_back_sooner_than_a_sync_takes() {
        let sizes = blocks(50, 4 * MS, |client| MS / 50 * client);
        assert!(mean(&sizes) > 40.0, "{}", mean(&sizes));
        let alike = blocks(8, MS, |_| MS / 4);
        assert!(mean(&alike) > 7.0, "{}", mean(&alike));
    }

    #[test]
    fn nothing_is_held_where_clients_take_longer_than_a_sync() {
        let mut gather = Gather::default();
        let mut now = Instant::ZERO;
        for _ in 0..100 {
            for _ in 0..8 {
                gather.joined(now);
            }
            gather.proposed();
            now += MS / 10;
            gather.block_ended(MS / 10, now);
            assert!(!gather.holds(now));
            now += MS;
        }
    }

    #[test]
    fn a_lone_client_never_waits() {
        let mut gather = Gather::default();
        let mut now = Instant::ZERO;
        for _ in 0..100 {
            gather.joined(now);
            assert!(!gather.holds(now));
            gather.proposed();
            now += 4 * MS;
            gather.block_ended(4 * MS, now);
            now += MS / 10;
        }
    }

    #[test]
    fn clients_that_stay_away_are_waited_for_once_or_twice_and_never_longer_than_a_sync() {
        let mut gather = Gather { sync: 4 * MS, returns: MS, ..Gather::default() };
        let mut now = Instant::ZERO;
        let mut held = 0;
        // They come back after more than a sync.
        for _ in 0..20 {
            (0..8).for_each(|_| gather.joined(now));
            gather.proposed();
            now += 4 * MS;
            gather.joined(now);
            gather.block_ended(4 * MS, now);
            if gather.holds(now) {
                held += 1;
                now = gather.until(now).unwrap();
                assert!(!gather.holds(now));
            }
            now += 6 * MS;
        }
        assert!(held <= 4, "{held}");
    }

    #[test]
    fn who_comes_back_late_once_is_not_waited_for_without_end() {
        let mut gather = Gather { sync: 400 * MS, returns: 40 * MS, ..Gather::default() };
        gather.joined(Instant::ZERO);
        gather.joined(Instant::ZERO);
        gather.proposed();
        gather.block_ended(400 * MS, Instant::ZERO);
        assert_eq!(gather.until(Instant::ZERO), Some(Instant::ZERO + HOLD_MAX));
        // A core that was woken then and may not propose yet would wake again and again.
        assert_eq!(gather.until(Instant::ZERO + HOLD_MAX), None);
    }
}
