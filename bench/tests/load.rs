//! The load generator against a real Redis, and against servers that misbehave.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Redis, answer_commands, load, report, serve};
use types::Slot;

#[test]
fn what_is_set_is_read_back_without_errors() {
    let redis = Redis::start(&[]);
    let addrs = [redis.addr];
    let filled = load(&addrs, "--key-order sequential --keys 5000 --threads 2 -P 7 --json");
    assert!(filled.status.success());
    assert_eq!(report(&filled)["replies_ok"], 5_000, "each key once");
    assert_eq!(keys_count(redis.addr), 5_000);
    let read = load(&addrs, "--workload mixed:0.9 --keys 5000 -n 20000 -c 20 -P 16 --threads 2 --json");
    let read_report = report(&read);
    assert!(read.status.success(), "{read_report}");
    assert_eq!((&read_report["replies_ok"], &read_report["replies_missing"]), (&20_000.into(), &0.into()));
    assert!(read_report["by_command"]["get"]["count"].as_u64().unwrap() > 15_000);
}

#[test]
fn values_that_nobody_wrote_are_errors() {
    let redis = Redis::start(&[]);
    assert!(load(&[redis.addr], "--key-order sequential --keys 50 --value-bytes 40..100").status.success());
    let others = load(&[redis.addr], "--workload get --keys 50 --value-bytes 7 -n 100 --json");
    assert!(others.status.success(), "values of another run and of other lengths are sound");
    for key in 0..50 {
        ask_ok(redis.addr, &["SETRANGE", &format!("key:{key:012}"), "39", "?"]);
    }
    let read = load(&[redis.addr], "--workload get --keys 50 -n 100 --json");
    assert_eq!(read.status.code(), Some(1));
    assert_eq!(report(&read)["errors_count"], 100);
    assert!(report(&read)["errors"].to_string().contains("torn"), "{}", report(&read));
    let unread = load(&[redis.addr], "--workload get --keys 50 -n 100 --no-check");
    assert!(unread.status.success(), "values are not looked at");
}

#[test]
fn the_workloads_of_ycsb_find_every_key_that_they_read() {
    let redis = Redis::start(&[]);
    for letter in ["a", "b", "c", "d", "f"] {
        ask_ok(redis.addr, &["FLUSHALL"]);
        let args = format!("--workload ycsb-{letter} --fill --keys 2000 -n 10000 -c 8 -P 4 --threads 2 --json");
        let output = load(&[redis.addr], &format!("{args} --value-bytes 16=1,300=1"));
        let counted = report(&output);
        assert!(output.status.success(), "{letter}: {counted}");
        assert_eq!((&counted["replies_ok"], &counted["replies_missing"]), (&10_000.into(), &0.into()), "{letter}");
        let inserted = counted["by_command"]["insert"]["count"].as_u64().unwrap_or(0);
        assert_eq!(keys_count(redis.addr), 2_000 + inserted, "{letter}");
        assert_eq!(inserted > 0, letter == "d");
        let is_there = |name: &str| !counted["by_command"][name].is_null();
        assert_eq!((is_there("rmw"), is_there("set")), (letter == "f", ["a", "b"].contains(&letter)));
    }
    let ranges = load(&[redis.addr], "--workload ycsb-e");
    assert!(String::from_utf8_lossy(&ranges.stderr).contains("no ycsb-e"));
}

#[test]
fn a_read_modify_write_is_counted_once_and_from_its_read_on() {
    let addr = serve("127.0.0.1", |stream| {
        answer_commands(stream, |args| {
            std::thread::sleep(Duration::from_millis(20));
            if args[0] == b"GET" { b"$-1\r\n".to_vec() } else { b"+OK\r\n".to_vec() }
        });
    });
    let counted = report(&load(&[addr], "--workload rmw -n 10 -c 1 --json"));
    assert_eq!((&counted["replies_ok"], &counted["replies_missing"]), (&10.into(), &10.into()), "{counted}");
    assert!(counted["by_command"]["rmw"]["p50_us"].as_f64().unwrap() > 40_000.0, "{counted}");
}

#[test]
fn error_replies_are_counted_by_their_text() {
    let redis = Redis::start(&["--maxmemory", "1"]);
    let output = load(&[redis.addr], "-n 1000 -P 10 --json");
    let counted = report(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((&counted["replies_ok"], &counted["errors_count"]), (&0.into(), &1_000.into()));
    assert_eq!(counted["errors"]["OOM command not allowed when used memory > 'maxmemory'."], 1_000);
    let text = String::from_utf8(load(&[redis.addr], "-n 10").stdout).unwrap();
    assert!(text.contains("10 errors") && text.contains("OOM command"), "{text}");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let redis = Redis::start(&[]);
    // There is room for all of them at once, so that a busy machine makes some late and leaves none out.
    for arrivals in ["", "--arrivals poisson -n 2000"] {
        let args = format!("--rate 2000 -c 10 -P 200 --threads 2 --json -d 1.5 {arrivals}");
        let output = load(&[redis.addr], &args);
        let counted = report(&output);
        assert!(output.status.success());
        let expected = if arrivals.is_empty() { 3_000 } else { 2_000 };
        assert_eq!((&counted["replies_ok"], &counted["unsent"]), (&expected.into(), &0.into()), "{counted}");
    }
}

#[test]
fn a_pause_costs_every_command_that_fell_due_in_it() {
    let paused = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let addr = serve("127.0.0.1", move |stream| {
        answer_commands(stream, |_| {
            if count.fetch_add(1, Ordering::SeqCst) == 100 && !paused.swap(true, Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(500));
            }
            b"+OK\r\n".to_vec()
        });
    });
    // One connection with one command at a time: a closed loop would count the pause once.
    let output = load(&[addr], "--rate 1000 -n 1500 -c 1 -P 1 --json");
    let counted = report(&output);
    assert!(output.status.success());
    assert!(counted["latency"]["p90_us"].as_f64().unwrap() > 300_000.0, "{counted}");
    let closed = report(&load(&[addr], "-n 1500 -c 1 -P 1 --json"));
    assert!(closed["latency"]["p90_us"].as_f64().unwrap() < 100_000.0, "no pause any more: {closed}");
}

#[test]
fn a_server_that_stalls_ends_the_run() {
    let silent = serve("127.0.0.1", |stream| {
        let mut answers = 0;
        answer_commands(stream, |_| {
            answers += 1;
            if answers > 5 {
                std::thread::sleep(Duration::from_secs(60));
            }
            b"+OK\r\n".to_vec()
        });
    });
    let begun = Instant::now();
    let output = load(&[silent], "-c 3 -d 30 --timeout 0.5");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is stalled: no reply"));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_is_not_there_or_talks_nonsense_is_an_error() {
    let absent: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let output = load(&[absent], "-n 1");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connecting to 127.0.0.1:1"));
    let nonsense = serve("127.0.0.1", |stream| answer_commands(stream, |_| b"HTTP/1.1 400\r\n".to_vec()));
    let output = load(&[nonsense], "-n 3 -c 1 -d 1 --json");
    assert_eq!(output.status.code(), Some(1));
    assert!(report(&output)["errors"].to_string().contains("malformed reply"));
}

#[test]
fn connections_that_are_lost_are_counted_and_made_anew() {
    let addr = serve("127.0.0.1", |stream| {
        let mut left = 10;
        let closer = stream.try_clone().unwrap();
        answer_commands(stream, |_| {
            left -= 1;
            if left == 0 {
                closer.shutdown(std::net::Shutdown::Both).unwrap();
            }
            b"+OK\r\n".to_vec()
        });
    });
    let output = load(&[addr], "-c 2 -d 1 --json");
    let counted = report(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(counted["errors"]["connection lost"].as_u64().unwrap() >= 4, "{counted}");
    assert!(counted["replies_ok"].as_u64().unwrap() > 20, "it went on after the loss: {counted}");
}

#[test]
fn a_read_modify_write_that_loses_its_connection_is_one_error() {
    let is_first = Arc::new(AtomicBool::new(true));
    let addr = serve("127.0.0.1", move |stream| {
        let (is_first, closer) = (Arc::clone(&is_first), stream.try_clone().unwrap());
        answer_commands(stream, move |args| {
            if args[0] == b"GET" && is_first.swap(false, Ordering::SeqCst) {
                // The answer and the end arrive together, or nearly so.
                (&closer).write_all(b"$-1\r\n").unwrap();
                closer.shutdown(std::net::Shutdown::Both).unwrap();
            }
            if args[0] == b"GET" { b"$-1\r\n".to_vec() } else { b"+OK\r\n".to_vec() }
        });
    });
    let counted = report(&load(&[addr], "--workload rmw -n 50 -c 1 --json"));
    assert_eq!(
        (&counted["errors"]["connection lost"], &counted["errors_count"]),
        (&1.into(), &1.into()),
        "{counted}"
    );
    assert_eq!(counted["replies_ok"], 49, "{counted}");
}

#[test]
fn a_connection_made_anew_carries_commands_while_others_do() {
    let first = Arc::new(AtomicBool::new(true));
    let by_later = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&by_later);
    let accepted = Arc::new(AtomicU64::new(0));
    let addr = serve("127.0.0.1", move |stream| {
        let closer = stream.try_clone().unwrap();
        let is_later = accepted.fetch_add(1, Ordering::SeqCst) >= 2;
        let (first, counter) = (Arc::clone(&first), Arc::clone(&counter));
        answer_commands(stream, move |_| {
            counter.fetch_add(u64::from(is_later), Ordering::SeqCst);
            if first.swap(false, Ordering::SeqCst) {
                closer.shutdown(std::net::Shutdown::Both).unwrap();
            }
            b"+OK\r\n".to_vec()
        });
    });
    let counted = report(&load(&[addr], "-c 2 -d 1 --json"));
    assert_eq!(counted["errors"]["connection lost"], 1, "{counted}");
    let by_later = by_later.load(Ordering::SeqCst);
    assert!(by_later > 200, "the third connection, in place of the lost one, carried {by_later} commands");
}

#[test]
fn resp3_is_asked_for_and_understood() {
    let redis = Redis::start(&[]);
    let args = "--resp 3 --fill --keys 100 --workload mixed:0.5 -n 5000 -c 5 -P 4 --threads 2 --json";
    let output = load(&[redis.addr], args);
    let counted = report(&output);
    assert!(output.status.success(), "{counted}");
    assert_eq!((&counted["replies_ok"], &counted["replies_missing"]), (&5_000.into(), &0.into()));
    let addr = redis.addr;
    let watcher = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        let list = coracle_bench::client::ask(addr, &["CLIENT", "LIST"], |reply| match reply {
            coracle_bench::reply::Reply::Bulk(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            other => panic!("{other:?}"),
        });
        list.unwrap()
    });
    // A nil has another type byte in RESP3.
    ask_ok(addr, &["FLUSHALL"]);
    let missing = report(&load(&[addr], "--resp 3 --workload get -d 1 -c 3 --json"));
    let clients = watcher.join().unwrap();
    assert_eq!(missing["replies_missing"], missing["replies_ok"], "{missing}");
    assert_eq!(clients.matches(" resp=3").count(), 3, "{clients}");
}

#[test]
fn a_server_without_resp3_is_an_error_that_says_what_to_do() {
    let addr = serve("127.0.0.1", |stream| {
        answer_commands(stream, |args| {
            let is_hello = args[0] == b"HELLO";
            if is_hello { b"-ERR unknown command 'HELLO'\r\n".to_vec() } else { b"+OK\r\n".to_vec() }
        });
    });
    let output = load(&[addr], "--resp 3 -n 1");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("unknown command 'HELLO'") && said.contains("leave out --resp 3"), "{said}");
    assert!(load(&[addr], "-n 1").status.success());
}

#[test]
fn a_warm_up_is_not_measured() {
    let addr = serve("127.0.0.1", |stream| {
        let started = Instant::now();
        answer_commands(stream, |_| {
            // Slow at first.
            if started.elapsed() < Duration::from_millis(400) {
                std::thread::sleep(Duration::from_millis(150));
            }
            b"+OK\r\n".to_vec()
        });
    });
    let cold = report(&load(&[addr], "-c 1 -d 1 --json"));
    let warm = report(&load(&[addr], "-c 1 --warmup 0.8 -d 1 --json"));
    let max = |report: &serde_json::Value| report["latency"]["max_us"].as_f64().unwrap();
    assert!(max(&cold) >= 150_000.0, "{cold}");
    assert!(max(&warm) < 150_000.0, "{warm}");
    assert!((0.9..1.2).contains(&warm["elapsed_s"].as_f64().unwrap()), "{warm}");
    let counted = report(&load(&[addr], "-c 1 --warmup 0.8 -n 500 --json"));
    assert_eq!(counted["replies_ok"], 500, "the warm-up does not count: {counted}");
}

#[test]
fn what_the_server_takes_is_told_apart_from_being_sent_late() {
    let addr = serve("127.0.0.1", |stream| {
        answer_commands(stream, |_| {
            std::thread::sleep(Duration::from_millis(10));
            b"+OK\r\n".to_vec()
        });
    });
    // One connection that takes one command at a time, and twice as many commands as the server can answer.
    let counted = report(&load(&[addr], "-c 1 --rate 180 -n 180 --json"));
    let us = |name: &str, figure: &str| counted[name][figure].as_f64().unwrap();
    assert!(us("latency", "p90_us") > 300_000.0, "the queue in front of the server counts: {counted}");
    assert!((10_000.0..100_000.0).contains(&us("since_sent", "p90_us")), "{counted}");
    assert!(us("sent_late", "p50_us") < 10_000.0, "the generator is not to blame: {counted}");
    assert!(counted["waited_for_room"].as_u64().unwrap() > 100, "{counted}");
}

#[test]
fn threads_stay_on_the_cpus_that_are_named() {
    let redis = Redis::start(&[]);
    let output = load(&[redis.addr], "--cpus 0 --threads 2 -c 4 -n 1000 --json");
    assert_eq!((output.status.code(), &report(&output)["replies_ok"]), (Some(0), &1_000.into()));
    let output = load(&[redis.addr], "--cpus 0,4095 -n 10");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CPU 4095; this process may run on 0"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let redis = Redis::start(&[]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_coracle-bench"));
    command.args(["load", "--json", "-n", "100", "--workload", "ping", "--addr", &redis.addr.to_string()]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn a_limit_of_files_is_raised_or_named() {
    let redis = Redis::start(&[]);
    let run = |limits: &str| {
        let program = env!("CARGO_BIN_EXE_coracle-bench");
        let line = format!("{limits}; exec {program} load --addr {} -c 200 -n 400 --workload ping", redis.addr);
        std::process::Command::new("sh").args(["-c", &line]).output().unwrap()
    };
    let raised = run("ulimit -Sn 100");
    assert!(raised.status.success(), "{}", String::from_utf8_lossy(&raised.stderr));
    let refused = run("ulimit -n 100");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("200 connections need 266 open files, and 100 are allowed"), "{said}");
}

#[test]
fn without_a_terminal_there_is_a_line_every_second_and_none_beside_json() {
    let redis = Redis::start(&[]);
    let output = load(&[redis.addr], "-d 2.2 -c 2 --warmup 1");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].contains("warm-up") && lines[1].contains("p99") && lines[2].contains("0 errors"), "{said}");
    assert!(load(&[redis.addr], "-d 1.5 -c 2 --json").stderr.is_empty());
}

#[test]
fn a_search_finds_the_rate_that_a_server_can_keep() {
    // Each of four connections takes a millisecond a command, so that 4,000 commands a second are too many.
    let addr = serve("127.0.0.1", |stream| {
        answer_commands(stream, |_| {
            std::thread::sleep(Duration::from_millis(1));
            b"+OK\r\n".to_vec()
        });
    });
    let args = "--slo p50=100ms -c 4 -P 64 -d 0.3 --warmup 0.1 --slo-windows 3 --json";
    let counted = report(&load(&[addr], args));
    let slo = &counted["slo"];
    let rate = slo["rate"].as_f64().unwrap();
    assert!((800.0..4_000.0).contains(&rate), "{counted}");
    assert_eq!(counted["errors_count"], 0);
    let trials = slo["trials"].as_array().unwrap();
    assert!(trials.iter().all(|trial| trial["windows"].as_array().unwrap().len().is_multiple_of(3)), "{slo}");
    assert!((0.9..1.1).contains(&(counted["ops_per_s"].as_f64().unwrap() / rate)), "{counted}");
    let never = load(&[addr], "--slo p50=10us -c 4 -d 0.2 --warmup 0 --slo-windows 1");
    assert_eq!(never.status.code(), Some(1));
    let text = String::from_utf8_lossy(&never.stdout).into_owned();
    assert!(text.contains("p50 <= 10.0 µs: met at no rate that was tried"), "{text}");
}

#[test]
fn json_says_how_it_was_measured_and_has_a_timeline() {
    let redis = Redis::start(&[]);
    let args = "--workload mixed:0.5 --rate 2000 -d 1 --key-order zipf:0.8 --value-bytes 10..20 --warmup 0.25 \
                --arrivals poisson --json";
    let counted = report(&load(&[redis.addr], args));
    assert_eq!((&counted["format"], &counted["settings"]["workload"]), (&1.into(), &"mixed:0.5".into()));
    assert_eq!(counted["settings"]["key_order"], "zipf:0.8");
    assert_eq!(counted["settings"]["arrivals"], "poisson");
    assert_eq!(counted["settings"]["value_bytes"], "10..20");
    let timeline = counted["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 4, "{counted}");
    for (idx, point) in timeline.iter().enumerate() {
        assert!((point["start_s"].as_f64().unwrap() - 0.25 * idx as f64).abs() < 1e-9);
        assert!((100..900).contains(&point["replies_ok"].as_u64().unwrap()), "{counted}");
        assert!(point["p99_us"].as_f64().unwrap() >= point["p50_us"].as_f64().unwrap());
    }
    for figure in ["since_sent", "sent_late", "latency"] {
        assert!(counted[figure]["p9999_us"].is_f64(), "{figure}: {counted}");
    }
    assert!(counted.get("slo").is_none());
}

#[test]
fn files_of_results_are_written_beside_the_report() {
    let redis = Redis::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (hgrm, svg, png) = (file("a.hgrm"), file("a.svg"), file("a.png"));
    let args = format!("--workload set -n 2000 -c 4 --hgrm {hgrm} --plot {svg} --plot {png} --json");
    let counted = report(&load(&[redis.addr], &args));
    let hgrm = std::fs::read_to_string(hgrm).unwrap();
    let last: Vec<&str> = hgrm.lines().rfind(|line| !line.starts_with('#')).unwrap().split_whitespace().collect();
    assert_eq!(last[2], "2000", "{hgrm}");
    let longest_us = last[0].parse::<f64>().unwrap() * 1e3;
    assert!((longest_us - counted["latency"]["max_us"].as_f64().unwrap()).abs() < 1.0, "{hgrm}");
    assert!(std::fs::read_to_string(svg).unwrap().contains("Latency by percentile"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
    let output = load(&[redis.addr], "-n 10 --plot /nowhere/a.svg");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "it is said before the run");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no directory /nowhere"));
}

/// Two servers that own half of the slots each and swap them when told to.
struct Pair {
    addrs: Arc<Mutex<Vec<SocketAddr>>>,
    swapped: Arc<AtomicBool>,
}

impl Pair {
    fn start(swap_after: Option<u64>) -> Pair {
        let pair = Pair { addrs: Arc::default(), swapped: Arc::default() };
        let served = Arc::new(AtomicU64::new(0));
        for (idx, host) in ["127.0.0.1", "127.0.0.2"].into_iter().enumerate() {
            let (addrs, swapped, served) = (Arc::clone(&pair.addrs), Arc::clone(&pair.swapped), Arc::clone(&served));
            let addr = serve(host, move |stream| {
                answer_commands(stream, |args| {
                    if args[0] == b"CLUSTER" {
                        return slots(&addrs.lock().unwrap(), swapped.load(Ordering::SeqCst));
                    }
                    let slot = Slot::of_key(&args[1]).number();
                    let owner = usize::from(slot >= 8_192) ^ usize::from(swapped.load(Ordering::SeqCst));
                    if Some(served.fetch_add(1, Ordering::SeqCst)) == swap_after {
                        swapped.store(true, Ordering::SeqCst);
                    }
                    if owner == idx { b"+OK\r\n".to_vec() } else { format!("-MOVED {slot} there\r\n").into_bytes() }
                });
            });
            pair.addrs.lock().unwrap().push(addr);
        }
        pair
    }
}

fn slots(addrs: &[SocketAddr], swapped: bool) -> Vec<u8> {
    let half = |start: u16, end: u16, addr: SocketAddr| {
        let host = addr.ip().to_string();
        format!("*3\r\n:{start}\r\n:{end}\r\n*3\r\n${}\r\n{host}\r\n:{}\r\n$2\r\nid\r\n", host.len(), addr.port())
    };
    let (low, high) = if swapped { (addrs[1], addrs[0]) } else { (addrs[0], addrs[1]) };
    format!("*2\r\n{}{}", half(0, 8_191, low), half(8_192, 16_383, high)).into_bytes()
}

#[test]
fn every_command_goes_to_the_owner_of_its_slot() {
    let pair = Pair::start(None);
    let seed = [pair.addrs.lock().unwrap()[0]];
    let output = load(&seed, "--cluster -n 5000 -c 4 -P 4 --keys 1000 --json");
    let counted = report(&output);
    assert!(output.status.success(), "{counted}");
    assert_eq!(counted["replies_ok"], 5_000);
    let filled = report(&load(&seed, "--cluster --key-order sequential --keys 1000 --json"));
    assert_eq!((&filled["replies_ok"], &filled["errors_count"]), (&1_000.into(), &0.into()));
}

#[test]
fn an_owner_that_pauses_is_sent_its_share_all_the_same() {
    let addrs: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
    let (served, gate) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(())));
    for host in ["127.0.0.1", "127.0.0.2"] {
        let (owners, served, gate) = (Arc::clone(&addrs), Arc::clone(&served), Arc::clone(&gate));
        let addr = serve(host, move |stream| {
            answer_commands(stream, |args| {
                if args[0] == b"CLUSTER" {
                    return slots(&owners.lock().unwrap(), false);
                }
                if Slot::of_key(&args[1]).number() >= 8_192 {
                    // All connections of the second owner pause together.
                    let _gate = gate.lock().unwrap();
                    if served.fetch_add(1, Ordering::SeqCst) == 100 {
                        std::thread::sleep(Duration::from_millis(500));
                    }
                }
                b"+OK\r\n".to_vec()
            });
        });
        addrs.lock().unwrap().push(addr);
    }
    let seed = [addrs.lock().unwrap()[0]];
    let counted = report(&load(&seed, "--cluster --rate 1000 -n 1500 -c 4 -P 1 --keys 1000 --json"));
    assert_eq!((&counted["replies_ok"], &counted["errors_count"]), (&1_500.into(), &0.into()), "{counted}");
    // Of 1,500 commands, about 250 fell due to the second owner while it paused.
    assert!((150..400).contains(&counted["waited_for_room"].as_u64().unwrap()), "{counted}");
    assert!(counted["latency"]["p90_us"].as_f64().unwrap() > 100_000.0, "{counted}");
    assert!(
        counted["latency"]["p50_us"].as_f64().unwrap() < 50_000.0,
        "the other owner is as fast as ever: {counted}"
    );
}

#[test]
fn a_topology_that_changes_is_followed() {
    let pair = Pair::start(Some(1_000));
    let seed = [pair.addrs.lock().unwrap()[0]];
    let output = load(&seed, "--cluster -d 1.5 -c 4 --keys 1000 --json");
    let counted = report(&output);
    assert_eq!(output.status.code(), Some(1), "redirections are errors: {counted}");
    assert!(counted["errors"]["MOVED"].as_u64().unwrap() > 0, "{counted}");
    assert!(pair.swapped.load(Ordering::SeqCst));
    assert!(counted["replies_ok"].as_u64().unwrap() > 5_000, "it went on behind the change: {counted}");
}

fn ask_ok(addr: SocketAddr, args: &[&str]) {
    coracle_bench::client::ask(addr, args, |reply| match reply {
        coracle_bench::reply::Reply::Error(text) => panic!("{}", text.escape_ascii()),
        _ => Ok(()),
    })
    .unwrap();
}

fn keys_count(addr: SocketAddr) -> u64 {
    coracle_bench::client::ask(addr, &["DBSIZE"], |reply| match reply {
        coracle_bench::reply::Reply::Integer(count) => Ok(*count as u64),
        other => panic!("{other:?}"),
    })
    .unwrap()
}
