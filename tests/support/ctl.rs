//! The operator's tool, run to its end.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::{Cluster, binary, process};

/// How long it may take.
const WITHIN: Duration = Duration::from_secs(60);

/// The program, which is built beside the server.
///
/// # Panics
/// If it is not there.
pub fn program() -> PathBuf {
    let path = binary().with_file_name("coracle-ctl");
    assert!(path.is_file(), "{} is missing; `cargo build --release -p coracle-ctl` makes it", path.display());
    path
}

/// Runs it against the gateways of some nodes.
pub fn run(cluster: &Cluster, nodes: &[usize], args: &[&str]) -> Output {
    let gateway = |id: &usize| {
        let node = cluster.node(*id);
        format!("{}:{}", node.host, node.gateway)
    };
    let addrs = nodes.iter().map(gateway).collect::<Vec<_>>().join(",");
    let args = [&["--addr", &addrs], args].concat();
    process::run(program().to_str().expect("paths of builds are UTF-8"), &args, b"", WITHIN)
}

/// Its exit code.
///
/// # Panics
/// If a signal ended it.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{}", told(output)))
}

/// All that it printed.
pub fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What it shows if all is well.
///
/// # Panics
/// If it is not.
pub fn shown(cluster: &Cluster, nodes: &[usize], args: &[&str]) -> String {
    let output = run(cluster, nodes, args);
    assert_eq!(code(&output), 0, "{args:?}: {}", told(&output));
    assert!(!told(&output).contains('\u{1b}'), "no colours but on a terminal");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The document that it prints if all is well.
///
/// # Panics
/// If it is not.
pub fn json(cluster: &Cluster, nodes: &[usize], args: &[&str]) -> Value {
    let shown = shown(cluster, nodes, &[&["--json"], args].concat());
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"))
}
