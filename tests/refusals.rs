//! What must not start does not, and says why.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use coracle_tests::cluster::dev_command;
use coracle_tests::{Cluster, Options, alone, binary, ports, process};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);

/// Runs `coracle` with arguments that it must refuse; returns its exit code and what it says.
fn refused(args: &[&str]) -> (i32, String) {
    let program = binary();
    let output = process::run(program.to_str().expect("a path of UTF-8"), args, b"", WITHIN);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap_or_else(|| panic!("{args:?}: {}: {told}", output.status));
    assert_ne!(code, 0, "{args:?} is not refused");
    assert!(!told.contains("panicked"), "{told}");
    (code, told)
}

fn expect(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of UTF-8").to_owned()
}

#[test]
fn a_data_directory_in_use() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    let pid = cluster.dev_pid().to_string();
    let dir = text(cluster.dir());
    let port = ports::free(1, 1).to_string();
    let (code, told) = refused(&["dev", "--port", &port, "--data-dir", &dir]);
    assert_eq!(code, 1, "{told}");
    expect(&told, &[&dir]);
    assert!(told.contains("in use") || told.contains("lock") || told.contains(&pid), "{told}");
    // The node's own directory, by way of its own configuration.
    let config = text(&cluster.dir().join("node-1.toml"));
    let (code, told) = refused(&["server", "--config", &config]);
    assert_eq!(code, 1, "{told}");
    expect(&told, &["node-1"]);
    assert_eq!(cluster.gateway(1).command("PING").text(), "PONG", "the first one is not disturbed");
}

#[test]
fn a_port_in_use() {
    let _alone = alone(LIMIT);
    let options = Options { data_dir: None, ..Options::default() };
    for (host, distance, what) in
        [("127.0.0.1", 0, "gateway"), ("127.0.0.2", 1, "core"), ("127.0.0.3", 1_000, "peers")]
    {
        let port = ports::free(3, 1);
        let _taken = TcpListener::bind((host, port + distance)).unwrap();
        let mut command = dev_command(&options, port);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        let own = std::process::id().to_string();
        expect(&told, &[host, &(port + distance).to_string(), what, &own, "--port"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let port = ports::free(1, 1);
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let number = port.to_string();
    let (code, told) = refused(&[
        "server",
        "--cluster-id",
        "test",
        "--node-id",
        "1",
        "--data-dir",
        &text(dir.path()),
        "--gateway-port",
        &number,
        "--maxclients",
        "1000",
        "--pin",
        "false",
    ]);
    assert_eq!(code, 1);
    expect(&told, &["cannot listen", &number, "another port"]);
}

#[test]
fn a_wrong_configuration_is_shown_with_its_line() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coracle.toml");
    let data = text(&dir.path().join("data"));
    let sound = format!("cluster_id = \"test\"\nnode_id = 1\ndata_dir = \"{data}\"\n");
    let file = text(&path);
    for (lines, parts) in [
        ("gatway_port = 7000\n", &["gatway_port", ":4:", "gateway_port"][..]),
        ("\ncores = 0\n", &["cores", ":5:", "256"]),
        ("cores = \"two\"\n", &["cores", ":4:"]),
        ("gateway_port = 70000\n", &["gateway_port", ":4:", "65535"]),
        ("cores = 2\ncores = 3\n", &[":5:", "cores"]),
        ("read_mode = \"maybe\"\n", &["read_mode", ":4:", "lease", "read_index"]),
        ("cores = \n", &[":4:"]),
        ("[[peers]]\nid = 2\nhost = \"127.0.0.2\"\n", &["node_id", "1"]),
        ("[[peers]]\nid = 1\nhost = \"nowhere\"\n", &[":6:", "host"]),
    ] {
        std::fs::write(&path, format!("{sound}{lines}")).unwrap();
        let (code, told) = refused(&["server", "--config", &file]);
        assert_eq!(code, 2, "{lines}: {told}");
        expect(&told, parts);
    }
    assert!(!Path::new(&data).exists(), "nothing is made before the configuration is sound");
    let (code, told) = refused(&["dev", "--set", "no_such=1", "--data-dir", &data]);
    assert_eq!(code, 2, "{told}");
    expect(&told, &["no_such"]);
    let (code, told) = refused(&["server", "--config", "/no/such/file"]);
    assert_eq!(code, 2, "{told}");
    expect(&told, &["/no/such/file"]);
}

#[test]
fn data_of_another_cluster_or_node() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { nodes: 1, groups: 2, data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options);
    assert!(cluster.stop(Signal::TERM).success());
    let data = text(&dir.path().join("node-1"));
    let port = ports::free(1, 1).to_string();
    let start = |cluster_id: &str, node_id: &str| {
        refused(&[
            "server",
            "--cluster-id",
            cluster_id,
            "--node-id",
            node_id,
            "--data-dir",
            &data,
            "--gateway-port",
            &port,
            "--groups",
            "2",
            "--maxclients",
            "1000",
            "--pin",
            "false",
        ])
    };
    let (code, told) = start("another", "1");
    assert_eq!(code, 1, "{told}");
    expect(&told, &["belongs to cluster", &data, "cluster_id"]);
    let config = std::fs::read_to_string(dir.path().join("node-1.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let (code, told) = start(config["cluster_id"].as_str().unwrap(), "2");
    assert_eq!(code, 1, "{told}");
    expect(&told, &["belongs to node 1", &data, "node_id"]);
    std::fs::remove_file(dir.path().join("node-1/node.toml")).unwrap();
    let (code, told) = start(config["cluster_id"].as_str().unwrap(), "1");
    assert_eq!(code, 1, "{told}");
    expect(&told, &["node.toml", &data]);
}
