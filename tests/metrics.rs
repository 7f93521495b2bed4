//! Metrics and health over HTTP, with promtool and a Prometheus as people use them.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::{Cluster, Node, Options, Reply, Server, alone, http, ports, process, root, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);

/// What promtool dislikes about names that are redis_exporter's.
const AS_THE_EXPORTER_HAS_IT: [&str; 3] =
    ["redis_total_error_replies ", "redis_cluster_messages_sent_total ", "redis_cluster_messages_received_total "];

fn get(node: &Node, path: &str) -> (u16, String) {
    http::get(&node.host, node.admin, path).unwrap_or_else(|error| panic!("{path} of node {}: {error}", node.id))
}

/// All samples of a node: name and labels, and the value.
fn scrape(node: &Node, path: &str) -> BTreeMap<String, f64> {
    let (status, text) = get(node, path);
    assert_eq!(status, 200, "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    samples.map(sample).collect()
}

/// The fields of a section of INFO.
fn info(cluster: &Cluster, section: &str) -> BTreeMap<String, String> {
    let Reply::Bulk(text) = cluster.gateway(1).command(&format!("INFO {section}")) else { panic!("no text") };
    let text = String::from_utf8(text).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn metrics_tell_what_info_tells_and_pass_promtool() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let mut client = cluster.gateway(1);
    for number in 0..100 {
        assert_eq!(client.command(&format!("SET k{number} v EX 1000")), ok());
    }
    assert!(client.command("INCR k1").error().is_some());
    let node = cluster.node(1);
    let (status, text) = get(&node, "/metrics?per_group=1");
    assert_eq!(status, 200, "{text}");
    let output = process::run("promtool", &["check", "metrics"], text.as_bytes(), WITHIN);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_known = |line: &&str| AS_THE_EXPORTER_HAS_IT.iter().any(|name| line.starts_with(name));
    let complaints: Vec<&str> = told.lines().filter(|line| !is_known(line)).collect();
    assert!(complaints.is_empty(), "promtool: {complaints:#?}");
    let samples = scrape(&node, "/metrics");
    let sum = |name: &str| {
        let of_cores = samples.iter().filter(|(known, _)| known.split('{').next() == Some(name));
        let values: Vec<f64> = of_cores.map(|(_, value)| *value).collect();
        assert_eq!(values.len(), 2, "{name} of both cores");
        values.iter().sum::<f64>()
    };
    assert!(sum("coracle_commands_processed_total") >= 101.0);
    assert!(sum("coracle_groups") >= 8.0 && sum("coracle_turn_seconds_count") > 0.0);
    let keys_count: f64 = (1..=3).map(|id| scrape(&cluster.node(id), "/metrics")["redis_db_keys{db=\"db0\"}"]).sum();
    assert_eq!(keys_count, 100.0);
    assert_eq!(samples["redis_up"], 1.0);
    assert!(samples["redis_commands_processed_total"] >= 101.0 && samples["redis_errors_total{err=\"ERR\"}"] >= 1.0);
    assert!(samples["redis_commands_total{cmd=\"set\"}"] >= 100.0);
    assert_eq!((samples["redis_cluster_state"], samples["redis_cluster_slots_ok"]), (1.0, 16_384.0));
    assert_eq!(samples["redis_config_maxmemory"], samples["redis_memory_max_bytes"]);
    // Each figure of INFO is there, under its own name.
    let names: BTreeSet<&str> = samples.keys().map(|name| name.split('{').next().unwrap()).collect();
    let missing: Vec<String> = info(&cluster, "coracle")
        .into_keys()
        .filter(|field| !field.starts_with("turn_"))
        .map(|field| match field.strip_suffix("_us").or(field.strip_suffix("_ms")) {
            Some(stem) => format!("{stem}_seconds"),
            None => field,
        })
        .filter(|field| {
            !names.contains(&*format!("coracle_{field}")) && !names.contains(&*format!("coracle_{field}_total"))
        })
        .collect();
    assert!(missing.is_empty(), "INFO has, and /metrics has not: {missing:?}");
}

#[test]
fn a_state_names_each_group_and_every_setting() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, groups: 4, ..Options::default() });
    let node = cluster.node(2);
    let (status, text) = get(&node, "/debug/state");
    assert_eq!(status, 200, "{text}");
    let state: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!((state["node"].as_u64(), state["is_stopping"].as_bool()), (Some(2), Some(false)));
    let cores = state["cores"].as_array().expect("cores");
    assert_eq!(cores.len(), 2);
    let groups: BTreeSet<&String> =
        cores.iter().flat_map(|core| core["groups"].as_object().expect("groups").keys()).collect();
    // Each node has a replica of each of them, and of the one that the cluster itself needs.
    assert_eq!(groups.len(), 5, "{groups:?}");
    assert!(cores.iter().all(|core| core["figures"]["turns"].as_u64() > Some(0)));
    assert_eq!(state["settings"]["groups"].as_str(), Some("4"));
}

#[test]
fn a_node_is_ready_while_it_serves_and_says_why_it_does_not() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let node = cluster.node(1);
    assert_eq!((get(&node, "/livez"), get(&node, "/readyz")), ((200, "alive\n".into()), (200, "ready\n".into())));
    cluster.kill(2);
    wait_until("two nodes of three are ready", WITHIN, || get(&node, "/readyz") == (200, "ready\n".into()));
    cluster.kill(3);
    wait_until("a node alone is not ready", WITHIN, || get(&node, "/readyz").0 == 503);
    assert_eq!(get(&node, "/readyz").1, "no group has a leader that is known here\n");
    assert_eq!(get(&node, "/livez").0, 200, "starting it again would not help");
}

#[test]
fn a_node_that_waits_for_others_lives_and_is_not_ready() {
    let _alone = alone(LIMIT);
    let (dir, port) = (tempfile::tempdir().unwrap(), ports::free(2, 1));
    let config = dir.path().join("node.toml");
    let write = |admin_port: u16| {
        let text = format!(
            "cluster_id = \"m\"\nnode_id = 1\ndata_dir = {:?}\npin = false\n[[peers]]\nid = 1\nhost = \"127.0.0.1\"\n\
             gateway_port = {port}\nadmin_port = {admin_port}\n[[peers]]\nid = 2\nhost = \"127.0.0.2\"\ngateway_port = {port}\n",
            dir.path().join("data"),
        );
        std::fs::write(&config, text).unwrap();
    };
    write(port + 2_000);
    let mut server = Server::start(&config, dir.path().join("log"));
    let ask = |path: &str| http::get("127.0.0.1", port + 2_000, path);
    wait_until("a node that waits answers", WITHIN, || ask("/livez").is_ok_and(|(status, _)| status == 200));
    let (status, reason) = ask("/readyz").unwrap();
    assert!(status == 503 && reason.contains("waits for the others"), "{status} {reason}\n{}", server.told());
    assert_eq!(ask("/metrics").unwrap().0, 503);
    server.kill();
    write(0);
    let server = Server::start(&config, dir.path().join("log"));
    wait_until("it waits", WITHIN, || server.told().contains("waiting") || server.told().contains("form"));
    assert!(ask("/livez").is_err(), "nobody listens: {}", server.told());
}

#[test]
fn a_prometheus_scrapes_a_cluster() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let (dir, port) = (tempfile::tempdir().unwrap(), ports::free(1, 1));
    let targets: Vec<String> = cluster.nodes().iter().map(|node| format!("{}:{}", node.host, node.admin)).collect();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: coracle\n  static_configs: [{{targets: {targets:?}}}]\n"
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let mut prometheus = process::bound("prometheus")
        .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let query = |what: &str| {
        let (status, text) = http::get("127.0.0.1", port, &format!("/api/v1/query?query={what}")).ok()?;
        let answer: serde_json::Value = serde_json::from_str(&text).ok().filter(|_| status == 200)?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().ok()
    };
    wait_until("Prometheus (Debian's package `prometheus`) has scraped each node", WITHIN, || {
        query("sum(up)") == Some(3.0) && query("sum(redis_up)") == Some(3.0)
    });
    wait_until("leaders add up", WITHIN, || query("sum(coracle_groups_led)") == query("max(coracle_groups)"));
    prometheus.kill().unwrap();
    prometheus.wait().unwrap();
}

/// The metrics that a text names: words that begin as ours do.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("coracle_") || word.starts_with("redis_")).collect()
}

#[test]
fn alerts_and_the_board_name_what_nodes_tell() {
    let _alone = alone(LIMIT);
    let folder = root().join("tools/prometheus");
    for (check, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let path = folder.join(file);
        let output = process::run("promtool", &[check, "rules", path.to_str().unwrap()], b"", WITHIN);
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "promtool {check} rules {}: {told}", path.display());
    }
    let alerts = std::fs::read_to_string(folder.join("alerts.yml")).unwrap();
    let board = std::fs::read_to_string(root().join("tools/grafana/coracle.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&board).expect("a board is JSON");
    let panels = board["panels"].as_array().expect("a board has panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.map(|target| target["expr"].as_str().expect("a query")).collect();
    assert!(queries.len() > 20, "{queries:?}");
    let rules: Vec<&str> = alerts.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    let cluster = Cluster::start(Options { nodes: 1, groups: 2, ..Options::default() });
    assert!(cluster.gateway(1).command("NOSUCH").error().is_some());
    let samples = scrape(&cluster.node(1), "/metrics");
    let told: BTreeSet<&str> = samples.keys().map(|name| name.split('{').next().unwrap()).collect();
    for query in queries.iter().chain(&rules) {
        let named = metrics_in(query);
        let unknown: Vec<_> = named.difference(&told).collect();
        assert!(unknown.is_empty(), "no node tells {unknown:?}: {query}");
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The words of a text that stand between two marks.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split_once(end).map(|(word, _)| word)).collect()
}

#[test]
fn each_alert_and_each_alarm_has_a_section_in_the_runbook() {
    let runbook = std::fs::read_to_string(root().join("tools/runbook.md")).unwrap();
    let sections: BTreeMap<String, &str> = runbook
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap())
        .map(|(heading, text)| (anchor(heading), text))
        .collect();
    let alerts = std::fs::read_to_string(root().join("tools/prometheus/alerts.yml")).unwrap();
    let names = between(&alerts, "- alert: ", "\n");
    let urls = between(&alerts, "runbook_url: \"tools/runbook.md#", "\"");
    assert_eq!(names.iter().map(|name| anchor(name)).collect::<Vec<_>>(), urls, "each alert names its own section");
    for (heading, text) in &sections {
        for part in ["**What to do.**", "**It is over**"] {
            assert!(text.contains(part) || text.contains("**Why and what to do.**"), "{heading} lacks {part}");
        }
    }
    let missing: Vec<_> = urls.iter().filter(|url| !sections.contains_key(**url)).collect();
    assert!(missing.is_empty(), "the runbook has no section for {missing:?}");
    // Names of alarms, as nodes tell them: one behind each condition.
    let alarms = std::fs::read_to_string(root().join("src/engine/observe/alarms.rs")).unwrap();
    let alarms = alarms.split("#[cfg(test)]").next().unwrap();
    let told: Vec<&str> =
        alarms.split("tell(").skip(1).filter_map(|call| between(call, ", \"", "\"").first().copied()).collect();
    assert!(told.len() >= 7 && told.contains(&"disk_full"), "{told:?}");
    for alarm in told {
        assert!(runbook.contains(&format!("Alarm `{alarm}`.")), "the runbook does not tell what to do about {alarm}");
    }
    // Links within the page lead somewhere.
    for link in between(&runbook, "](#", ")") {
        assert!(sections.contains_key(link), "nothing is called {link}");
    }
}
