//! What is to be done next so that the cluster is as it should be.
//!
//! [`plan`] is a pure function: of the cluster map, of what nodes and groups have reported, of how the detector finds the nodes, of what was
//! done before, of the time, and of a few knobs. It keeps nothing between two rounds, and asks nobody. What it returns are steps,
//! reasons why others wait, an alarm if nodes are missing that it does not replace, and what is left to do for nodes that drain or leave.
//!
//! # How it is driven
//!
//! By whoever leads group 0 and has applied all of its term, every second or so:
//!
//! 1. what nodes and leaders report goes into [`Reports`](crate::reports::Reports), with the time at which it came;
//!    [`Reports::hear_group`](crate::reports::Reports::hear_group) keeps late words of deposed leaders out. What people
//!    have asked of nodes is to stand in the map, and is copied to `duties`;
//! 2. [`Detector::look`](crate::detector::Detector::look). The detector begins with the term, so all waits begin anew with a new leader;
//! 3. [`plan`], with [`Detector::healths`](crate::detector::Detector::healths) and the [`Memory`] of this term;
//! 4. each step: a change of the map is proposed to group 0, a transfer goes to the group's leader, a move between cores to the node. Then
//!    [`Memory::note`]. A step names what it expects to find, a replica or a leader, and does nothing where that is not so: it does no
//!    harm if it is taken twice, or by two who believe that they lead.
//!
//! The leader of the group concerned makes its members those that the map wants, one joint change at a time, and never begins one that its live
//! voters could not commit. The planner does not watch it do that: it sees in the reports that members are not yet those that are
//! wanted, counts the move as if it had happened, snapshot and room included, and leaves the group alone until it has.
//!
//! There is one race that it cannot exclude. [`MapChange::Keep`](crate::MapChange::Keep) wants a replica again whose group may just have
//! removed it. The leader then brings in as a learner a replica that is no more; it is not heard, and after
//! [`Knobs::silence_max`] another one begins in its place.
//!
//! # What it does, in this order
//!
//! 1. It cancels replacements on behalf of nodes that are back.
//! 2. It replaces what is lost: on nodes that are down, unless too many or more than one rack is missing, and replicas
//!    that their leaders have not heard for long on nodes that are there. A group that can lose the fewest more comes first.
//! 3. Leaders leave nodes that drain or leave, or whose disks are full or stall.
//! 4. Replicas of a group leave a rack that they share, if another has a node for one.
//! 5. Replicas leave disks that are too full.
//! 6. Replicas leave nodes that leave.
//! 7. Bytes are balanced over nodes, then leaders by load, then the cores of each node.
//!
//! While there is an alarm, what is sound does not move: 4 to 7 wait. What is sound never moves to where its group would span fewer racks, or onto a disk that it would fill too far, or while another
//! member of its group is not heard; what is lost may share a rack if no other has room. The number of replicas of a group never
//! changes. A group has one step at a time, and a node takes part in few snapshots at a time. `rule` says why balance ends.
//!
//! Deliberately absent: growing groups that have fewer replicas than they should because the cluster was smaller; swapping
//! two replicas where no single move helps; splitting a group that is too large for any node.
//!
//! Reading order: `step`, `reason`, `knobs`, `memory`; `layout`, `target`; `repair`, `duties`, `rule`, `balance`, `round`; `forecast`,
//! which runs rounds until nothing is left to do, on a model of what their steps do (`model`).

mod balance;
mod duties;
mod forecast;
mod knobs;
mod layout;
mod memory;
mod model;
mod reason;
mod repair;
mod round;
mod rule;
mod step;
mod target;

pub use forecast::{Forecast, PlanDigest, forecast};
pub use knobs::Knobs;
pub use layout::Input;
pub use memory::Memory;
pub use model::Model;
pub use reason::{Obstacles, Reason};
pub use round::plan;
pub use step::{Action, Alarm, DutyLeft, Plan, Purpose, Step};

#[cfg(test)]
mod tests;
