//! Explores every interleaving of what can happen to a group within small bounds: a bounded model checker of the real code.
//!
//! Three replicas and a fourth that may join are led through all orders of messages, losses, repetitions, crashes, time-outs,
//! proposals, changes of membership, transfers and snapshots, breadth first, so that what breaks is told by a shortest list of
//! steps. Behind every step checkers look at what the Raft papers promise ([`check`]). Tests with random faults see what is likely; this
//! sees what is possible, as far as it gets.
//!
//! # How a state is made
//!
//! - **Chance and time are choices.** Behind each step a replica forgets its measurements, its chance and when things
//!   were ([`replica`]). With free clocks each time-out may come at any moment, and stickiness to a leader is over at once. With bounded
//!   clocks, for leases, true time passes in ticks, and the replicas' clocks are as far apart as they may be.
//! - **Losses are free.** A message that is never received is lost. Where more are under way than the bounds allow, each choice
//!   of those that are lost is a state of its own ([`state`]).
//! - **Crashes** forget what was not durable: with prompt disks, what a step began to write; with late ones, any number of the last
//!   writes. A replica starts again at once, since one that is down is one that hears nothing.
//! - **Replicas are few.** A group has millions of states and each replica some thousand. The real code runs once per
//!   replica's state and event; from then on what it did is looked up ([`space`]). A replica's state is all that its `Debug` shows: no field
//!   can be forgotten.
//! - **Promises are part of the state**: who led, who voted for whom, what was committed in which term. So a state that forgets
//!   one is not taken for another that never made it.
//!
//! A few steps are left out since they lead nowhere new: those of which nothing comes, and, but for the scenario that is about
//! them, answers of terms that their receiver has left for good. States are told apart by 64 bits of a hash. Sleep sets were left out: they save steps, which cost
//! little here, and no states.
//!
//! # How to run it
//!
//! `cargo test -p coracle-raft --lib explore` looks at 400,000 states of each scenario, or at all if there are fewer. A long run:
//!
//! ```text
//! EXPLORE=deep cargo test -p coracle-raft --lib explore::scenarios::joint -- --nocapture --test-threads=1
//! ```
//!
//! Its bounds are wider, and it ends after 20 million states (about two GiB) or as many as `EXPLORE_STATES` says. It tells where it is every
//! ten seconds. What is broken is told as a list of steps, which [`search::replay`] takes again.
//!
//! # What it finds
//!
//! Bugs were put into the code, one at a time. Each line tells which scenario found it first of those that were tried, how long the shortest
//! list of steps is, and how many states had been seen by then:
//!
//! | bug | scenario | steps | states |
//! |---|---|---|---|
//! | a learner is promoted however much it lacks (`has_caught_up` not asked) | learners | 4 | 174 |
//! | an entry of an earlier term is committed by counting | figure 8 | 11 | 17,928 |
//! | a vote alone does not make the hard state dirty | split votes | 6 | 340,489 |
//! | messages leave before term and vote are durable | elections | 3 | 117 |
//! | two candidates get the vote of one term | elections | 3 | 95 |
//! | votes are given to candidates whose logs are behind | elections | 8 | 32,780 |
//! | an entry is acknowledged before it is durable | late disks | 8 | 3,371 |
//! | answers of earlier terms count | old answers | 7 | 44,448 |
//! | an Append cuts off what the log holds already | replication | 6 | 23,264 |
//! | an Append is taken whatever the term of the entry before it | figure 8 | 4 | 81 |
//! | a follower commits beyond what an Append has matched | figure 8 | 18 | 143,385 |
//! | a follower acknowledges beyond what an Append has matched | figure 8, deep | 9 | 541,846 |
//! | in the joint state the new voters alone commit | joint consensus | 3 | 402 |
//! | in the joint state the new voters alone elect | joint elections | 6 | 13,254 |
//! | a change of voters goes without the joint state | shrinking | 1 | 1 |
//! | the joint state is left before its entry is applied | joint consensus | 1 | 1 |
//! | a second change begins while one is under way | shrinking | 2 | 7 |
//! | what learners hold counts for the majority | joint consensus | 5 | 4,935 |
//! | a change is not undone when its entry is cut off | joint elections | 9 | 87,463 |
//! | a leader that was removed leads on | joint consensus | 9 | 58,303 |
//! | who was removed campaigns | shrinking | 13 | 54,230 |
//! | a transfer is ordered before the successor has the log | transfers | 2 | 6 |
//! | an offered snapshot commits whatever the log holds there | offers | 4 | 575 |
//! | a state is taken over and the log that contradicts it stays | offers | 5 | 1,893 |
//! | a read by ReadIndex waits for no round | ReadIndex | 6 | 16,124 |
//! | a read by ReadIndex does not wait for the first commit of the term | ReadIndex | 7 | 185,474 |
//! | voters do not stick to their leader | leases | 6 | 388 |
//! | the lease is not shortened by the drift | leases | 7 | 1,593 |
//! | the lease starts when the answers came | leases | 10 | 10,443 |
//! | a restarted voter does not stick to the leader it may have heard | leases and crashes | 7 | 22,044 |
//! | the lease goes on during a transfer | leases and transfers | 6 | 3,076 |
//! | the lease comes back after a transfer was given up | leases and transfers | 7 | 13,336 |
//!
//! One was not found: a leader that begins a change before it has committed in its own term. Three million states each of shrinking, joint consensus
//! and joint elections with the bounds of a long run show nothing broken. The rule guards changes of a single voter without a joint
//! state; here a joint state always asks the old majority too, so it is a second line of defence.
//!
//! Two scenarios show in every run that something is found: disks that lie, and clocks that drift further than is configured.
//!
//! # What it does not see
//!
//! Liveness: that a group gets on; a rule that a change of members must not make a group wait is checked as far as
//! promotion goes. Windows of Appends, limits in bytes, priorities, quiescence and far terms, which the other tests
//! look at; several writes of one replica that complete at once; states applied later than committed.
//!
//! Reading order: `scenario` (bounds), `disk` and `replica` (the real code and its driver), `space` (each state of a replica once), `check`,
//! `state` (the group and its steps), `show`, `search`, `scenarios` (the tests), `hash`.

mod check;
mod disk;
mod hash;
mod replica;
mod scenario;
mod scenarios;
mod search;
mod show;
mod space;
mod state;
