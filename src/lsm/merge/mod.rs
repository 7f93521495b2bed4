//! Merges: runs into fewer runs, so that reads look at few and what is deleted goes.
//!
//! Lazy leveling (Dayan, Idreos: Dostoevsky, 2018): the upper levels are tiered, each of them some runs of about one
//! size; the oldest run is one alone, and what is merged into it is. That writes less than leveling, and reads and
//! takes room like it where most rows are.
//!
//! A merge with the oldest run goes by *windows*: it ends behind so many bytes, and what it has merged of the newer
//! runs is cut off from them ([`crate::version::NewTable::from`]). So it takes room for a window and not for the run,
//! and a crash loses no more.
//!
//! Reading order: `policy` (what becomes of a row), `deleted` (what newer runs delete), `pick` (what to merge), `execute`.

mod deleted;
mod execute;
mod pick;
mod policy;

pub use execute::{MergeOutput, execute};
pub use pick::{MergeSettings, MergeTask, pick};
pub use policy::{Fate, RowPolicy};
