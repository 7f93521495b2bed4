//! Rounds whose outcome is forced, compared one by one.

use crate::cluster::{Cluster, Cuts, Dice, Record, Replica, View};
use crate::ours::Ours;
use crate::theirs::Theirs;

/// Schedules run by default; more with `COMPARE_SCHEDULES`.
const SCHEDULES: u64 = 3_000;
const ROUNDS: u64 = 12;

/// How often the schedules reached what they are meant to reach.
#[derive(Debug, Default)]
struct Reached {
    elections_won: u64,
    elections_lost: u64,
    leaders_side_by_side: u64,
    committed: u64,
    replaced: u64,
    lost_in_crash: u64,
    taken_over: u64,
}

/// Both clusters, and what they have in common so far.
struct Pair {
    seed: u64,
    count: u64,
    dice: Dice,
    ours: Cluster<Ours>,
    theirs: Cluster<Theirs>,
    /// What both look like after the last round.
    views: Vec<View>,
    /// Everything committed so far.
    committed: Vec<Record>,
    payload: u64,
}

/// Does the same to a replica of both clusters.
macro_rules! both {
    ($pair:expr, $id:expr, $order:ident($($argument:expr),*)) => {{
        $pair.ours.replica($id).$order($($argument),*);
        $pair.theirs.replica($id).$order($($argument),*);
    }};
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let mut dice = Dice(seed);
        let count = dice.pick(&[3, 3, 4, 5]);
        let narrow = dice.chance(30);
        let (ours, theirs) = (Cluster::new(count, narrow), Cluster::new(count, narrow));
        let views = ours.views();
        Pair { seed, count, dice, ours, theirs, views, committed: Vec::new(), payload: 0 }
    }

    fn leaders(&self) -> Vec<u64> {
        (1..=self.count).filter(|id| self.views[*id as usize - 1].leads).collect()
    }

    fn term(&self, id: u64) -> u64 {
        self.views[id as usize - 1].term
    }

    fn cuts(&mut self) -> Cuts {
        let mut cuts = Cuts::default();
        if self.dice.chance(30) {
            return cuts;
        }
        for one in 1..=self.count {
            for other in one + 1..=self.count {
                if self.dice.chance(35) {
                    cuts.0.insert((one, other));
                }
            }
        }
        cuts
    }

    fn round(&mut self, reached: &mut Reached) {
        let cuts = self.cuts();
        let silenced = match self.dice.below(11) {
            0..=3 => self.campaign(&cuts, reached),
            4..=8 => self.propose(&cuts),
            9 => {
                self.dismiss_leaders(&cuts, None);
                for id in 1..=self.count {
                    if self.dice.chance(70) {
                        both!(self, id, compact());
                    }
                }
                Vec::new()
            }
            _ => {
                self.dismiss_leaders(&cuts, None);
                let id = 1 + self.dice.below(self.count);
                both!(self, id, restart());
                Vec::new()
            }
        };
        let order = self.dice.roll();
        self.ours.come_to_rest(&cuts, order);
        self.theirs.come_to_rest(&cuts, order);
        for id in silenced {
            if self.dice.chance(50) {
                reached.lost_in_crash += 1;
                both!(self, id, restart());
            } else {
                both!(self, id, resume());
            }
        }
        self.ours.come_to_rest(&cuts, !order);
        self.theirs.come_to_rest(&cuts, !order);
        self.compare(&cuts, reached);
    }

    /// Somebody campaigns who knows no lower term than those within its reach.
    fn campaign(&mut self, cuts: &Cuts, reached: &mut Reached) -> Vec<u64> {
        let fits =
            |id: &u64| (1..=self.count).all(|other| !cuts.connects(*id, other) || self.term(other) <= self.term(*id));
        let among: Vec<u64> = (1..=self.count).filter(fits).collect();
        let candidate = self.dice.pick(&among);
        self.dismiss_leaders(cuts, Some(candidate));
        for id in (1..=self.count).filter(|id| !self.views[*id as usize - 1].leads) {
            both!(self, id, forget_leader());
        }
        both!(self, candidate, campaign());
        reached.elections_lost += 1;
        Vec::new()
    }

    /// A leader takes commands. Meanwhile the disks of some make nothing durable; returns whose. It is either the
    /// leader's or those of followers: what a leader that crashes has brought to a follower that is silent is not
    /// forced.
    fn propose(&mut self, cuts: &Cuts) -> Vec<u64> {
        let leaders = self.dismiss_leaders(cuts, None);
        if leaders.is_empty() {
            return Vec::new();
        }
        let leader = self.dice.pick(&leaders);
        let silenced: Vec<u64> = if self.dice.chance(15) {
            vec![leader]
        } else {
            (1..=self.count).filter(|id| !leaders.contains(id) && self.dice.chance(20)).collect()
        };
        for id in &silenced {
            both!(self, *id, stall());
        }
        for _ in 0..=self.dice.below(4) {
            self.payload += 1;
            both!(self, leader, propose(self.payload));
        }
        silenced
    }

    /// Leaders resign whose last deeds would not be forced: how much one brings to others before it is deposed. One
    /// stays that nobody will depose in this round, or that reaches nobody who would still listen to it. A leader
    /// that is asked for its vote resigns, too. Returns who stays.
    fn dismiss_leaders(&mut self, cuts: &Cuts, candidate: Option<u64>) -> Vec<u64> {
        let mut stay = Vec::new();
        for leader in self.leaders() {
            let term = self.term(leader);
            let neighbours: Vec<u64> =
                (1..=self.count).filter(|id| *id != leader && cuts.connects(*id, leader)).collect();
            let around = cuts.component(leader, self.count);
            let alone = around.iter().all(|id| *id == leader || !self.views[*id as usize - 1].leads);
            let undisputed = around.iter().all(|id| self.term(*id) <= term);
            let stays = match candidate.filter(|candidate| around.contains(candidate)) {
                None if undisputed && alone => true,
                Some(candidate) if undisputed && alone && candidate != leader => {
                    !neighbours.contains(&candidate) && neighbours.iter().all(|id| cuts.connects(*id, candidate))
                }
                candidate => {
                    let asked = candidate.is_some_and(|id| id == leader || neighbours.contains(&id));
                    !asked && neighbours.iter().all(|id| self.term(*id) > term)
                }
            };
            if stays {
                stay.push(leader);
            } else {
                both!(self, leader, resign());
                self.views[leader as usize - 1].leads = false;
            }
        }
        stay
    }

    fn compare(&mut self, cuts: &Cuts, reached: &mut Reached) {
        let (ours, theirs) = (self.ours.views(), self.theirs.views());
        for (idx, (one, other)) in ours.iter().zip(&theirs).enumerate() {
            let within_reach = |id: &u64| ours[*id as usize - 1].leads && cuts.connects(*id, idx as u64 + 1);
            let mut other = other.clone();
            if !(1..=self.count).any(|id| within_reach(&id)) {
                other.commit = one.commit;
            }
            assert_eq!(
                one,
                &other,
                "seed {}, replica {}, cuts {cuts:?}, left ours, right theirs",
                self.seed,
                idx + 1
            );
        }
        let before = std::mem::replace(&mut self.views, ours);
        self.note(&before, reached);
        for view in self.views.iter().chain(&theirs) {
            self.committed = agree(std::mem::take(&mut self.committed), &view.log[..view.commit], self.seed);
        }
    }

    fn note(&self, before: &[View], reached: &mut Reached) {
        let pairs = || before.iter().zip(&self.views);
        let won = pairs().filter(|(old, new)| new.leads && (!old.leads || old.term < new.term)).count() as u64;
        reached.elections_won += won;
        reached.elections_lost = reached.elections_lost.saturating_sub(won);
        reached.leaders_side_by_side += u64::from(self.leaders().len() > 1);
        reached.replaced += pairs().filter(|(old, new)| !new.log.starts_with(&old.log)).count() as u64;
        let most = |views: &[View]| views.iter().map(|view| view.commit).max().unwrap_or(0);
        reached.committed += most(&self.views).saturating_sub(most(before)) as u64;
    }
}

/// What is committed grows at its end and never changes, whoever tells of it.
fn agree(committed: Vec<Record>, told: &[Record], seed: u64) -> Vec<Record> {
    let common = committed.len().min(told.len());
    assert_eq!(committed[..common], told[..common], "seed {seed}: what is committed has changed");
    if told.len() > common { told.to_vec() } else { committed }
}

#[test]
fn rounds_end_alike() {
    let count = std::env::var("COMPARE_SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(SCHEDULES);
    let mut reached = Reached::default();
    for seed in 1..=count {
        let mut pair = Pair::new(seed);
        for _ in 0..ROUNDS {
            pair.round(&mut reached);
        }
        reached.taken_over += (1..=pair.count).map(|id| pair.ours.replica(id).taken_over).sum::<u64>();
    }
    println!("{count} schedules: {reached:?}");
    let Reached { elections_won, elections_lost, leaders_side_by_side, committed, replaced, .. } = reached;
    let Reached { lost_in_crash, taken_over, .. } = reached;
    let often = [elections_won, elections_lost, committed, lost_in_crash];
    let rarely = [leaders_side_by_side, replaced, taken_over];
    let reached_all =
        often.iter().all(|times| *times >= count / 4) && rarely.iter().all(|times| *times >= count / 50);
    assert!(reached_all, "the schedules do not reach everything: {reached:?}");
}
