//! `coracle-inspect`: looks at the files of a stopped node, and changes nothing.
//!
//! Invariants:
//! - No file is opened to be written to ([`disk`]), and what the next start of a node would drop, confirm or remove stays.
//! - Bytes from the disk are never trusted: they give a [`Finding`], whatever they are. The parsers are those of `wal` and
//!   `lsm`, so that what is said here of a file is what a node would find.
//! - A command makes a report, which is shown as text or as one JSON document ([`report`]); both say the same.
//!
//! Deliberately absent: repairs, which are the node's own affair; the configuration, and with it what should be here.
//!
//! Reading order: [`disk`], `error`, `finding`, `report`, `text`, `row_key`, `progress`; what there is to look at: `data_dir`,
//! `log`, `store`, `table_scan`, `blob_walk`; `commands`, one file each; `cli`, which joins them.

mod blob_walk;
pub mod cli;
mod commands;
mod data_dir;
pub mod disk;
mod error;
mod finding;
mod log;
mod progress;
mod report;
mod row_key;
mod store;
mod table_scan;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

pub use error::InspectError;
pub use finding::{Finding, Severity};

/// Exit status if something is damaged.
const DAMAGED: u8 = 1;
/// Exit status if the command line is wrong or the files cannot be looked at.
const FAILED: u8 = 2;

/// Does what the command line of this process asks for.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let (output, code) = match cli.run() {
        Ok((output, is_sound)) => (output, if is_sound { 0 } else { DAMAGED }),
        Err(error) => {
            eprintln!("coracle-inspect: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match io::stdout().write_all(output.as_bytes()).and_then(|()| io::stdout().flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("coracle-inspect: cannot write the report: {error}");
            ExitCode::from(FAILED)
        }
        _ => ExitCode::from(code),
    }
}
