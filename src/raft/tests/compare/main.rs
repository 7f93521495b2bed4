//! The same orders given to a cluster of ours and to a cluster of another implementation, which must end alike.
//!
//! The other one is raft-rs, the library below TiKV, which grew from etcd's. It shares no line and no author with
//! this crate, so a misreading of the papers here is not likely to be repeated there.
//!
//! # What must coincide
//!
//! Two correct implementations may differ in almost every message: when they probe, what they send again, what they
//! learn from whom. So nothing is compared message by message. Instead the orders are such that the *outcome* follows
//! from the rules of the papers alone, and that is compared:
//!
//! - **Rounds** (`rounds`). In a round some links are cut, both ways, and the others lose nothing, though messages
//!   are repeated and links overtake each other. One order is given: campaign, propose, restart, drop the log's
//!   beginning. Then everything is delivered, leaders send heartbeats, and everything is delivered again until
//!   nothing is on its way. Whether the candidate wins follows from terms, votes and logs; what a leader brings to
//!   whom follows from the links, be it by log or by snapshot. So after each round every replica must have the same
//!   term, role and log in both clusters, entry by entry with its term, dropped ones included; and wherever a leader
//!   reaches, the same commit index. Replicas may also lose what was not yet durable, since then both must have kept
//!   silent about it.
//! - **Storms** (`storms`). One leader stays, and messages of all others and its own are lost, repeated, delayed and
//!   reordered at random, while it takes proposals and followers crash. What is under way at any moment differs. But
//!   when the storm is over, everything proposed must be committed everywhere, in its order, in both.
//!
//! # How the two are made comparable
//!
//! Both ask for pre-votes. Time is not shared: raft-rs counts ticks and draws its timeouts from a random source of
//! its own, so it is never ticked, but told to campaign and to send heartbeats. What is a consequence of time here is
//! an order: all have ceased to stick to a leader before a campaign, and a leader that is asked for its vote has
//! resigned, as has one of which it would not be forced how much it brings to others before it is deposed. Over there
//! leader stickiness is off.
//!
//! One order is not given: to campaign in a term that a replica within reach has already. Such a pre-vote is denied
//! here and the candidate learns the term, so that it asks for a higher one next; raft-rs grants it if the vote is
//! still free. Both are safe, and the terms part.

// Helpers of tests are tests, too.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod cluster;
mod ours;
mod rounds;
mod storms;
mod theirs;
