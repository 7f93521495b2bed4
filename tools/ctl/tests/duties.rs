//! The program against a cluster that drains, decommissions and heals: what it asks for, waits for and says, and its exit codes.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod canned;

use std::io::Write;
use std::sync::{Arc, Mutex};

use canned::{bulk, code, ctl, int, list, map, serve, told};
use serde_json::Value;

/// What a cluster says of node 2 each time it is looked at, the last of it for ever.
#[derive(Clone, Default)]
struct Cluster {
    /// The node's duty; it is gone where there is none.
    duties: &'static [Option<&'static str>],
    /// Its task: kind, state and reason.
    tasks: &'static [(&'static str, &'static str, &'static str)],
    /// Of the plan.
    refusals: &'static [&'static str],
}

/// A decommission that no node has room for.
const STUCK: &[(&str, &str, &str)] = &[("decommission", "waiting", "no node can take it: 2 have one already")];

/// What a cluster was asked to change.
type Asked = Arc<Mutex<Vec<String>>>;

fn node(id: i64, duty: &str) -> String {
    map(&[("id", int(id)), ("state", bulk("up")), ("gateway", bulk("127.0.0.1:1")), ("duty", bulk(duty))])
}

fn task((kind, state, reason): (&str, &str, &str)) -> String {
    map(&[
        ("kind", bulk(kind)),
        ("node", int(2)),
        ("leaders", int(1)),
        ("replicas", int(3)),
        ("bytes", int(5 << 20)),
        ("state", bulk(state)),
        ("reason", bulk(reason)),
    ])
}

impl Cluster {
    /// Serves it. Returns its address, and what it is asked to change.
    fn serve(self) -> (String, Asked) {
        let asked = Asked::default();
        let looks = Arc::new(Mutex::new((0, 0)));
        let noted = Arc::clone(&asked);
        let addr = serve(move |stream, words| {
            let mut looks = looks.lock().unwrap();
            let reply = match words {
                "CORACLE NODES" => {
                    let duty = self.duties[looks.0.min(self.duties.len() - 1)];
                    looks.0 += 1;
                    list(&[vec![node(1, "serves")], duty.map(|duty| node(2, duty)).into_iter().collect()].concat())
                }
                "CORACLE TASKS" => {
                    let told = self.tasks.get(looks.1.min(self.tasks.len().saturating_sub(1)));
                    looks.1 += 1;
                    list(&told.map(|told| task(*told)).into_iter().collect::<Vec<_>>())
                }
                "CORACLE PLAN DECOMMISSION 2" => map(&[
                    ("moves", list(&[bulk("g0: another replica on 3/0 for 2 (node 2 leaves)")])),
                    ("bytes", int(5 << 20)),
                    ("refusals", list(&self.refusals.iter().map(|refusal| bulk(refusal)).collect::<Vec<_>>())),
                    ("digest", bulk("00ff00ff00ff00ff")),
                    ("seconds", int(3)),
                    ("is_whole", int(1)),
                ]),
                "CORACLE DRAIN 9" => "-ERR no such node: CORACLE NODES names them\r\n".to_owned(),
                "PING" => "+PONG\r\n".to_owned(),
                change => {
                    noted.lock().unwrap().push(change.to_owned());
                    "+OK\r\n".to_owned()
                }
            };
            stream.write_all(reply.as_bytes()).unwrap();
        });
        (addr, asked)
    }
}

#[test]
fn a_drain_is_waited_for_and_says_why_it_waits() {
    let cluster = Cluster {
        duties: &[Some("drains")],
        tasks: &[
            ("drain", "waiting", "no other replica can lead it"),
            ("drain", "running", ""),
            ("drain", "done", ""),
        ],
        ..Cluster::default()
    };
    let (addr, asked) = cluster.clone().serve();
    let output = ctl(&["--addr", &addr, "drain", "2", "--wait"]);
    let expected = "\
Node 2 drains: it hands over what it leads. It keeps its replicas; `coracle-ctl
undrain 2` has it serve again.
drain of node 2 waits: no other replica can lead it; 1 leader left
drain of node 2 is running; 1 leader left
Node 2 leads nothing, after 1s: it may be stopped.
";
    assert_eq!((code(&output), told(&output).as_str()), (0, expected));
    assert_eq!(*asked.lock().unwrap(), ["CORACLE DRAIN 2"]);

    let (addr, _) = cluster.serve();
    let output = ctl(&["--addr", &addr, "--json", "drain", "2", "--wait"]);
    let documents: Vec<Value> = told(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = documents.iter().map(|document| document["task"]["state"].as_str()).collect();
    assert_eq!((code(&output), states), (0, vec![None, Some("waiting"), Some("running"), None]));
    assert_eq!(documents[1]["task"]["reason"], "no other replica can lead it");
    let done: Vec<_> = documents.iter().map(|document| document["is_done"].as_bool().unwrap()).collect();
    assert_eq!(done, [false, false, false, true]);
}

#[test]
fn a_decommission_is_waited_for_until_the_node_is_gone() {
    let cluster = Cluster {
        duties: &[Some("leaves"), Some("leaves"), Some("leaves"), None],
        tasks: &[("decommission", "running", ""), ("decommission", "done", "")],
        ..Cluster::default()
    };
    let (addr, asked) = cluster.serve();
    let output = ctl(&["--addr", &addr, "decommission", "2", "--wait"]);
    let shown = told(&output);
    assert_eq!(code(&output), 0, "{shown}");
    let lines = [
        "decommission of node 2 is running; 1 leader, 3 replicas (5.0 MiB) left\n",
        "node 2 holds nothing, and is being removed\n",
        "Node 2 is removed, after 1s",
    ];
    let at: Vec<_> = lines.iter().map(|line| shown.find(line)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{at:?} in {shown}");
    assert_eq!(*asked.lock().unwrap(), ["CORACLE DECOMMISSION 2"]);
}

#[test]
fn what_is_taken_back_meanwhile_or_takes_too_long_is_told() {
    let cluster = Cluster { duties: &[Some("leaves"), Some("serves")], tasks: STUCK, ..Cluster::default() };
    let (addr, _) = cluster.serve();
    let output = ctl(&["--addr", &addr, "decommission", "2", "--wait"]);
    assert_eq!(code(&output), 1, "{}", told(&output));
    assert!(told(&output).contains("somebody has taken that back: node 2 serves"), "{}", told(&output));
    let cluster = Cluster { duties: &[Some("leaves")], tasks: STUCK, ..Cluster::default() };
    let (addr, _) = cluster.serve();
    let output = ctl(&["--addr", &addr, "decommission", "2", "--wait", "--wait-max", "0.1"]);
    let shown = told(&output);
    assert_eq!(code(&output), 3, "{shown}");
    assert!(shown.contains("no node can take it: 2 have one already"), "{shown}");
    assert!(shown.contains("`coracle-ctl decommission 2 --wait` waits for it"), "{shown}");
}

#[test]
fn a_plan_changes_nothing_and_another_one_is_refused() {
    let cluster = Cluster { duties: &[Some("serves")], ..Cluster::default() };
    let (addr, asked) = cluster.clone().serve();
    let output = ctl(&["--addr", &addr, "decommission", "2", "--plan"]);
    let shown = told(&output);
    assert_eq!(code(&output), 0, "{shown}");
    assert!(shown.contains("\n  g0: another replica on 3/0 for 2 (node 2 leaves)\n"), "{shown}");
    assert!(shown.contains("--if-plan 00ff00ff00ff00ff --wait"), "{shown}");
    let output = ctl(&["--addr", &addr, "--json", "decommission", "2", "--plan"]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&plan["node"], &plan["digest"]), (&2.into(), &"00ff00ff00ff00ff".into()));
    let output = ctl(&["--addr", &addr, "decommission", "2", "--if-plan", "0123456789abcdef"]);
    assert_eq!(code(&output), 1, "{}", told(&output));
    assert!(told(&output).contains("nothing was changed"), "{}", told(&output));
    assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
    let output = ctl(&["--addr", &addr, "decommission", "2", "--if-plan", "00ff00ff00ff00ff"]);
    assert_eq!(code(&output), 0, "{}", told(&output));
    assert_eq!(*asked.lock().unwrap(), ["CORACLE DECOMMISSION 2"]);

    let refusals = &["group 0: no node can take it: 2 have one already"];
    let (addr, asked) = Cluster { refusals, ..cluster }.serve();
    let output = ctl(&["--addr", &addr, "decommission", "2", "--plan"]);
    assert_eq!(code(&output), 1, "a script sees that the node could not leave: {}", told(&output));
    assert!(told(&output).contains("1 step would wait\n  group 0: no node can take it"), "{}", told(&output));
    assert!(asked.lock().unwrap().is_empty(), "{asked:?}");
}

#[test]
fn tasks_are_shown_and_refusals_and_wrong_words_have_their_codes() {
    let cluster = Cluster { duties: &[Some("drains")], tasks: STUCK, ..Cluster::default() };
    let (addr, asked) = cluster.serve();
    let output = ctl(&["--addr", &addr, "tasks"]);
    let shown = told(&output);
    assert_eq!(code(&output), 0, "{shown}");
    assert!(
        shown.contains("decommission     2        1         3  5.0 MiB  waiting  no node can take it:"),
        "{shown}"
    );
    let output = ctl(&["--addr", &addr, "--json", "tasks"]);
    let tasks: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tasks["tasks"][0]["state"], "waiting");
    let output = ctl(&["--addr", &addr, "nodes"]);
    assert!(told(&output).contains("   2  -     up     drains"), "{}", told(&output));
    let output = ctl(&["--addr", &addr, "undrain", "2"]);
    assert_eq!((code(&output), asked.lock().unwrap().as_slice()), (0, &["CORACLE UNDRAIN 2".to_owned()][..]));
    let output = ctl(&["--addr", &addr, "drain", "9"]);
    assert_eq!(code(&output), 1);
    assert_eq!(told(&output), "coracle-ctl: no such node: CORACLE NODES names them\n");
    for wrong in [
        &["drain"][..],
        &["drain", "x"],
        &["decommission", "2", "--plan", "--wait"],
        &["decommission", "2", "--plan", "--if-plan", "00"],
        &["undrain", "2", "--wait"],
    ] {
        assert_eq!(code(&ctl(wrong)), 2, "{wrong:?}");
    }
}
