//! What the tests of the runtime share: one core to run on, and an end for those that hang.
#![allow(dead_code, reason = "each test file uses a part")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use host::{Clock, ConnId, ListenerId, Net, NetEvent, Spawn};
use rt::{Config, RecvBuf, Runtime};

pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(LOCALHOST, 0);
/// Longer than any test should take on a busy machine.
const TEST_SECONDS_MAX: u64 = 60;

pub(crate) type Event = NetEvent<RecvBuf>;

/// Ends the process if a test hangs, since a core that hangs cannot be ended otherwise.
pub(crate) struct Watchdog {
    _alive: Sender<()>,
}

pub(crate) fn watchdog(test: &'static str) -> Watchdog {
    let (alive, dead) = channel::<()>();
    thread::spawn(move || {
        if dead.recv_timeout(Duration::from_secs(TEST_SECONDS_MAX)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("test {test} hangs: ending the process");
            std::process::abort();
        }
    });
    Watchdog { _alive: alive }
}

/// Small pools: many tests run side by side.
pub(crate) fn small() -> Config {
    Config {
        recv_buffers_count: 64,
        recv_buffer_bytes: 4_096,
        submissions_count: 64,
        completions_count: 256,
        ..Config::default()
    }
}

/// Runs `main` on one core and returns its result.
pub(crate) fn one_core<F, Fut, R>(test: &'static str, config: Config, main: F) -> R
where
    F: FnOnce(Runtime<u64>) -> Fut + Send + 'static,
    Fut: Future<Output = R> + 'static,
    R: Send + 'static,
{
    let _watchdog = watchdog(test);
    let main = Mutex::new(Some(main));
    let take = move || main.lock().expect("no panic while it is held").take().expect("there is one core");
    let running = rt::start(config, move |_, runtime| take()(runtime)).expect("the core starts");
    running.join().expect("the core ends well").pop().expect("one result")
}

/// A listener on a free port.
pub(crate) fn listen(runtime: &Runtime<u64>) -> (ListenerId, SocketAddr) {
    let listener = runtime.listen(ANY_PORT, false, usize::MAX, b"").expect("a listener");
    (listener, runtime.local_addr(listener).expect("its address"))
}

/// Waits for the next event.
pub(crate) async fn next(runtime: &Runtime<u64>) -> Event {
    loop {
        if let Some(event) = runtime.next_event() {
            return event;
        }
        runtime.park(runtime.now() + Duration::from_secs(5)).await;
    }
}

/// The events of the coming `millis` milliseconds.
pub(crate) async fn events_for(runtime: &Runtime<u64>, millis: u64) -> Vec<Event> {
    let end = runtime.now() + Duration::from_millis(millis);
    let mut events = Vec::new();
    while runtime.now() < end {
        runtime.park(end).await;
        while let Some(event) = runtime.next_event() {
            events.push(event);
        }
    }
    events
}

/// Waits for a connection to come in.
pub(crate) async fn accepted(runtime: &Runtime<u64>) -> ConnId {
    match next(runtime).await {
        Event::Accepted { conn, .. } => conn,
        other => panic!("expected a connection, got {other:?}"),
    }
}

/// Waits for the end of a connection, and returns its error.
pub(crate) async fn closed(runtime: &Runtime<u64>, expected: ConnId) -> Option<std::io::Error> {
    loop {
        match next(runtime).await {
            Event::Closed { conn, error } if conn == expected => return error,
            Event::Received { .. } | Event::ReceiveEnded { .. } | Event::Sent { .. } => {}
            other => panic!("expected the end of {expected}, got {other:?}"),
        }
    }
}

/// Bytes that tell their place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}
