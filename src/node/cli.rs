//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use meta::JoinToken;

use crate::config::{Config, ConfigError, Flags};
use crate::dev::{self, DevArgs};
use crate::server;

/// A sharded, replicated key-value engine that speaks the Redis protocol.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Start here:\n  coracle dev          a cluster of three nodes on this machine\n  \
                        redis-cli -p 7000    talk to it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole cluster on this machine, for development
    #[command(long_about = dev::LONG_ABOUT)]
    Dev(DevArgs),
    /// Run one node
    #[command(long_about = SERVER_LONG_ABOUT)]
    Server(ServerArgs),
}

/// What `coracle server` is told.
#[derive(Debug, Args)]
#[command(after_help = SERVER_EXAMPLES)]
struct ServerArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the configuration in force, each value with its source, and end
    #[arg(long)]
    print_config: bool,
    /// Check the configuration and end
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,
    /// Come to a cluster with an empty data directory: as a new node, or as the one that CORACLE REPLACE has named when it printed this token
    #[arg(long, value_name = "TOKEN")]
    join: Option<JoinToken>,
    /// End at once if this process, which must be the parent, ends
    #[arg(long, value_name = "PID")]
    stop_with_parent: Option<u32>,
    #[command(flatten)]
    flags: Flags,
}

const SERVER_LONG_ABOUT: &str = "\
Runs one node of a cluster, until SIGINT or SIGTERM.

Every setting may stand in the file, under the name of its flag with `_` for `-`, or be given as a flag; flags \
override the file. Exit codes: 0 after a clean end, 1 after an error, 2 if the configuration is wrong.";

const SERVER_EXAMPLES: &str = "\
Examples:
  A cluster of one node:
    coracle server --cluster-id demo --node-id 1 --data-dir /var/lib/coracle

  One node of three; the file is the same everywhere but for node_id:
    coracle server --config /etc/coracle.toml --node-id 2

    cluster_id = \"demo\"
    data_dir = \"/var/lib/coracle\"

    [[peers]]
    id = 1
    host = \"10.0.0.1\"
    cores = 4

    [[peers]]
    id = 2
    host = \"10.0.0.2\"
    cores = 4

    [[peers]]
    id = 3
    host = \"10.0.0.3\"
    cores = 4

  A fourth one joins, with a token that CORACLE TOKEN prints on any of them. Its file has no node_id, its own host
  and cores at the top, and nodes to ask as [[peers]]:
    coracle server --config /etc/coracle.toml --join TOKEN";

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error(transparent)]
    Dev(#[from] dev::Error),
}

/// Arguments or configuration are wrong; as in clap.
const EXIT_USAGE: u8 = 2;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    // Ends the process by itself for --help, --version and wrong arguments.
    let result = match Cli::parse().command {
        Command::Dev(args) => dev::run(&args).map_err(Error::from),
        Command::Server(args) => serve(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let wrong_usage = matches!(error, Error::Config(_) | Error::Dev(dev::Error::Usage(_)));
            if wrong_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn serve(args: &ServerArgs) -> Result<(), Error> {
    let config = Config::load(args.config.as_deref(), &args.flags)?;
    if args.print_config {
        print!("{}", config.printed);
        return Ok(());
    }
    if args.check_config {
        println!("the configuration is sound");
        return Ok(());
    }
    if let Some(parent) = args.stop_with_parent {
        server::stop_with_parent(parent)?;
    }
    Ok(server::run(&config, args.join)?)
}

/// The command line as clap sees it, for tests and for generated documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_of_server_shows_defaults_and_ranges() {
        let mut command = command();
        let server = command.find_subcommand_mut("server").expect("it is there");
        let help = server.render_long_help().to_string();
        // The text is wrapped to the width of the terminal.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in ["--cores <N>", "[default: 1] [1 to 256]", "[default: gateway_port + 1]", "--config <FILE>"] {
            assert!(help.contains(expected), "{expected} is missing in\n{help}");
        }
    }
}
