//! Two cores, one of which hands snapshots to the other, under anything that may happen to them, crashes at any change of
//! the disk included. The states are looked at whenever a core starts, and in the end.

use proptest::prelude::*;
use types::{CoreAddr, NodeId};

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config, exchange};
use crate::budget::Pool;
use crate::config::Config;
use crate::origin::LinkId;

const GROUPS: usize = 2;
const LINK: LinkId = LinkId(0);

#[derive(Clone, Debug)]
enum Step {
    /// Entries of a group of the first core, or of the other one.
    Append {
        of_leader: bool,
        group: usize,
        count: u64,
    },
    Turns(usize),
    /// The second core is offered the newest snapshot of a group.
    Offer {
        group: usize,
    },
    /// A core crashes behind this many more changes of its disk.
    Crash {
        of_leader: bool,
        changes: usize,
    },
    /// The log's writes of a core stand still for a while.
    Stall {
        of_leader: bool,
        turns: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let group = 1..=GROUPS;
    prop_oneof![
        6 => (any::<bool>(), group.clone(), 1..80u64)
            .prop_map(|(of_leader, group, count)| Step::Append { of_leader, group, count }),
        6 => (1..30usize).prop_map(Step::Turns),
        3 => group.prop_map(|group| Step::Offer { group }),
        3 => (any::<bool>(), 0..60usize).prop_map(|(of_leader, changes)| Step::Crash { of_leader, changes }),
        1 => (any::<bool>(), 1..20usize).prop_map(|(of_leader, turns)| Step::Stall { of_leader, turns }),
    ]
}

struct Pair {
    leader: FakeCore,
    follower: FakeCore,
}

impl Pair {
    fn start() -> Pair {
        let tuned = |node| Config { log_tail_bytes_max: 20_000, ..config(node, GROUPS) };
        let leader = FakeCore::start(FakeHost::default(), tuned(1));
        let mut pair = Pair { leader, follower: FakeCore::start(FakeHost::default(), tuned(2)) };
        pair.link();
        pair
    }

    fn link(&mut self) {
        let addr = |node| CoreAddr { node: NodeId(node), ..self.leader.config.place };
        let (leader, follower) = (addr(1), addr(2));
        self.leader.storage.link_state(LINK, follower, true);
        self.follower.storage.link_state(LINK, leader, true);
    }

    fn core(&mut self, of_leader: bool) -> &mut FakeCore {
        if of_leader { &mut self.leader } else { &mut self.follower }
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.leader.turn();
            self.follower.turn();
            exchange(&mut self.follower, &mut self.leader);
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append { of_leader, group, count } => self.core(of_leader).append(group, count),
            Step::Turns(count) => self.turns(count),
            Step::Offer { group } => {
                let newest = self.leader.storage.snapshot_index(group);
                let follower = &mut self.follower;
                if newest > follower.replicas.list[group].applied {
                    let id = follower.replicas.list[group].id;
                    follower.append(group, 0);
                    follower.storage.want_snapshot(id, LINK, newest);
                }
            }
            Step::Crash { of_leader, changes } => {
                self.core(of_leader).host.stop_after(changes);
                self.turns(10);
                let core = self.core(of_leader);
                let durable: Vec<u64> = core.replicas.list.iter().map(|replica| replica.durable).collect();
                let again = core.restart();
                assert!(again.quarantined.is_empty());
                for (group, durable) in durable.into_iter().enumerate() {
                    assert!(again.replicas.list[group].last >= durable, "what was acknowledged is there");
                    again.check_state(group);
                }
                // It goes on while its rows are still coming back.
                *core = core.restart_cold();
                self.link();
                // What was on its way is lost.
                self.leader.said.clear();
                self.follower.said.clear();
            }
            Step::Stall { of_leader, turns } => {
                self.core(of_leader).disk_writes = false;
                self.turns(turns);
                self.core(of_leader).disk_writes = true;
            }
        }
    }

    fn finish(&mut self) {
        for _ in 0..40 {
            self.turns(20);
        }
        for core in [&mut self.leader, &mut self.follower] {
            core.settle();
            for group in 0..=GROUPS {
                core.check_state(group);
                assert_eq!(core.replicas.list[group].applied, core.replicas.list[group].last);
            }
            assert_eq!(core.ctx.budget.used_by(Pool::Log), 0);
            let mut again = core.restart();
            assert!(again.quarantined.is_empty());
            again.settle();
            for group in 0..=GROUPS {
                assert_eq!(again.replicas.list[group].applied, core.replicas.list[group].applied);
                again.check_state(group);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_happens_every_core_starts_on_what_it_has_acknowledged(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut pair = Pair::start();
        steps.iter().for_each(|step| pair.take(step));
        pair.finish();
    }
}
