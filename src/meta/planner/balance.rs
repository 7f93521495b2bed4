//! Bytes, leaders and cores: what is moved so that none has much more than others. [`Rule`] says when.
//!
//! A group moves for this only if all of its members are there, and if it rests no more. Each step makes the highest of the levels that it is
//! for less. Steps for bytes look neither at leaders nor at cores, and steps for leaders and cores move no bytes: so all of it ends.

use std::collections::BTreeSet;

use types::{CoreAddr, CoreId, GroupId, ReplicaId};

use crate::planner::duties::transfers_count;
use crate::planner::layout::Layout;
use crate::planner::reason::Reason;
use crate::planner::rule::{Bin, Rule};
use crate::planner::step::{Action, Plan, Purpose, Step};

/// If more than one group in so many has never reported its load, nothing is balanced: the loads of nodes would be wrong.
const UNREPORTED_SHARE_MAX: usize = 20;

/// How much a round looks at for the sake of bytes, in pairs of a replica and a node: beyond that a later round goes on.
const LOOKS_COUNT_MAX: usize = 2_000_000;

impl Layout<'_> {
    /// Plans what makes loads more alike.
    pub(super) fn balance(&mut self, plan: &mut Plan) {
        if self.unreported().count() * UNREPORTED_SHARE_MAX > self.groups.len() {
            plan.unreported = self.unreported().collect();
            return;
        }
        self.balance_bytes(plan);
        self.balance_leaders(plan);
        self.balance_cores(plan);
    }

    /// Whether a group may be moved for the sake of balance in this round: all of its members are heard, and it does not rest. Group 0 never is:
    /// whoever leads it plans, and would begin anew each time.
    fn is_movable(&self, group: usize) -> bool {
        let state = &self.groups[group];
        let is_whole = state.fresh().is_some_and(|report| report.silent.is_empty() && report.behind.is_empty());
        is_whole && state.is_settled && !state.is_taken && !state.rests && state.spec.id != GroupId(0)
    }

    fn balance_bytes(&mut self, plan: &mut Plan) {
        let open: Vec<usize> = self.open_nodes().collect();
        let rule =
            Rule::new(open.iter().map(|node| self.nodes[*node].bytes_bin()), self.input.knobs.gain_percent_min);
        let mut exhausted = BTreeSet::new();
        let mut looks_left = LOOKS_COUNT_MAX;
        loop {
            let givers = open.iter().copied().filter(|node| !exhausted.contains(node));
            let fullest = givers.max_by_key(|node| (self.nodes[*node].bytes_bin().level(), std::cmp::Reverse(*node)));
            let Some(from) = fullest else { break };
            let purpose = Purpose::Bytes(self.nodes[from].spec.id);
            match self.best_bytes_move(rule, &open, from, &mut looks_left) {
                Ok((group, nth, target)) => self.replace_at(plan, purpose, group, nth, target),
                Err(waiting) => {
                    exhausted.insert(from);
                    waiting
                        .into_iter()
                        .for_each(|(reason, group)| plan.wait(purpose, reason, self.groups[group].spec.id));
                }
            }
        }
    }

    /// The best move from this node: to the emptiest node that may have something just now.
    ///
    /// # Errors
    /// The groups that wait, and for what.
    fn best_bytes_move(
        &self,
        rule: Rule,
        open: &[usize],
        from: usize,
        looks_left: &mut usize,
    ) -> Result<(usize, usize, usize), Vec<(Reason, usize)>> {
        let giver = self.nodes[from].bytes_bin();
        let mut targets: Vec<usize> = open.iter().copied().filter(|node| *node != from).collect();
        targets.retain(|node| rule.is_uneven(giver, self.nodes[*node].bytes_bin()));
        targets.sort_by_key(|node| (self.nodes[*node].bytes_bin().level(), *node));
        let replicas = self.nodes[from].replicas.iter().copied();
        let movable: Vec<(usize, usize)> = replicas.filter(|(group, _)| self.is_movable(*group)).collect();
        // What could go in all must be worth it.
        let (mut best, mut able, mut in_all, mut waiting) = (None, BTreeSet::new(), 0, Vec::new());
        for to in targets.iter().copied() {
            if (best.is_some() && rule.is_worthwhile(giver, in_all)) || *looks_left < movable.len() {
                break;
            }
            *looks_left -= movable.len();
            let pieces = self.pieces(rule, &movable, from, to);
            in_all += pieces
                .iter()
                .filter(|(group, ..)| able.insert(*group))
                .map(|(group, ..)| self.groups[*group].weight())
                .sum::<u128>();
            let busy = |group: usize| self.may_receive(to).and_then(|()| self.may_send(group)).err();
            match best_piece(&pieces, |group| busy(group).is_none()) {
                Some((group, nth)) => best = best.or(Some((group, nth, to))),
                None => waiting.extend(pieces.first().and_then(|(group, ..)| Some((busy(*group)?, *group)))),
            }
        }
        if !targets.is_empty() && able.is_empty() {
            let resting = self.nodes[from].replicas.iter().map(|(group, _)| *group);
            waiting.extend(resting.filter(|group| self.groups[*group].rests).map(|group| (Reason::Rests, group)));
        }
        best.filter(|_| rule.is_worthwhile(giver, in_all)).ok_or(waiting)
    }

    /// What may go from a node to another one: each a group, the number of its replica, whether that is a follower, and by how much the
    /// fuller of the two falls.
    fn pieces(
        &self,
        rule: Rule,
        movable: &[(usize, usize)],
        from: usize,
        to: usize,
    ) -> Vec<(usize, usize, bool, u128)> {
        let (giver, receiver) = (self.nodes[from].bytes_bin(), self.nodes[to].bytes_bin());
        let piece = |(group, nth): &(usize, usize)| {
            let fall = rule.fall(giver, receiver, self.groups[*group].weight())?;
            let is_follower = self.groups[*group].leader.is_none_or(|(_, leader)| leader != from);
            self.may_go(*group, *nth, to).then_some((*group, *nth, is_follower, fall))
        };
        movable.iter().filter_map(piece).collect()
    }

    fn balance_leaders(&mut self, plan: &mut Plan) {
        let able: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].may_lead()).collect();
        let rule =
            Rule::new(able.iter().map(|node| self.nodes[*node].leading_bin()), self.input.knobs.gain_percent_min);
        let mut led: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for group in (0..self.groups.len()).filter(|group| self.is_movable(*group)) {
            if let Some((_, leader)) = self.groups[group].leader {
                led[leader].push(group);
            }
        }
        let mut exhausted = BTreeSet::new();
        while transfers_count(plan) < self.input.knobs.transfers_count_max {
            let givers = able.iter().copied().filter(|node| !exhausted.contains(node));
            let fullest =
                givers.max_by_key(|node| (self.nodes[*node].leading_bin().level(), std::cmp::Reverse(*node)));
            let Some(from) = fullest else { break };
            led[from].retain(|group| !self.groups[*group].is_taken);
            match self.best_transfer(rule, &led[from], from) {
                Some((group, heir, site)) => {
                    let purpose = Purpose::Leaders(self.nodes[from].spec.id);
                    self.transfer(plan, purpose, group, heir, site);
                }
                None => {
                    exhausted.insert(from);
                }
            }
        }
    }

    /// Which group is best handed over by a node, to whom, if all that could be is worth it.
    fn best_transfer(&self, rule: Rule, led: &[usize], from: usize) -> Option<(usize, ReplicaId, usize)> {
        let giver = self.nodes[from].leading_bin();
        let (mut best, mut in_all) = (None, 0);
        for group in led.iter().copied() {
            let weight = self.groups[group].load();
            let fall = |site: usize| rule.fall(giver, self.nodes[site].leading_bin(), weight);
            let heirs = self.heirs(group).filter(|(_, site)| !self.has_left(group, *site));
            let heirs = heirs.filter_map(|(heir, site)| Some((fall(site)?, heir, site)));
            let emptiest =
                |(_, heir, site): &(u128, ReplicaId, usize)| (self.nodes[*site].leading_bin().level(), *heir);
            let Some((fall, heir, site)) = heirs.min_by_key(emptiest) else { continue };
            in_all += weight;
            let key = (fall, std::cmp::Reverse(group));
            if best.as_ref().is_none_or(|(most, _)| key > *most) {
                best = Some((key, (group, heir, site)));
            }
        }
        best.filter(|_| rule.is_worthwhile(giver, in_all)).map(|(_, transfer)| transfer)
    }

    /// One replica per node and round moves to another core.
    fn balance_cores(&mut self, plan: &mut Plan) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].is_up() || self.nodes[node].cores.len() < 2 {
                continue;
            }
            let Some((group, nth, core)) = self.best_core_move(node) else { continue };
            let (state, id) = (&self.groups[group], self.nodes[node].spec.id);
            let replica = state.spec.replicas[nth];
            let to = CoreAddr { node: id, core: CoreId(u16::try_from(core).expect("at most CORES_COUNT_MAX cores")) };
            let action = Action::MoveCore { group: state.spec.id, replica: replica.id, from: replica.place, to };
            plan.steps.push(Step { action, purpose: Purpose::Cores(id), bytes: 0 });
            self.groups[group].is_taken = true;
        }
    }

    fn best_core_move(&self, node: usize) -> Option<(usize, usize, usize)> {
        let loads = &self.nodes[node].cores;
        let bin = |core: usize| Bin { load: loads[core], size: 1 };
        let rule = Rule::new((0..loads.len()).map(bin), self.input.knobs.gain_percent_min);
        let fullest = (0..loads.len()).max_by_key(|core| (loads[*core], std::cmp::Reverse(*core)))?;
        let emptiest = (0..loads.len()).min_by_key(|core| (loads[*core], *core))?;
        if !rule.is_uneven(bin(fullest), bin(emptiest)) {
            return None;
        }
        let on_fullest = |(group, nth): &(usize, usize)| {
            let replica = self.groups[*group].spec.replicas[*nth];
            usize::from(replica.place.core.0) == fullest && self.is_movable(*group)
        };
        let pieces = self.nodes[node].replicas.iter().copied().filter(on_fullest);
        let (mut best, mut in_all) = (None, 0);
        for (group, nth) in pieces {
            let weight = self.groups[group].load();
            let Some(fall) = rule.fall(bin(fullest), bin(emptiest), weight) else { continue };
            in_all += weight;
            let key = (fall, std::cmp::Reverse(group));
            if best.as_ref().is_none_or(|(most, _)| key > *most) {
                best = Some((key, (group, nth, emptiest)));
            }
        }
        best.filter(|_| rule.is_worthwhile(bin(fullest), in_all)).map(|(_, step)| step)
    }
}

/// What is best moved, of what may be moved now: rather a follower than a leader, which would have to hand over first, and what makes the
/// two nodes most alike.
fn best_piece(pieces: &[(usize, usize, bool, u128)], is_free: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
    let free = pieces.iter().filter(|(group, ..)| is_free(*group));
    let best = free.max_by_key(|(group, _, is_follower, fall)| (*is_follower, *fall, std::cmp::Reverse(*group)));
    best.map(|(group, nth, ..)| (*group, *nth))
}
