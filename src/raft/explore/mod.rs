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
//! A few steps are left out since they lead nowhere new: those of which nothing comes, and answers of terms that their receiver has left
//! for good. States are told apart by 64 bits of a hash. Sleep sets were left out: they save steps, which cost
//! little here, and no states.
//!
//! # How to run it
//!
//! `cargo test -p coracle-raft --lib explore` looks at 400,000 states of each scenario, or at all if there are fewer. A long run:
//!
//! ```text
//! EXPLORE=deep cargo test --release -p coracle-raft --lib explore::scenarios::joint -- --nocapture --test-threads=1
//! ```
//!
//! Its bounds are wider, and it ends after 20 million states (about two GiB) or as many as `EXPLORE_STATES` says. It tells where it is every
//! ten seconds. What is broken is told as a list of steps, which [`search::replay`] takes again.
//!
//! # What it finds
//!
//! TABLE
//!
//! # What it does not see
//!
//! Liveness: that a group gets on. Windows of Appends, limits in bytes, priorities, quiescence and far terms, which the other tests
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
