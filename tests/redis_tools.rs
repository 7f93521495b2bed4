//! redis-cli and redis-benchmark, as people use them.

use std::time::Duration;

use coracle_tests::client::encode;
use coracle_tests::{Cluster, Options, Reply, alone, process};

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(60);

/// A key whose leader is not the core that this node's core port belongs to, by asking that port.
fn key_led_elsewhere(cluster: &Cluster, id: usize) -> String {
    let mut core = cluster.core(id, 0);
    let keys = (0..1_000).map(|key| format!("away:{key}"));
    let mut away = keys.filter(|key| core.command(&format!("GET {key}")).error().is_some());
    away.next().expect("a node of three does not lead everything")
}

/// What redis-cli prints; it must end well and print no error.
fn cli(cluster: &Cluster, port: u16, args: &[&str], input: &[u8]) -> String {
    let port = port.to_string();
    let all: Vec<&str> = ["-h", "127.0.0.1", "-p", &port].into_iter().chain(args.iter().copied()).collect();
    let output = process::run("redis-cli", &all, input, WITHIN);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.is_empty(),
        "{args:?}: {}\n{text}\n{told}\n{}",
        output.status,
        cluster.output()
    );
    text.trim_end().to_owned()
}

#[test]
fn redis_cli_on_the_gateway() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let ask = |args: &[&str]| cli(&cluster, cluster.port(), args, b"");
    for key in 0..50 {
        assert_eq!(ask(&["set", &format!("key:{key}"), "value"]), "OK");
    }
    assert_eq!(ask(&["dbsize"]), "50", "the keys of the whole cluster");
    assert_eq!(ask(&["--scan", "--pattern", "key:4?"]).lines().count(), 10);
    assert!(ask(&["--bigkeys"]).contains("Sampled 50 keys in the keyspace!"));
    assert_eq!(ask(&["set", "mayfly", "v", "px", "100"]), "OK");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(ask(&["get", "mayfly"]), "");
    let away = key_led_elsewhere(&cluster, 1);
    assert_eq!(ask(&["set", &away, "here"]), "OK");
    assert_eq!(ask(&["get", &away]), "here");
    assert_eq!(ask(&["-3", "get", &away]), "here");
    assert_eq!(ask(&["mget", "{x}1", "{x}2"]), "", "two absent keys");
    assert!(ask(&["mget", "a", "b"]).starts_with("CROSSSLOT "));
    assert_eq!(ask(&["mset", "{x}1", "one", "{x}2", "two"]), "OK");
    assert_eq!(ask(&["mget", "{x}1", "{x}2"]), "one\ntwo");
    assert_eq!(ask(&["-3", "--no-raw", "get", "absent"]), "(nil)");
    let hello = ask(&["-3", "hello", "3"]);
    for expected in ["server redis", "proto 3", "mode cluster", "role master"] {
        assert!(hello.contains(expected), "{hello}");
    }
    assert!(ask(&["-3", "info", "server"]).contains("redis_mode:cluster"));
    assert!(ask(&["command", "docs", "get"]).contains("summary"));
    assert!(ask(&["command", "count"]).parse::<u32>().is_ok_and(|count| count > 40));
    assert!(ask(&["no", "such"]).starts_with("ERR unknown command 'no'"));
    assert_eq!(ask(&["flushall"]), "OK");
    assert_eq!(ask(&["dbsize"]), "0");
    // Commands on stdin are answered one by one.
    let answers = cli(&cluster, cluster.port(), &[], b"set a 1\nincr a\nget a\n");
    assert_eq!(answers, "OK\n2\n2");
}

#[test]
fn redis_cli_follows_moved() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let core_port = cluster.port() + 1;
    let away = key_led_elsewhere(&cluster, 1);
    let moved = cli(&cluster, core_port, &["get", &away], b"");
    assert!(moved.starts_with("MOVED "), "without -c it is only told: {moved}");
    assert_eq!(cli(&cluster, core_port, &["-c", "set", &away, "found"], b""), "OK");
    assert_eq!(cli(&cluster, core_port, &["-c", "get", &away], b""), "found");
    assert_eq!(cli(&cluster, core_port, &["-c", "-3", "get", &away], b""), "found");
    let commands: String = (0..100).map(|key| format!("set many:{key} {key}\nget many:{key}\n")).collect();
    let answers = cli(&cluster, core_port, &["-c"], commands.as_bytes());
    let expected: String = (0..100).map(|key| format!("OK\n{key}\n")).collect();
    let (told, answers): (Vec<&str>, Vec<&str>) = answers.lines().partition(|line| line.starts_with("-> Redirected"));
    assert_eq!(answers.join("\n"), expected.trim_end());
    assert!(told.len() > 10, "it was redirected often: {told:?}");
    let counts: i64 = (1..=3)
        .flat_map(|id| [0, 1].map(|core| cluster.core(id, core).command("DBSIZE")))
        .map(|reply| if let Reply::Int(count) = reply { count } else { panic!("{reply:?}") })
        .sum();
    assert_eq!(counts, 101, "on core ports DBSIZE counts what the core leads");
}

#[test]
fn redis_cli_pipe_mode() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let mut input = Vec::new();
    (0..20_000).for_each(|key| encode(&[b"SET", format!("pipe:{key}").as_bytes(), b"value"], &mut input));
    let told = cli(&cluster, cluster.port(), &["--pipe"], &input);
    assert!(told.contains("errors: 0, replies: 20000"), "{told}");
    assert_eq!(cluster.gateway(2).command("DBSIZE"), Reply::Int(20_000));
}

#[test]
fn redis_cli_checks_the_cluster() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    for port in [cluster.port(), cluster.port() + 1] {
        let args = ["--cluster", "check", &format!("127.0.0.1:{port}")];
        let output = process::run("redis-cli", &args, b"", WITHIN);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{text}", output.status);
        for expected in ["[OK] All nodes agree about slots configuration.", "[OK] All 16384 slots covered."] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("[ERR]") && !text.contains("[WARNING]"), "{text}");
    }
}

/// Runs redis-benchmark, which must end well, complain about nothing, and get no error.
fn benchmark(cluster: &Cluster, args: &[&str]) {
    let cores = cluster.nodes()[0].cores.len();
    let errors = || -> u64 {
        let places = (1..=3).flat_map(|id| (0..cores).map(move |core| (id, core)));
        places.map(|(id, core)| cluster.core(id, core).info("total_error_replies")).sum()
    };
    let before = errors();
    let output = process::run("redis-benchmark", args, b"", WITHIN);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {}\n{told}", output.status);
    // What it prints when a reply is an error, or when it dislikes the server.
    for complaint in ["Error", "ERR", "WARNING", "MOVED", "CLUSTERDOWN", "TRYAGAIN", "failed"] {
        assert!(!told.contains(complaint), "{args:?}:\n{told}");
    }
    assert!(told.contains("requests per second"), "{args:?}:\n{told}");
    assert_eq!(errors() - before, 0, "error replies, {args:?}:\n{told}");
    for line in told.split(['\r', '\n']).filter(|line| line.contains("p50")) {
        println!("{line}");
    }
}

#[test]
fn redis_benchmark_on_the_gateway() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let port = cluster.port().to_string();
    for (depth, count) in [("1", "10000"), ("16", "100000")] {
        let args = ["-h", "127.0.0.1", "-p", &port, "-t", "set,get", "-r", "100000", "-n", count, "-P", depth, "-q"];
        benchmark(&cluster, &args);
    }
    let size = cluster.gateway(2).command("DBSIZE");
    // Of 110,000 writes to 100,000 keys drawn at random nearly 66,700 meet a key of their own.
    assert!(matches!(size, Reply::Int(60_000..=73_000)), "{size:?}");
    benchmark(&cluster, &["-h", "127.0.0.1", "-p", &port, "-t", "ping,incr,mset", "-n", "5000", "-q"]);
}

#[test]
fn redis_benchmark_on_the_cluster() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let port = (cluster.port() + 1).to_string();
    for (depth, count) in [("1", "10000"), ("16", "100000")] {
        let args = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "--cluster",
            "-t",
            "set,get",
            "-r",
            "100000",
            "-n",
            count,
            "-P",
            depth,
            "-q",
        ];
        benchmark(&cluster, &args);
    }
    let size = cluster.gateway(1).command("DBSIZE");
    // Its keys have a tag per node as well, so they are fewer than without.
    assert!(matches!(size, Reply::Int(40_000..=110_000)), "{size:?}");
}
