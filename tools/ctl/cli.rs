//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::duties::{self, Decommission};
use crate::commands::groups::Which;
use crate::commands::wait::DEFAULT_LIMIT;
use crate::commands::{groups, members, moves, nodes, replace, settings, status, tasks};
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::screen::Screen;

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 refused, 2 the command line is wrong, 3 it is still under
way (a wait took too long), 4 nodes could not be reached.

Examples:
  How does it do?
    coracle-ctl status
    coracle-ctl --addr 10.0.0.1,10.0.0.2 groups --unhealthy
  Node 3 has lost its disk.
    coracle-ctl replace 3 --wait
  Node 3 is to be stopped for a while, and to lead nothing before.
    coracle-ctl drain 3 --wait      (afterwards: coracle-ctl undrain 3)
  A new machine is to join; node 3 is to leave for good.
    coracle-ctl token
    coracle-ctl decommission 3 --plan
    coracle-ctl decommission 3 --wait
  What does the cluster do, and why does something wait?
    coracle-ctl tasks --watch
  Group 7 is to live on node 4 instead of node 2, and to be led there.
    coracle-ctl move 7 2 4 --wait && coracle-ctl transfer 7 4
  Which commands are slow? Keep those that take 5 ms, on all nodes, for now.
    coracle-ctl set slowlog_log_slower_than=5000
  Are all nodes set alike?
    coracle-ctl get 'scrub*' 'compare*'
  Figures for other programs:
    coracle-ctl --json status | jq .groups_lacking";

/// Shows how a cluster of Coracle does, and asks it for what you want of it.
///
/// It speaks with the gateway of any node. What only the other nodes know it
/// asks them for, at the addresses that the cluster knows.
#[derive(Debug, Parser)]
#[command(name = "coracle-ctl", version, after_help = AFTER_HELP, max_term_width = 80)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Common {
    /// Gateways to try, one after the other; without a port it is 7000
    #[arg(long, global = true, value_name = "HOST[:PORT]", value_delimiter = ',', default_value = "127.0.0.1:7000")]
    addr: Vec<String>,
    /// How long connecting to a node, and each of its answers, may take
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// Print JSON, a document a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The cluster on one screen: nodes, groups, alarms
    ///
    /// FULL says how many of the groups that a node leads are at full strength:
    /// all wanted replicas vote, are heard and keep up. With --wait it shows how
    /// that comes about, and ends once all nodes are up and all groups are.
    Status(WaitArgs),
    /// The nodes, as the one that answers sees them
    ///
    /// A node is suspect if it was not heard for an election timeout, down if that
    /// has lasted so long that others take its replicas over, and awaited if it may
    /// come back without data. "up, suspect" says that the one that answers hears
    /// it, and whoever looks after all nodes does not. DUTY is what is asked of it:
    /// it serves, drains or leaves. DATA are the first digits of the incarnation of
    /// its data directory.
    Nodes,
    /// What the cluster does, how far that is, and why something waits
    ///
    /// Nodes that drain or leave, replicas that are replaced because their node is
    /// down, and balance. A task that waits says what for. An alarm says why nothing
    /// is replaced. With --watch it is shown until Ctrl-C: drawn over on a terminal,
    /// else a line for each change.
    Tasks(TasksArgs),
    /// Have a node lead nothing, so that it may be stopped
    ///
    /// It hands over what it leads, and is given no more leaders and no more replicas.
    /// It keeps those that it has, so the cluster is as safe as before until it is
    /// stopped. That holds until `undrain`, also when the node is started again. With
    /// --wait the command ends once it leads nothing.
    Drain(DutyArgs),
    /// Have a node that drains or leaves serve again
    ///
    /// It takes DRAIN and DECOMMISSION back. What was moved away from it stays where
    /// it is by now; balance may bring other replicas.
    Undrain(UndrainArgs),
    /// Have a node leave for good, with all that it holds
    ///
    /// Other nodes take its replicas over, a few at a time, and the groups serve all
    /// the while, each with as many replicas as before. Once the node holds nothing
    /// the cluster forgets it; its number is never used again. Until then `undrain`
    /// takes it back. What cannot move waits, and says why: most often no other node
    /// has room, or each has a replica of the group already. --plan shows what would
    /// move and changes nothing; its exit code is 1 if something would wait until
    /// somebody does something about it, such as adding a node.
    Decommission(DecommissionArgs),
    /// The groups: who leads each, where its replicas are, what it lacks
    Groups(GroupsArgs),
    /// A token for a node that has lost its data, and what to do with it
    ///
    /// The node comes back with an empty directory and receives other replicas in
    /// the place of those that it has lost. It must be down: what is in its old
    /// directory is given up. A new token takes the place of an older one.
    Replace(ReplaceArgs),
    /// A token with which a new node joins the cluster, and what to do with it
    Token(TokenArgs),
    /// Have a node leave that holds no replicas
    ///
    /// Its replicas are to be moved to other nodes before: `coracle-ctl groups
    /// --node N` shows them. Its number is never used again. `decommission` does
    /// both.
    Remove(RemoveArgs),
    /// Have a replica of a group live on another node or core
    ///
    /// The new replica receives what the group holds, votes in the place of the
    /// old one, and that one is removed. The group serves all the while. One
    /// change of a group is under way at a time.
    Move(MoveArgs),
    /// Have the replica on a node lead a group
    ///
    /// The leadership stays where it is if that replica lags behind or is not
    /// heard. It may go on later, to a node with a better disk or, if `balance` is
    /// on, to one that leads less.
    Transfer(TransferArgs),
    /// Settings of the nodes
    ///
    /// Each node has its own. A row says which nodes have a value, if not all do.
    Get(GetArgs),
    /// Change settings of the nodes while they run
    ///
    /// A node checks all of them before it changes any, and says what cannot
    /// change while it runs. `coracle server --help` explains each.
    Set(SetArgs),
}

#[derive(Args, Debug)]
struct WaitArgs {
    /// Wait until it is done, and show how far that is
    #[arg(long)]
    wait: bool,
    /// Wait so long at most; it goes on when nobody waits, too [default: 3600]
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = seconds)]
    wait_max: Option<Duration>,
}

#[derive(Args, Debug)]
struct GroupsArgs {
    /// Only groups with a replica on this node
    #[arg(long, value_name = "N")]
    node: Option<i64>,
    /// Only groups that are not at full strength
    #[arg(long)]
    unhealthy: bool,
}

#[derive(Args, Debug)]
struct ReplaceArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: i64,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Args, Debug)]
struct TokenArgs {
    /// For how long the token is good [default: 3600]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    ttl: Option<Duration>,
}

#[derive(Args, Debug)]
struct RemoveArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: i64,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Args, Debug)]
struct TasksArgs {
    /// Show them again and again
    #[arg(long)]
    watch: bool,
}

#[derive(Args, Debug)]
struct DutyArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: i64,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Args, Debug)]
struct UndrainArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: i64,
}

#[derive(Args, Debug)]
struct DecommissionArgs {
    /// The node
    #[arg(value_name = "NODE")]
    node: i64,
    /// Show what would move, and change nothing
    #[arg(long, conflicts_with_all = ["if_plan", "wait"])]
    plan: bool,
    /// Do it only if still the same would move as when --plan has shown DIGEST
    #[arg(long, value_name = "DIGEST")]
    if_plan: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Args, Debug)]
struct MoveArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: i64,
    /// Where the replica lives: a node, or one of its cores
    #[arg(value_name = "NODE[/CORE]")]
    from: String,
    /// Where it is to live
    #[arg(value_name = "NODE[/CORE]")]
    to: String,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Args, Debug)]
struct TransferArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: i64,
    /// The node
    #[arg(value_name = "NODE")]
    node: u32,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Args, Debug)]
struct GetArgs {
    /// Names, with `*` for anything [default: all]
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    #[command(flatten)]
    nodes: NodesArgs,
}

#[derive(Args, Debug)]
struct SetArgs {
    /// What to set
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = pair)]
    pairs: Vec<(String, String)>,
    /// Write it into the configuration files of the nodes, too (CONFIG REWRITE)
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    nodes: NodesArgs,
}

#[derive(Args, Debug)]
struct NodesArgs {
    /// Only these nodes
    #[arg(long, value_name = "N", value_delimiter = ',')]
    node: Vec<i64>,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn run(self) -> Result<(), CtlError> {
        let gateway = Gateway::new(&self.common.addr, self.common.timeout);
        let mut screen = Screen::of_process(self.common.json);
        match self.command {
            Command::Status(wait) => status::run(&gateway, &mut screen, wait.limit()),
            Command::Nodes => nodes::run(&gateway, &mut screen),
            Command::Tasks(TasksArgs { watch }) => tasks::run(&gateway, &mut screen, watch),
            Command::Drain(DutyArgs { node, wait }) => duties::drain(&gateway, &mut screen, node, wait.limit()),
            Command::Undrain(UndrainArgs { node }) => duties::undrain(&gateway, &mut screen, node),
            Command::Decommission(DecommissionArgs { node, plan, if_plan, wait }) => {
                let how = Decommission { is_plan: plan, if_plan, wait: wait.limit() };
                duties::decommission(&gateway, &mut screen, node, &how)
            }
            Command::Groups(GroupsArgs { node, unhealthy }) => {
                groups::run(&gateway, &mut screen, Which { node, is_unhealthy: unhealthy })
            }
            Command::Replace(ReplaceArgs { node, wait }) => replace::run(&gateway, &mut screen, node, wait.limit()),
            Command::Token(TokenArgs { ttl }) => members::token(&gateway, &mut screen, ttl),
            Command::Remove(RemoveArgs { node, wait }) => members::remove(&gateway, &mut screen, node, wait.limit()),
            Command::Move(MoveArgs { group, from, to, wait }) => {
                moves::run_move(&gateway, &mut screen, (group, &from, &to), wait.limit())
            }
            Command::Transfer(TransferArgs { group, node, wait }) => {
                moves::transfer(&gateway, &mut screen, group, &node.to_string(), wait.limit())
            }
            Command::Get(GetArgs { patterns, nodes }) => settings::get(&gateway, &mut screen, &patterns, &nodes.node),
            Command::Set(SetArgs { pairs, keep, nodes }) => {
                settings::set(&gateway, &mut screen, &pairs, keep, &nodes.node)
            }
        }
    }
}

impl WaitArgs {
    /// For how long to wait, if at all.
    fn limit(&self) -> Option<Duration> {
        self.wait.then(|| self.wait_max.unwrap_or(DEFAULT_LIMIT))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| "a number of seconds greater than 0 is wanted".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("NAME=VALUE is wanted, for example slowlog_len_max=200")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_its_help_fits_a_terminal() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let mut pages = vec![command.render_long_help().to_string()];
        for name in names {
            let subcommand = command.find_subcommand_mut(&name).expect("it was just listed");
            pages.push(subcommand.render_long_help().to_string());
        }
        for line in pages.iter().flat_map(|page| page.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn times_and_pairs_are_checked() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "x", "nan", "1e99"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
