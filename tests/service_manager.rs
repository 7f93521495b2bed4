//! What a node tells the service manager that has started it, as systemd wants to hear it: a real node, and a socket in systemd's place.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use coracle_tests::{Client, alone, binary, ports, process};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(180);
const WITHIN: Duration = Duration::from_secs(60);

/// The next words; empty if none come in time.
fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let len = socket.recv(&mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

/// Listens until words like these come; fails if they do not.
fn wait_for(socket: &UnixDatagram, words: &str) -> String {
    let begin = Instant::now();
    loop {
        let said = heard(socket);
        if said.lines().any(|line| line == words) {
            return said;
        }
        assert!(begin.elapsed() < WITHIN, "{words} was not said; the last words: {said:?}");
    }
}

#[test]
fn a_node_is_ready_when_it_answers_says_that_it_lives_and_that_it_stops() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let port = ports::free(1, 1);
    let data_dir = dir.path().join("data");
    let mut command = process::bound(binary());
    command.args(["server", "--cluster-id", "test", "--node-id", "1", "--pin", "false", "--maxclients", "100"]);
    command.args(["--gateway-port", &port.to_string(), "--data-dir"]).arg(&data_dir);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000").env_remove("WATCHDOG_PID");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("setpriv is part of util-linux");

    assert!(heard(&socket).starts_with("STATUS="), "it says what it is at before its cores listen");
    wait_for(&socket, "READY=1");
    let mut client = Client::connect("127.0.0.1", port).expect("a node that is ready listens");
    assert_eq!(client.command("PING").text(), "PONG");
    let begin = Instant::now();
    for _ in 0..4 {
        wait_for(&socket, "WATCHDOG=1");
    }
    assert!(begin.elapsed() >= Duration::from_millis(1_200), "twice per period, not more: {:?}", begin.elapsed());
    process::signal(child.id(), Signal::TERM);
    wait_for(&socket, "STOPPING=1");
    let status = process::wait(&mut child, WITHIN).expect("it stops");
    assert!(status.success(), "{status:?}");
}
