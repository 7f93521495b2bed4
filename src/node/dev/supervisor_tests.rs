//! Tests of the supervisor with shells as nodes.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::DevArgs;
use super::super::cluster_file::ClusterFile;
use super::super::plan::Share;
use super::*;

const ARGS: DevArgs = DevArgs {
    change: None,
    nodes: Some(3),
    cores: Some(2),
    groups: Some(8),
    port: 7_000,
    data_dir: None,
    restart: false,
    set: vec![],
};

fn plan(dir: &Path) -> Plan {
    Plan::new(dir, &ClusterFile::open(dir, &ARGS).expect("a new cluster"), ARGS.port)
}

/// A node that runs a line of shell.
fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script);
    command
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn dev_json_pids(dir: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(dir.join("dev.json")).expect("the cluster is ready");
    let json: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    let nodes = json["nodes"].as_array().expect("a list");
    nodes.iter().map(|node| node["pid"].as_u64().expect("a number") as u32).collect()
}

/// Runs a supervisor until `done` says so of the directory, then asks it to stop.
fn run(
    dir: &Path,
    script: &str,
    restart: bool,
    health: &dyn Fn(&NodePlan) -> Health,
    done: impl Fn(&Path) -> bool + Send + 'static,
) -> Result<(), Error> {
    let (plan, console, stop) = (plan(dir), Console::new(), StopRequests::default());
    let launch = |node: &NodePlan, _: Option<&str>| shell(&script.replace("NODE", &node.id.to_string()));
    let kind = NodeKind { launch: &launch, health, knows: &|_, _| Some(true), prepare: &|_, _| Ok(()) };
    let (asking, watched_dir) = (stop.clone(), dir.to_owned());
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let asker = std::thread::spawn(move || {
        let begin = Instant::now();
        while !is_over.load(Ordering::Relaxed) && !done(&watched_dir) && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        asking.add();
    });
    let result = Supervisor::new(plan, kind, &console, stop, restart).run();
    over.store(true, Ordering::Relaxed);
    asker.join().expect("no panic");
    result
}

fn ready(_: &NodePlan) -> Health {
    Health::Ready
}

fn has_dev_json(dir: &Path) -> bool {
    dir.join("dev.json").exists()
}

#[test]
fn a_cluster_is_announced_when_ready_and_stopped_when_asked() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let asked = Cell::new(0);
    let health = |_: &NodePlan| {
        asked.set(asked.get() + 1);
        if asked.get() > 6 { Health::Ready } else { Health::Leaderless(Some(8)) }
    };
    run(dir.path(), "exec sleep 60", false, &health, has_dev_json).expect("a clean end");
    assert_eq!(asked.get(), 9, "each node is asked in each round, and the third is the first good one");
    let pids = dev_json_pids(dir.path());
    assert_eq!(pids.len(), 3);
    assert!(pids.into_iter().all(|pid| !is_running(pid)), "no process is left");
}

#[test]
fn a_node_that_does_not_start_is_reported_with_its_last_words() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = "if [ NODE = 2 ]; then echo 'no such luck' >&2; exit 3; fi; echo $$ > node-NODE.pid; exec sleep 60";
    let script = format!("cd {}; {script}", dir.path().display());
    let silent = |_: &NodePlan| Health::Silent;
    let error = run(dir.path(), &script, true, &silent, |_| false).expect_err("node 2 has failed");
    let text = error.to_string();
    assert!(text.starts_with("node 2 did not start: it ended with exit code 3\n  the end of "), "{text}");
    assert!(text.ends_with("node-2.log:\n  | no such luck"), "{text}");
    assert!(!has_dev_json(dir.path()));
}

#[test]
fn a_node_that_dies_stays_down() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = format!(
        "cd {}; if [ NODE = 1 ]; then sleep 0.5; echo > died; exit 1; fi; exec sleep 60",
        dir.path().display()
    );
    let died = |dir: &Path| {
        let died = dir.join("died").exists();
        std::thread::sleep(Duration::from_millis(if died { 600 } else { 0 }));
        died
    };
    run(dir.path(), &script, false, &ready, died).expect("the others end cleanly");
    let log = std::fs::read_to_string(dir.path().join("node-1.log")).expect("it was started");
    assert_eq!(log, "", "it was started once and said nothing");
}

#[test]
fn a_node_that_the_cluster_has_removed_is_forgotten() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (plan, console, stop) = (plan(dir.path()), Console::new(), StopRequests::default());
    let launch =
        |node: &NodePlan, _: Option<&str>| shell(if node.id == 2 { "sleep 0.3; exit 1" } else { "exec sleep 60" });
    // The first node that is asked says nothing.
    let knows = |node: &NodePlan, host: IpAddr| (node.id == 3).then(|| !host.to_string().ends_with(".2"));
    let kind = NodeKind { launch: &launch, health: &ready, knows: &knows, prepare: &|_, _| Ok(()) };
    let (asking, watched) = (stop.clone(), dir.path().to_owned());
    let asker = std::thread::spawn(move || {
        let begin = Instant::now();
        while !(has_dev_json(&watched) && dev_json_pids(&watched).len() == 2)
            && begin.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        asking.add();
    });
    Supervisor::new(plan, kind, &console, stop, false).run().expect("the others end cleanly");
    asker.join().expect("no panic");
    assert_eq!(dev_json_pids(dir.path()).len(), 2);
    let kept = ClusterFile::open(dir.path(), &ARGS).expect("the same cluster");
    assert_eq!(kept.ids().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn with_restart_a_node_that_dies_comes_back_under_a_new_process_id() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = "cd DIR; if [ NODE = 2 -a ! -e again ]; then echo > again; sleep 0.3; kill -9 $$; fi; \
                  if [ NODE = 2 ]; then echo $$ > second; fi; exec sleep 60";
    let script = script.replace("DIR", &dir.path().display().to_string());
    let came_back = |dir: &Path| {
        let second = std::fs::read_to_string(dir.join("second")).unwrap_or_default();
        second.trim().parse().is_ok_and(|pid: u32| dev_json_pids(dir).get(1) == Some(&pid))
    };
    run(dir.path(), &script, true, &ready, came_back).expect("a clean end");
    let second = std::fs::read_to_string(dir.path().join("second")).expect("it came back");
    assert_eq!(second.trim(), dev_json_pids(dir.path())[1].to_string());
}

#[test]
fn asked_again_the_supervisor_kills() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let plan = plan(dir.path());
    let (console, stop) = (Console::new(), StopRequests::default());
    let launch = |_: &NodePlan, _: Option<&str>| shell("trap '' TERM; echo up; while :; do sleep 0.1; done");
    let up = |node: &NodePlan| match std::fs::read_to_string(&node.log_file) {
        Ok(log) if log == "up\n" => Health::Ready,
        _ => Health::Silent,
    };
    let (asking, watched) = (stop.clone(), dir.path().to_owned());
    let asker = std::thread::spawn(move || {
        while !has_dev_json(&watched) {
            std::thread::sleep(Duration::from_millis(10));
        }
        asking.add();
        std::thread::sleep(Duration::from_millis(300));
        asking.add();
    });
    let kind = NodeKind { launch: &launch, health: &up, knows: &|_, _| None, prepare: &|_, _| Ok(()) };
    let error = Supervisor::new(plan, kind, &console, stop, false).run().expect_err("they had to be killed");
    asker.join().expect("no panic");
    assert!(matches!(&error, Error::Unclean(nodes) if nodes.matches("was killed").count() == 3), "{error}");
    assert!(dev_json_pids(dir.path()).into_iter().all(|pid| !is_running(pid)));
}

#[test]
fn a_cluster_keeps_its_shape() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = ClusterFile::open(dir.path(), &ARGS).expect("a new cluster");
    let again = DevArgs { nodes: None, cores: None, groups: None, ..ARGS };
    assert_eq!(ClusterFile::open(dir.path(), &again).expect("the same cluster"), first);
    let other = DevArgs { groups: Some(16), ..again };
    let error = ClusterFile::open(dir.path(), &other).expect_err("another shape");
    assert!(
        matches!(&error, Error::Usage(text) if text.contains("with --groups 8, which cannot become 16")),
        "{error}"
    );
}

#[test]
fn the_plan_follows_the_contract() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let plan = plan(dir.path());
    let node = &plan.nodes[1];
    assert_eq!(node.host.to_string(), "127.0.0.2");
    assert_eq!((node.gateway, node.peer, node.admin), (7_000, 8_000, 9_000));
    assert_eq!(node.cores, [7_001, 7_002]);
    assert_eq!(node.data_dir, dir.path().join("node-2"));
    let share = Share { clients_count_max: 500, memory_bytes_max: 300 << 20 };
    plan.write_configs(&["spin_us=20".to_owned(), "read_mode=read_index".to_owned()], share).expect("sound");
    let config = crate::config::Config::load(Some(&node.config_file), &crate::config::Flags::default());
    let config = config.expect("what was just written");
    assert_eq!((config.spin_us, config.pin, config.clients_count_max), (20, false, 500));
    assert_eq!(config.memory_bytes_max, 300 << 20);
    assert_eq!(config.bootstrap.settings.read_mode, meta::ReadMode::ReadIndex);
    assert_eq!((config.bootstrap.nodes.len(), config.node().cores), (3, 2));
    for wrong in ["groups=3", "nonsense", "spin_us=-1", "spinus=3"] {
        let error = plan.write_configs(&[wrong.to_owned()], share).expect_err(wrong);
        assert!(matches!(error, Error::Usage(_)), "{error}");
    }
}
