//! One round.

use crate::planner::layout::{Input, Layout};
use crate::planner::step::Plan;

/// What is to be done next. The time that it takes grows with the number of replicas, and with that of steps times that of nodes.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut layout = Layout::new(*input);
    let mut plan = Plan { duties: layout.duties_left(), alarm: layout.alarm(), ..Plan::default() };
    layout.keep_returned(&mut plan);
    layout.replace_lost(&mut plan);
    layout.move_leaders_away(&mut plan);
    // While many nodes are missing nothing that is sound moves.
    if plan.alarm.is_none() {
        layout.spread_over_racks(&mut plan);
        layout.make_room(&mut plan);
    }
    layout.move_replicas_away(&mut plan);
    if plan.alarm.is_none() && input.knobs.balance {
        layout.balance(&mut plan);
    }
    plan
}
