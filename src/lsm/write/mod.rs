//! Writing runs: rows in, tables and blob files out.
//!
//! Reading order: `output` (where to), `table_file`, `blob_writer`, `run_writer`.

mod blob_writer;
mod output;
mod run_writer;
mod table_file;

pub use crate::pace::Pace;
pub use output::{Output, WriteSettings};
pub use run_writer::{RunWriter, WrittenRun};
pub use table_file::TableFile;
