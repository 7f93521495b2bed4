//! MONITOR: with redis-cli and redis-py, beside a real redis-server, and by clients that do not read.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use coracle_tests::client::{encode, ok};
use coracle_tests::redis_server::RedisServer;
use coracle_tests::{Client, Cluster, Options, Reply, alone, process, root};

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
/// Long enough for lines that fill a socket's buffers soon, and short enough to be shown whole.
const SLOW_VALUE_BYTES: usize = 4_000;

/// The next line of a client that monitors, without its time and its address, which are checked.
fn next_shown(monitor: &mut Client) -> String {
    let Reply::Simple(line) = monitor.reply().unwrap() else { panic!("no line") };
    let (head, command) = line.split_once("] ").unwrap();
    let (time, addr) = head.split_once(" [0 ").unwrap();
    let (seconds, micros) = time.split_once('.').unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && micros.len() == 6, "{line}");
    assert!(addr.starts_with("127.0.0.1:"), "{line}");
    command.to_owned()
}

#[test]
fn lines_are_those_of_redis() {
    let _alone = alone(LIMIT);
    let (redis, cluster) =
        (RedisServer::start(), Cluster::start(Options { cores: 2, groups: 4, ..Options::default() }));
    let binary: &[&[u8]] = &[b"set", b"k", b" \"\\\n\r\t\x07\x08\x00\xff\x7f~"];
    let commands: [&[&[u8]]; 12] = [
        &[b"SET", b"k", b"v"],
        binary,
        &[b"get", b"k"],
        &[b"ECHO", b""],
        &[b"PING"],
        &[b"INCR", b"k"],
        &[b"NOSUCH", b"command"],
        &[b"GET"],
        &[b"CONFIG", b"GET", b"maxmemory"],
        &[b"AUTH", b"secret"],
        &[b"HELLO", b"2", b"AUTH", b"default", b"secret", b"SETNAME", b"me"],
        &[b"DBSIZE"],
    ];
    let shown_by = |mut monitor: Client, mut client: Client| {
        assert_eq!(monitor.command("MONITOR"), ok());
        // Until all cores of the node know.
        std::thread::sleep(Duration::from_millis(300));
        for command in commands {
            client.ask(command).unwrap();
        }
        client.command("ECHO end");
        let shown = std::iter::repeat_with(|| next_shown(&mut monitor)).take_while(|line| !line.contains("\"end\""));
        let shown: Vec<String> = shown.collect();
        assert_eq!(monitor.command("RESET"), Reply::Simple("RESET".to_owned()));
        client.command("ECHO unseen");
        assert_eq!(monitor.command("ECHO still"), Reply::Bulk(b"still".to_vec()));
        shown
    };
    let theirs = shown_by(redis.client(), redis.client());
    assert_eq!(theirs.len(), 9, "{theirs:?}");
    // Which core takes a connection to the gateway is chance: several, so that both do.
    for _ in 0..8 {
        assert_eq!(shown_by(cluster.gateway(1), cluster.gateway(1)), theirs);
    }
    // A core port shows what it does not refuse: here it leads some keys only.
    let by_core = shown_by(cluster.core(1, 0), cluster.core(1, 0));
    assert!(by_core.iter().all(|line| theirs.contains(line)) && by_core.contains(&theirs[4]), "{by_core:?}");
}

#[test]
fn redis_cli_and_redis_py_show_commands() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 4, ..Options::default() });
    let node = cluster.node(1);
    let port = node.gateway.to_string();
    for protocol in [&[][..], &["-3"]] {
        let mut cli = process::bound("redis-cli")
            .args(["-h", &node.host, "-p", &port])
            .args(protocol)
            .arg("monitor")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(cli.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("OK"));
        let mut client = cluster.gateway(1);
        assert_eq!(client.command("SET cli value"), ok());
        let line = lines.find(|line| line.contains("cli")).unwrap();
        assert!(line.ends_with("] \"SET\" \"cli\" \"value\""), "{line}");
        let flags = client.command("CLIENT LIST").text();
        let listed =
            flags.lines().filter(|line| line.contains(" flags=O ") && line.contains(" cmd=monitor ")).count();
        assert_eq!(listed, 1, "{flags}");
        cli.kill().unwrap();
        cli.wait().unwrap();
    }
    let python = std::env::var_os("CORACLE_TEST_PYTHON").map_or(root().join("target/venv/bin/python"), PathBuf::from);
    assert!(python.is_file(), "{} is missing; tools/verify makes it", python.display());
    let script = root().join("tests/testdata/redis_py_monitor.py");
    for protocol in ["2", "3"] {
        let args = [script.to_str().unwrap(), node.host.as_str(), &port, protocol];
        let output = process::run(python.to_str().unwrap(), &args, b"", WITHIN);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "done", "{told}");
    }
}

#[test]
fn a_monitor_that_does_not_read_loses_lines_and_takes_bounded_memory() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, groups: 4, ..Options::default() });
    let pid = cluster.node(1).pid;
    let (mut monitor, mut client) = (cluster.gateway(1), cluster.gateway(1));
    assert_eq!(monitor.command("MONITOR"), ok());
    let value = vec![b'v'; SLOW_VALUE_BYTES];
    let mut batch = Vec::new();
    (0..500).for_each(|_| encode(&[b"SET", b"k", &value], &mut batch));
    let mut rounds = 0u64;
    let mut round = |client: &mut Client| {
        client.send(&batch).unwrap();
        (0..500).for_each(|_| assert_eq!(client.reply().unwrap(), ok()));
        rounds += 1;
    };
    let begin = Instant::now();
    // What lies in the sockets' buffers is not lost.
    while client.info("monitor_lines_lost") == 0 {
        round(&mut client);
        assert!(begin.elapsed() < WITHIN, "nothing is ever lost");
    }
    let before = process::resident_bytes(pid);
    (0..40).for_each(|_| round(&mut client));
    // The same key all the while: only the log's buffers and what is kept for followers may still fill.
    let grown = process::resident_bytes(pid).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes while 80 MB of lines were lost");
    let (mut sets, mut lost) = (0, 0u64);
    // Lines about INFO may be among those that are lost.
    while sets + lost < 500 * rounds {
        let line = monitor.reply().unwrap().text();
        if line.contains("\"monitor-lost\"") {
            lost += line.rsplit('"').nth(1).unwrap().parse::<u64>().unwrap();
        } else {
            sets += u64::from(line.contains("] \"SET\""));
        }
    }
    // A part of each round finds room in the sockets' buffers.
    assert!(lost >= 500 * 30, "{lost} lost, {sets} shown");
    assert!(begin.elapsed() < WITHIN);
}
