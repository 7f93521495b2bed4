//! Versions: which tables and blob files a group consists of.
//!
//! A version is never changed: a [`Change`] makes another one, and whoever reads goes on with the one it has. Tables,
//! blob files and the files that hold them are shared by versions and counted; a file that no version names any more is
//! handed out to be deleted ([`FileSet::take_unnamed`]).
//!
//! A version is some *runs*, each of them tables that do not overlap, by age: what a newer run says of a key holds
//! against all older ones.
//!
//! Reading order: `named_file`, `change` (its bytes too), `run`, `version`.

mod change;
mod named_file;
mod run;
#[allow(clippy::module_inception, reason = "the folder is named by its main type")]
mod version;

pub use change::{Change, NewBlob, NewRun, NewTable};
pub use named_file::{FileSet, NamedFile};
pub use run::{PlacedTable, Run};
pub use version::{LiveBlob, PlacedBlob, Version};
