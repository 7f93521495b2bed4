//! Redis that syncs its log before every reply.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::client;
use crate::compare::Context;
use crate::compare::measure::{Sample, Subject, Test, fill, measure as measure_one};
use crate::compare::process::{Server, free_ports};
use crate::error::Error;
use crate::load::mix::Kind;

/// Its name in the results.
pub const SYSTEM: &str = "redis";

/// Starts Redis, measures, and stops it.
///
/// # Errors
/// If it is not installed or does not start, and those of the load.
pub fn measure(context: &Context<'_>) -> Result<Vec<Sample>, Error> {
    let dir = context.dir.join(SYSTEM);
    std::fs::create_dir(&dir).map_err(Error::os(format!("creating {}", dir.display())))?;
    let samples = with_server(context, &dir);
    std::fs::remove_dir_all(&dir).map_err(Error::os(format!("removing {}", dir.display())))?;
    samples
}

fn with_server(context: &Context<'_>, dir: &std::path::Path) -> Result<Vec<Sample>, Error> {
    context.say("redis: starting");
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Some(port) = free_ports(ip, 1)?.pop() else { return Err(Error::Usage("no free port".to_owned())) };
    let mut command = Command::new("redis-server");
    command.arg("--dir").arg(dir).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxclients", "30000"]);
    let server = Server::start(SYSTEM, command, dir.join("log"))?;
    let addr = SocketAddr::new(ip, port);
    // Whoever took the port first would answer too.
    let is_ours = |info: &String| client::info_field(info, "process_id") == Some(server.pid().into());
    server.await_ready(context.stop, |_| client::info(addr, Some("server")).ok().filter(is_ours))?;
    let subject = Subject { system: SYSTEM, addrs: &[addr], cluster: false, pids: &[server.pid()], syncs: &|| None };
    fill(context, &subject)?;
    let many = context.options.connections_many;
    let tests = [
        Test::closed(Kind::Set, 1, 1),
        Test::closed(Kind::Set, 50, 1),
        Test::closed(Kind::Set, 50, 16),
        Test::closed(Kind::Set, many, 1),
        Test::closed(Kind::Get, 50, 1),
        Test::closed(Kind::Get, 50, 16),
    ];
    tests.iter().map(|test| measure_one(context, &subject, test)).collect()
}
