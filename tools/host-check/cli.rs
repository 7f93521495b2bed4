//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::checks;
use crate::plan::{Plan, PlanError};
use crate::report::Report;
use crate::source::Source;

/// Reads this host and says what to change before a node runs on it.
///
/// Changes nothing. Run it as the node's user and in its surroundings: limits and CPUs are those of
/// the shell that it runs in.
///
/// Exit status: 0 if no acknowledged data is in danger, warnings or not; 1 if some is;
/// 2 if the arguments are wrong.
#[derive(Debug, Parser)]
#[command(name = "coracle-host-check", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration of the node: its data directory, cores, ports
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the node's data goes; need not be there yet [default: /var/lib/coracle]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many cores the node has [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: Option<u32>,
    /// Why, how to look and how to set for every check, not only where something is wrong
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Read /proc and /sys below this directory: a copy of another host's
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

impl Cli {
    /// Checks the host. Returns what is to be printed, and whether no acknowledged data is in danger.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn run(self) -> Result<(String, bool), PlanError> {
        let plan = self.config.as_deref().map_or(Ok(Plan::default()), Plan::read)?;
        let plan = Plan {
            data_dir: self.data_dir.unwrap_or(plan.data_dir.clone()),
            cores: self.cores.unwrap_or(plan.cores),
            ..plan
        };
        let report = Report::new(&plan, checks::all(&Source::new(self.root), &plan));
        let text = if self.json { report.json() } else { report.text(self.verbose) };
        Ok((text, report.is_safe))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_help_fits_a_terminal() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for line in command.render_long_help().to_string().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
