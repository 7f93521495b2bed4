//! The phase before the cores: a node without data finds the others and agrees with them on a new cluster, or goes no
//! further.
//!
//! A cluster is formed only when *every* configured node is reachable, has no data, and is configured alike. A node without
//! data never serves beside one that has some: its data is gone, or it never was a part of that cluster, and either way it
//! would serve emptiness. A node whose cluster is formed passes this phase without asking anybody.
//!
//! Read [`machine`] first, which decides, without I/O, then [`agreement`], which carries it out. [`listener`] answers the
//! questions of others on the peer port of core 0, which belongs to the core once it runs; [`asking`] asks them; [`report`]
//! says what is waited for, and what a person can do; [`shared`], [`peer`] and [`error`] are what these have in common. What
//! is said is in [`wire::formation`].

pub mod agreement;
pub mod asking;
pub mod error;
pub mod listener;
pub mod machine;
pub mod peer;
pub mod report;
pub mod shared;

pub use agreement::{config_print, run};
pub use error::Error;
