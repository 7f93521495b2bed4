//! The server as clients meet it, hostile ones too.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use admin::{CLIENTS_COUNT_MAX, Exposition, NoProfile, SlowCommand, Source, Unavailable};

struct Fixed;

impl Source for Fixed {
    fn metrics(&self, per_group: bool) -> Result<Exposition, Unavailable> {
        let mut figures = Exposition::default();
        figures.gauge("per_group", "Whether groups are asked for.", &[], f64::from(per_group));
        Ok(figures)
    }

    fn slow_commands(&self) -> Result<Vec<SlowCommand>, Unavailable> {
        Ok(Vec::new())
    }

    fn state(&self) -> Result<String, Unavailable> {
        Ok("{}".into())
    }

    fn live(&self) -> Result<String, Unavailable> {
        Ok("alive".into())
    }

    fn ready(&self) -> Result<String, Unavailable> {
        Err(Unavailable(vec!["it forms".into(), "core 1 is silent".into()]))
    }

    fn cpu_profile(&self, time: Duration, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProfile> {
        match time.as_secs() {
            1 => Ok(b"of one second".to_vec()),
            2 => Err(NoProfile::Off("it is off".into())),
            3 => Err(NoProfile::Busy("another one".into())),
            4 => Err(NoProfile::Failed("no timer".into())),
            60 => {
                while is_wanted() {
                    thread::sleep(Duration::from_millis(5));
                }
                LEFT.store(true, Ordering::SeqCst);
                Err(NoProfile::Failed("nobody waits".into()))
            }
            seconds => Ok(format!("of {seconds}").into_bytes()),
        }
    }

    fn heap_profile(&self) -> Result<Vec<u8>, NoProfile> {
        Ok(b"of the heap".to_vec())
    }
}

/// Whether a profile has ended as its client was gone.
static LEFT: AtomicBool = AtomicBool::new(false);

fn start() -> SocketAddr {
    let listener = admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    admin::serve(listener, Arc::new(Fixed)).unwrap();
    addr
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends bytes and returns the status and what stands behind the head; `None` if the connection was closed without.
fn try_ask(addr: SocketAddr, request: &str) -> Option<(u16, String)> {
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Some((status, body.to_owned()))
}

fn ask(addr: SocketAddr, request: &str) -> (u16, String) {
    try_ask(addr, request).expect("a response")
}

/// Asks until the answer has this status.
fn wait_for(addr: SocketAddr, status: u16) -> String {
    let begin = Instant::now();
    loop {
        match try_ask(addr, "GET /livez HTTP/1.1\r\n\r\n") {
            Some((found, body)) if found == status => return body,
            other => assert!(begin.elapsed() < Duration::from_secs(10), "{other:?}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

#[test]
fn each_path_answers_and_says_why_not() {
    let addr = start();
    let head = "# HELP per_group Whether groups are asked for.\n# TYPE per_group gauge\n";
    assert_eq!(get(addr, "/metrics"), (200, format!("{head}per_group 0\n")));
    assert_eq!(get(addr, "/metrics?per_group=1"), (200, format!("{head}per_group 1\n")));
    assert_eq!(get(addr, "/livez"), (200, "alive\n".into()));
    assert_eq!(get(addr, "/readyz"), (503, "it forms\ncore 1 is silent\n".into()));
    assert_eq!(get(addr, "/debug/state"), (200, "{}".into()));
    assert!(get(addr, "/").1.contains("/metrics"));
    let (status, body) = get(addr, "/nothing");
    assert!(status == 404 && body.contains("/readyz"), "{status} {body}");
    assert_eq!(ask(addr, "HEAD /livez HTTP/1.1\r\n\r\n"), (200, String::new()));
}

#[test]
fn what_is_no_request_is_answered_and_others_are_served() {
    let addr = start();
    assert_eq!(ask(addr, "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").0, 405);
    assert_eq!(ask(addr, "*1\r\n$4\r\nPING\r\n").0, 400);
    assert_eq!(ask(addr, &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000))).0, 431);
    drop(connect(addr));
    assert_eq!(get(addr, "/livez").0, 200);
}

#[test]
fn clients_that_send_nothing_are_few_and_do_not_stay() {
    let addr = start();
    let begin = Instant::now();
    let mut silent: Vec<TcpStream> = (0..CLIENTS_COUNT_MAX).map(|_| connect(addr)).collect();
    assert!(wait_for(addr, 503).contains("are being served already"));
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "closed without an answer");
    }
    let took = begin.elapsed();
    assert!(took >= admin::REQUEST_TIME_MAX && took < 3 * admin::REQUEST_TIME_MAX, "{took:?}");
    // Their threads end a moment behind their connections.
    wait_for(addr, 200);
}

#[test]
fn a_client_that_sends_a_byte_now_and_then_has_no_more_time_than_others() {
    let addr = start();
    let begin = Instant::now();
    let mut stream = connect(addr);
    let mut sent = 0;
    while stream.write_all(b"G").is_ok() {
        sent += 1;
        assert!(begin.elapsed() < 3 * admin::REQUEST_TIME_MAX, "{sent} bytes are taken");
        thread::sleep(Duration::from_millis(100));
    }
    assert!(begin.elapsed() >= admin::REQUEST_TIME_MAX, "{:?}", begin.elapsed());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let addr = start();
    let error = admin::bind(addr).expect_err("it is taken").to_string();
    assert!(error.contains(&addr.to_string()) && error.contains("`admin_port`"), "{error}");
}

#[test]
fn profiles_say_why_there_is_none_and_take_seconds_within_bounds() {
    let addr = start();
    let profile = |query: &str| get(addr, &format!("/debug/pprof/profile{query}"));
    assert_eq!(profile(""), (200, "of 10".into()));
    assert_eq!(profile("?seconds=1"), (200, "of one second".into()));
    assert_eq!(profile("?seconds=2"), (403, "it is off\n".into()));
    assert_eq!(profile("?seconds=3"), (409, "another one\n".into()));
    assert_eq!(profile("?seconds=4"), (503, "no timer\n".into()));
    for wrong in ["0", "61", "-1", "1.5", "ten", "", "99999999999999999999"] {
        let expected = "`seconds` must be a whole number from 1 to 60\n";
        assert_eq!(profile(&format!("?seconds={wrong}")), (400, expected.into()), "{wrong}");
    }
    assert_eq!(get(addr, "/debug/pprof/heap"), (200, "of the heap".into()));
    for path in ["profile", "heap"] {
        assert_eq!(ask(addr, &format!("HEAD /debug/pprof/{path} HTTP/1.1\r\n\r\n")).0, 400, "{path}");
    }
}

#[test]
fn a_profile_ends_with_its_client_and_others_are_served_meanwhile() {
    let addr = start();
    let mut stream = connect(addr);
    stream.write_all(b"GET /debug/pprof/profile?seconds=60 HTTP/1.1\r\n\r\n").unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(300) {
        assert_eq!(get(addr, "/livez").0, 200);
    }
    assert!(!LEFT.load(Ordering::SeqCst), "its client is there");
    drop(stream);
    while !LEFT.load(Ordering::SeqCst) {
        assert!(begin.elapsed() < Duration::from_secs(10), "the client is gone");
        thread::sleep(Duration::from_millis(5));
    }
}
