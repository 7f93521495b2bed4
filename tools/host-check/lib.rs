//! `coracle-host-check` reads a host (`/proc`, `/sys`, the mount of a data directory) and says what is right and what to
//! change before a node runs on it: why, how to look, how to set.
//!
//! Invariants: it changes nothing; the one file that it writes, to see whether direct I/O works, it removes again. A check is
//! a pure function of text that was read. What cannot be read is told as unknown, and never as right. Only what loses data that was
//! acknowledged is a danger and makes the exit status 1; everything else is advice.
//!
//! Deliberately absent: changing settings, checks of firewalls and of other hosts.
//!
//! Reading order: [`finding`] (what a check says), [`source`] (what it is made from), [`plan`] (the node that is to run),
//! [`lists`] (lists of CPUs), [`checks`], [`probe`] (what text does not tell), [`report`], [`cli`].

pub mod checks;
pub mod cli;
pub mod finding;
pub mod lists;
pub mod plan;
pub mod probe;
pub mod report;
pub mod source;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

/// Checks the host as the command line says. Exit status: 0 if no acknowledged data is in danger, 1 if some is, 2 if the arguments are
/// wrong.
pub fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok((text, is_safe)) => {
            // Whoever reads may have seen enough.
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            if is_safe { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("coracle-host-check: {error}");
            ExitCode::from(2)
        }
    }
}
