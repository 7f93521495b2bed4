//! The runbook, followed from its beginning to its end on a cluster: what it says to do can be done.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Options, alone, binary, process, root};

const LIMIT: Duration = Duration::from_secs(240);
/// Each command.
const WITHIN: Duration = Duration::from_secs(40);
/// How long a cluster may take until what stands before in the runbook is so far that the next command is possible.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);
const PROGRAMS: [&str; 4] = ["coracle", "coracle-ctl", "coracle-inspect", "coracle-host-check"];

/// The commands of the page, each with its section.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut is_shell = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            command if is_shell => commands.push((section.clone(), command.to_owned())),
            heading if heading.starts_with("## ") => heading[3..].clone_into(&mut section),
            _ => {}
        }
    }
    commands
}

/// A command of the page, which speaks of `coracle dev --data-dir d` on its usual ports, as this cluster needs it.
fn adapted(command: &str, dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let asks = match command.split_once("--addr ") {
        Some((head, rest)) => {
            let (addrs, rest) = rest.split_once(' ').unwrap();
            let addrs: Vec<String> = addrs.split(',').map(|addr| format!("{addr}:{port}")).collect();
            format!("{head}--addr {} {rest}", addrs.join(","))
        }
        None => command.replace("coracle-ctl ", &format!("coracle-ctl --addr 127.0.0.1:{port} ")),
    };
    asks.replace("--data-dir d", &format!("--data-dir {dir}"))
        .replace(" d/", &format!(" {dir}/"))
        .replace("-p 7000", &format!("-p {port}"))
        .replace("-p 7001", &format!("-p {}", port + 1))
        .replace(":9000/", &format!(":{}/", port + 2_000))
}

/// Whether a command has done what it is for.
fn is_done(command: &str, output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stdout);
    let is_refused = ["ERR", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|error| text.starts_with(error));
    match output.status.code() {
        Some(0) => !is_refused,
        // What is watched is watched until somebody ends it.
        Some(124) => command.contains("--watch"),
        // It has something to say about this host.
        Some(1) => command.starts_with("coracle-host-check"),
        _ => false,
    }
}

#[test]
fn each_command_of_the_runbook_does_something() {
    let _alone = alone(LIMIT);
    let folder = binary().parent().unwrap().to_owned();
    for program in PROGRAMS {
        let path = folder.join(program);
        assert!(path.is_file(), "{} is missing; `cargo build --release` makes it", path.display());
    }
    let page = std::fs::read_to_string(root().join("tools/runbook.md")).unwrap();
    let commands = commands(&page);
    assert!(commands.len() > 50, "{commands:?}");
    let cluster = Cluster::start(Options { groups: 4, ..Options::default() });
    let (is_added, said) = cluster.change(&["add"]);
    assert!(is_added, "{said}");
    for (section, command) in commands {
        let line = adapted(&command, cluster.dir(), cluster.port());
        let line = if line.contains("--watch") { format!("timeout 2 {line}") } else { line };
        let line = format!("PATH={}:$PATH; {line}", folder.display());
        let begin = Instant::now();
        let mut output = process::run("bash", &["-c", &line], b"", WITHIN);
        while !is_done(&command, &output) && begin.elapsed() < AGAIN_WITHIN {
            std::thread::sleep(Duration::from_millis(200));
            output = process::run("bash", &["-c", &line], b"", WITHIN);
        }
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(is_done(&command, &output), "{section}: {command}: {}\n{told}", output.status);
    }
}

#[test]
fn commands_are_adapted_to_the_cluster() {
    let dir = Path::new("/t");
    for (command, expected) in [
        ("coracle-ctl tasks", "coracle-ctl --addr 127.0.0.1:12000 tasks"),
        ("coracle-ctl --addr 127.0.0.1,127.0.0.2 nodes", "coracle-ctl --addr 127.0.0.1:12000,127.0.0.2:12000 nodes"),
        ("coracle dev stop 3 --data-dir d", "coracle dev stop 3 --data-dir /t"),
        ("coracle server --config d/node-3.toml", "coracle server --config /t/node-3.toml"),
        ("redis-cli -p 7001 INFO", "redis-cli -p 12001 INFO"),
        ("curl -s http://127.0.0.1:9000/livez", "curl -s http://127.0.0.1:14000/livez"),
    ] {
        assert_eq!(adapted(command, dir, 12_000), expected);
    }
}
