//! Tests of the configuration: what is accepted, and the exact text of what is refused.

use super::*;

const THREE: &str = r#"cluster_id = "shop"
node_id = 2
data_dir = "/data/2"
groups = 16

[[peers]]
id = 1
host = "127.0.0.1"

[[peers]]
id = 2
host = "127.0.0.2"
gateway_port = 7100
cores = 4
rack = "b"

[[peers]]
id = 3
host = "127.0.0.3"
"#;

fn load(text: &str, flags: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("node.toml");
    std::fs::write(&path, text).expect("a small file");
    let result = Config::load(Some(&path), &Flags::of(flags));
    let prefix = format!("{}/", dir.path().display());
    result.map_err(|error| error.to_string().replace(&prefix, ""))
}

/// The error of a file that consists of the keys that must be there and `line` as its fourth line.
fn refusal(line: &str) -> String {
    load(&format!("cluster_id = \"c\"\nnode_id = 1\ndata_dir = \"/d\"\n{line}\n"), &[]).expect_err("refused")
}

#[test]
fn a_cluster_of_one_needs_three_keys() {
    let flags = [("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")];
    let config = Config::load(None, &Flags::of(&flags)).expect("enough");
    let node = config.node();
    assert_eq!((node.gateway_port, node.core_port, node.peer_port, node.admin_port), (7_000, 7_001, 8_000, 9_000));
    assert_eq!(node.host.to_string(), "127.0.0.1");
    assert_eq!(config.bootstrap.groups_count, 8);
    assert_eq!(config.bootstrap.settings, Settings::default());
    assert!(config.pin);
    assert_eq!((config.spin_us, config.segment_bytes, config.clients_count_max), (50, 64 << 20, 10_000));
    assert!(config.memory_bytes_max >= memory::SHARE_BYTES_MIN);
    assert!(
        config.printed.contains(&format!("memory_bytes_max = {}", config.memory_bytes_max)),
        "{}",
        config.printed
    );
}

#[test]
fn metrics_are_served_beside_the_node_elsewhere_or_not_at_all() {
    let addr = |flags: &[(&str, &str)]| load(THREE, flags).expect("sound").admin_addr().map(|addr| addr.to_string());
    assert_eq!(addr(&[]).as_deref(), Some("127.0.0.2:9100"));
    assert_eq!(addr(&[("admin_host", "127.0.0.9")]).as_deref(), Some("127.0.0.9:9100"));
    let none = load(&THREE.replace("cores = 4", "admin_port = 0"), &[]).expect("sound");
    assert_eq!((none.admin_addr(), none.node().admin_port), (None, 0));
    assert!(refusal("gateway_port = 0").contains("must be a whole number from 1 to 65535"));
}

#[test]
fn a_core_that_nobody_configures_is_what_the_table_says() {
    let config = Config::load(None, &Flags::of(&[("cluster_id", "c"), ("node_id", "1"), ("data_dir", "/d")]));
    let config = config.expect("enough");
    let map = ClusterMap::bootstrap(&config.bootstrap).expect("checked");
    let place = config.node().places().next().expect("a node has a core");
    let core = engine::Config::new(place, map, 1, "/d".into());
    let settings = &core.settings;
    assert_eq!(
        (core.segment_bytes, core.block_bytes_max, core.batch_bytes_max),
        (config.segment_bytes, config.block_bytes_max, config.batch_bytes_max)
    );
    assert_eq!(
        (core.inflight_bytes_max, core.uncommitted_bytes_max, core.cache_bytes_max),
        (config.inflight_bytes_max, config.uncommitted_bytes_max, config.cache_bytes_max)
    );
    assert_eq!(
        (core.group_log_bytes_max, core.log_bytes_max, core.log_tail_bytes_max, core.disk_reserve_bytes),
        (config.group_log_bytes_max, config.log_bytes_max, config.log_tail_bytes_max, config.disk_reserve_bytes)
    );
    assert_eq!(
        (core.clients_count_max, settings.client_output_bytes_max),
        (config.clients_count_max, config.client_output_bytes_max)
    );
    assert_eq!(
        (settings.client_stall_timeout, core.leader_wait, settings.stop_timeout),
        (config.client_stall_timeout, config.leader_wait, config.stop_timeout)
    );
    assert_eq!(
        (settings.latency_threshold, settings.slow_log_min, settings.slow_log_len_max),
        (config.latency_threshold, config.slow_log_min, config.slow_log_len_max)
    );
    assert_eq!(settings.compare_interval, config.compare_interval);
    assert_eq!((settings.node_down_after, settings.balance), (config.node_down_after, config.balance));
    assert_eq!(
        (settings.scrub_bytes_per_s, settings.scrub_interval),
        (config.scrub_bytes_per_s, config.scrub_interval)
    );
}

#[test]
fn peers_list_all_nodes_and_hold_the_addresses() {
    let config = load(THREE, &[]).expect("sound");
    assert_eq!(config.bootstrap.nodes.len(), 3);
    let node = config.node();
    assert_eq!((node.gateway_port, node.core_port, node.cores), (7_100, 7_101, 4));
    assert_eq!(node.rack.as_deref(), Some("b"));
    assert_eq!(config.bootstrap.cluster_id, ClusterId::from_name("shop"));
}

#[test]
fn what_is_slow_can_be_set_and_switched_off() {
    let slow = |flags: &[(&str, &str)]| {
        let config = load(THREE, flags).expect("sound");
        (config.latency_threshold, config.slow_log_min)
    };
    let (none, all) =
        ([("latency_threshold_ms", "0"), ("slowlog_log_slower_than", "-1")], [("slowlog_log_slower_than", "0")]);
    assert_eq!(slow(&none), (None, None));
    assert_eq!(slow(&all).1, Some(Duration::ZERO));
    assert_eq!(slow(&[("latency_threshold_ms", "7")]).0, Some(Duration::from_millis(7)));
}

#[test]
fn replicas_are_compared_as_often_as_is_wanted_or_never() {
    let interval = |flags: &[(&str, &str)]| load(THREE, flags).expect("sound").compare_interval;
    assert_eq!(interval(&[]), Some(Duration::from_secs(86_400)));
    assert_eq!(interval(&[("compare_interval_s", "60")]), Some(Duration::from_secs(60)));
    assert_eq!(interval(&[("compare_interval_s", "0")]), None);
}

#[test]
fn nodes_are_replaced_after_as_long_as_is_wanted_and_loads_are_balanced_if_that_is_wanted() {
    let planner = |flags: &[(&str, &str)]| {
        let config = load(THREE, flags).expect("sound");
        (config.node_down_after, config.balance)
    };
    assert_eq!(planner(&[]), (Duration::from_secs(600), false));
    assert_eq!(planner(&[("node_down_after_s", "30"), ("balance", "on")]), (Duration::from_secs(30), true));
    for wrong in [("node_down_after_s", "2"), ("node_down_after_s", "2592001"), ("balance", "maybe")] {
        assert!(load(THREE, &[wrong]).is_err(), "{wrong:?}");
    }
}

#[test]
fn what_lies_at_rest_is_checked_as_fast_and_as_often_as_is_wanted() {
    let scrub = |flags: &[(&str, &str)]| {
        let config = load(THREE, flags).expect("sound");
        (config.scrub_bytes_per_s, config.scrub_interval)
    };
    assert_eq!(scrub(&[]), (10 << 20, Some(Duration::from_secs(7 * 86_400))));
    assert_eq!(scrub(&[("scrub_bytes_per_s", "0"), ("scrub_interval_s", "60")]), (0, Some(Duration::from_secs(60))));
    assert_eq!(scrub(&[("scrub_interval_s", "0")]).1, None);
}

#[test]
fn flags_override_the_file() {
    let config = load(THREE, &[("groups", "32"), ("data_dir", "/elsewhere")]).expect("sound");
    assert_eq!(config.bootstrap.groups_count, 32);
    assert_eq!(config.data_dir, Path::new("/elsewhere"));
    let peers = [("peers", "id=2,host=10.0.0.2"), ("peers", "id=9,host=10.0.0.9,cores=3")];
    let config = load(THREE, &peers).expect("sound");
    let ids: Vec<_> = config.bootstrap.nodes.iter().map(|node| (node.id.0, node.cores)).collect();
    assert_eq!(ids, [(2, 1), (9, 3)]);
}

#[test]
fn what_is_printed_can_be_given_again() {
    let config = load(THREE, &[("spin_us", "7"), ("pin", "false")]).expect("sound");
    assert!(config.printed.contains("spin_us = 7                              # --spin-us\n"), "{}", config.printed);
    assert!(config.printed.contains("node.toml:4\n"), "{}", config.printed);
    let again = load(&config.printed, &[]).expect("what was printed");
    assert_eq!(again.bootstrap, config.bootstrap);
    assert_eq!((again.spin_us, again.pin, again.node_id), (7, false, Some(NodeId(2))));
}

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    assert_eq!(
        refusal("election_timeout_ms = 500"),
        "\
unknown key `election_timeout_ms`
 --> node.toml:4:1
  |
4 | election_timeout_ms = 500
  | ^^^^^^^^^^^^^^^^^^^
  = help: did you mean `election_timeout_max_ms`?"
    );
    assert!(refusal("zzz = 1").contains("= help: the keys here are cluster_id, node_id, data_dir, host,"));
}

#[test]
fn a_value_out_of_range_is_shown_with_its_range() {
    assert_eq!(
        refusal("cores = 0"),
        "\
`cores` must be a whole number from 1 to 256, not 0
 --> node.toml:4:9
  |
4 | cores = 0
  |         ^
  = help: Executor threads of this node"
    );
    let first_line = |line: &str| refusal(line).lines().next().unwrap_or_default().to_owned();
    let port = "`gateway_port` must be a whole number from 1 to 65535, not";
    assert_eq!(first_line("gateway_port = 70000"), format!("{port} 70000"));
    assert_eq!(first_line("gateway_port = 99999999999999999999"), format!("{port} 99999999999999999999"));
    assert_eq!(first_line("gateway_port = \"7000\""), format!("{port} a text"));
    assert_eq!(first_line("gateway_port = 7000.5"), format!("{port} a float"));
    assert_eq!(first_line("pin = 1"), "`pin` must be true or false, not a whole number");
    assert_eq!(first_line("read_mode = \"fast\""), "`read_mode` must be \"lease\" or \"read_index\", not \"fast\"");
    assert_eq!(first_line("host = \"localhost\""), "`host` must be an IP address, not \"localhost\"");
    assert_eq!(first_line("host = \"0.0.0.0\""), "`host` must be an IP address, not \"0.0.0.0\"");
    assert_eq!(first_line("segment_bytes = 67108865"), "`segment_bytes` must be a multiple of 4096, not 67108865");
    let told = first_line("heap_profile_bytes = 65535");
    assert_eq!(told, "`heap_profile_bytes` must be 0 or at least 65536, not 65535");
    let told =
        "`otlp_endpoint` must begin with http:// and name a host: a collector beside the node speaks TLS with others";
    for endpoint in ["https://collector:4318", "127.0.0.1:4318", "http://"] {
        assert_eq!(first_line(&format!("otlp_endpoint = \"{endpoint}\"")), told, "{endpoint}");
    }
    assert_eq!(first_line("peers = 3"), "`peers` must be a list of tables, each headed [[peers]]");
    assert!(first_line("cores = = 3").starts_with("not valid TOML: "));
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = refusal("cores = 0\ngroups = 99999\npin = 3");
    assert_eq!(text.matches("\nerror: ").count(), 2, "{text}");
}

#[test]
fn flags_are_checked_like_the_file() {
    let error = load(THREE, &[("cores", "-3")]).expect_err("refused");
    assert_eq!(
        error,
        "`--cores` must be a whole number from 1 to 256, not -3\n = help: Executor threads of this node"
    );
    let error = load(THREE, &[("peers", "id=2,hots=x")]).expect_err("refused");
    assert!(error.starts_with("unknown key `hots`\n = help: did you mean `host`?"), "{error}");
}

#[test]
fn missing_keys_are_named() {
    let error = load("", &[]).expect_err("refused");
    assert!(error.contains("`cluster_id` is missing\n = help: set it in the file or with --cluster-id"), "{error}");
    assert!(error.contains("`data_dir` is missing"), "{error}");
    let error = load("cluster_id = \"c\"\ndata_dir = \"/d\"", &[]).expect_err("refused");
    assert!(error.starts_with("`node_id` is missing") && error.contains("that this one is to join"), "{error}");
    let error = refusal("[[peers]]\nid = 1");
    assert!(error.contains("a peer without `host`\n --> node.toml:4:1"), "{error}");
    let error = load(THREE, &[("node_id", "7")]).expect_err("refused");
    assert!(error.starts_with("no peer has the id 7, which is this node's `node_id`"), "{error}");
}

#[test]
fn a_node_that_joins_has_no_id_and_its_own_addresses() {
    let text = "cluster_id = \"c\"\ndata_dir = \"/d\"\nhost = \"10.0.0.4\"\ncores = 2\n[[peers]]\nid = 1\nhost = \"10.0.0.1\"";
    let config = load(text, &[]).expect("sound");
    let node = config.node();
    assert_eq!((config.node_id, node.id, node.cores, node.gateway_port), (None, NodeId(0), 2, 7_000));
    assert_eq!(node.host.to_string(), "10.0.0.4");
    assert_eq!(config.bootstrap.nodes.iter().map(|node| node.id.0).collect::<Vec<_>>(), [1]);
    assert!(
        config.printed.contains("host = \"10.0.0.4\"") && !config.printed.contains("node_id"),
        "{}",
        config.printed
    );
}

#[test]
fn rules_between_keys_are_shown_where_a_key_was_set() {
    assert_eq!(
        refusal("election_timeout_min_ms = 2000"),
        "\
election_timeout_max_ms must be greater than election_timeout_min_ms
 --> node.toml:4:27
  |
4 | election_timeout_min_ms = 2000
  |                           ^^^^"
    );
    assert!(refusal("gateway_port = 64000").starts_with("`admin_port` would be 64000 + 2000, which is no port"));
    let clash = refusal("core_port = 7000");
    assert!(clash.starts_with("127.0.0.1:7000 is used twice"), "{clash}");
    let error = load(&format!("cores = 2\n{THREE}"), &[]).expect_err("refused");
    assert!(error.starts_with("`cores` is 2 here and 4 in this node's peer entry\n --> node.toml:1:9"), "{error}");
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/node.toml")), &Flags::default()).expect_err("no file");
    assert_eq!(error.to_string(), "cannot read /nonexistent/node.toml: No such file or directory (os error 2)");
}

#[test]
fn every_default_lies_in_its_range() {
    for key in KEYS.iter().chain(keys::PEER_KEYS) {
        match (&key.default, &key.kind) {
            (Fallback::Int(number), keys::Kind::Int { min, max }) => {
                assert!((min..=max).contains(&number), "{}", key.name);
            }
            (Fallback::Text(word), keys::Kind::Choice(words)) => assert!(words.contains(word), "{}", key.name),
            (Fallback::Int(_), _) | (_, keys::Kind::Choice(_)) => {
                panic!("{} has a default of another kind", key.name)
            }
            _ => {}
        }
    }
}

#[test]
fn the_page_about_tuning_names_every_key_and_no_other() {
    let page = include_str!("../../../tuning.md");
    // What stands between backticks: the names of keys, alone or with a value, among other things.
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let is_named = |key: &str| named.iter().any(|text| text.split(' ').next() == Some(key));
    let missing: Vec<&str> = KEYS.iter().map(|key| key.name).filter(|key| !is_named(key)).collect();
    assert!(missing.is_empty(), "tuning.md lacks {missing:?}");
    // An entry of a list begins with the keys that it is about.
    for entry in page.split("\n- `").skip(1) {
        let name = entry.split('`').next().unwrap_or_default();
        assert!(KEYS.iter().any(|key| key.name == name), "tuning.md explains `{name}`, which is no key");
    }
}
