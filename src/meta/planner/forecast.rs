//! What the planner would do, told before it does it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use types::GroupId;

use crate::planner::layout::Input;
use crate::planner::model::Model;
use crate::planner::reason::Reason;
use crate::planner::step::{Action, Alarm, DutyLeft, Purpose, Step};

/// How far apart rounds are.
const ROUND: Duration = Duration::from_secs(1);

/// All that would be done until nothing is left to do, if nothing else happened meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The steps, each with when it would be taken, from now.
    pub steps: Vec<(Duration, Step)>,
    /// Bytes that would be sent.
    pub bytes: u64,
    /// How many replicas would be replaced.
    pub replaced_count: usize,
    /// How many groups would be handed over, as often as they would.
    pub transfers_count: usize,
    /// How long it would take, by [`Knobs::snapshot_bytes_per_s`](crate::planner::Knobs::snapshot_bytes_per_s).
    pub takes: Duration,
    /// What would still not be done then, and why not.
    pub left: BTreeMap<(Purpose, Reason), Vec<GroupId>>,
    /// The alarm, if there is one.
    pub alarm: Option<Alarm>,
    /// What would be left then for nodes that drain or leave.
    pub duties: Vec<DutyLeft>,
    /// Whether it came to an end within the steps that were asked for.
    pub is_whole: bool,
}

/// A digest of what a forecast would do and refuse: if it is the same, so are all moves, whatever sizes and loads have become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanDigest(pub [u8; 8]);

/// Runs rounds on a model of the cluster until there is nothing left to do, also not by groups that have rested by then, or more than
/// `steps_count_max` steps were taken.
pub fn forecast(input: &Input<'_>, steps_count_max: usize) -> Forecast {
    let mut model = Model::new(input);
    let (mut steps, mut has_rested) = (Vec::new(), false);
    let (mut last, mut plan) = (input.now, model.plan());
    while steps.len() <= steps_count_max {
        if !plan.steps.is_empty() {
            has_rested = false;
            for step in plan.steps.drain(..) {
                model.take(&step);
                steps.push((model.now.since(input.now), step));
            }
            model.advance(ROUND);
            last = model.now;
        } else if model.is_busy() {
            model.advance(ROUND);
            last = model.now;
        } else if !has_rested {
            has_rested = true;
            model.advance(input.knobs.rest.max(input.knobs.transfer_timeout));
        } else {
            break;
        }
        plan = model.plan();
    }
    let is_replaced = |(_, step): &&(Duration, Step)| matches!(step.action, Action::Change(_));
    let is_transfer = |(_, step): &&(Duration, Step)| matches!(step.action, Action::Transfer { .. });
    Forecast {
        bytes: steps.iter().fold(0, |sum: u64, (_, step)| sum.saturating_add(step.bytes)),
        replaced_count: steps.iter().filter(is_replaced).count(),
        transfers_count: steps.iter().filter(is_transfer).count(),
        takes: last.since(input.now),
        left: plan.waiting,
        alarm: plan.alarm,
        duties: plan.duties,
        is_whole: steps.len() <= steps_count_max,
        steps,
    }
}

impl Forecast {
    /// Whether a step for this would be refused, until a person does something.
    pub fn refused(&self) -> impl Iterator<Item = (Purpose, &Reason, &[GroupId])> {
        let refused = self.left.iter().filter(|((_, reason), _)| reason.is_refusal());
        refused.map(|((purpose, reason), groups)| (*purpose, reason, groups.as_slice()))
    }

    /// Its digest.
    pub fn digest(&self) -> PlanDigest {
        let mut digest = Sha256::new();
        for (_, step) in &self.steps {
            digest.update(format!("{step}\n"));
        }
        for (purpose, reason, groups) in self.refused() {
            digest.update(format!("{purpose}: {reason}: {groups:?}\n"));
        }
        let bytes: [u8; 32] = digest.finalize().into();
        let (head, _) = bytes.split_first_chunk().expect("a SHA-256 is 32 bytes long");
        PlanDigest(*head)
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
