//! Sockets of a core against real ones of the operating system.

mod common;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use common::{ANY_PORT, Event, LOCALHOST, accepted, closed, events_for, listen, next, one_core, pattern, small};
use host::{ConnId, Net, SendBuf, Spawn};
use rt::{Config, Runtime};

/// Sends back what comes in until `closes_count` connections have ended. Keeps order per connection.
async fn echo(runtime: &Runtime<u64>, closes_count: usize) {
    // What waits for the send under way, and whether there is one.
    let mut conns: HashMap<ConnId, (Vec<u8>, bool, bool)> = HashMap::new();
    let mut closed_count = 0;
    while closed_count < closes_count {
        match next(runtime).await {
            Event::Accepted { conn, .. } | Event::Connected { conn } => {
                assert!(conns.insert(conn, (Vec::new(), false, false)).is_none());
            }
            Event::Received { conn, buf } => {
                let (waiting, sending, _) = conns.get_mut(&conn).expect("known");
                assert!(!buf.is_empty());
                waiting.extend_from_slice(&buf);
                if !*sending {
                    *sending = true;
                    runtime.send(conn, SendBuf::Plain(std::mem::take(waiting)));
                }
            }
            Event::Sent { conn, .. } => {
                let (waiting, sending, ended) = conns.get_mut(&conn).expect("known");
                *sending = !waiting.is_empty();
                if *sending {
                    runtime.send(conn, SendBuf::Plain(std::mem::take(waiting)));
                } else if *ended {
                    runtime.close(conn);
                }
            }
            Event::ReceiveEnded { conn } => {
                let (_, sending, ended) = conns.get_mut(&conn).expect("known");
                *ended = true;
                if !*sending {
                    runtime.close(conn);
                }
            }
            Event::Closed { conn, error } => {
                assert!(error.is_none(), "{error:?}");
                assert!(conns.remove(&conn).is_some());
                closed_count += 1;
            }
        }
    }
}

fn echo_clients(addr: SocketAddr, conns_count: usize, rounds_count: usize) {
    let mut streams: Vec<TcpStream> =
        (0..conns_count).map(|_| TcpStream::connect(addr).expect("a connection")).collect();
    for round in 0..rounds_count {
        let message = |i: usize| format!("round {round} connection {i};");
        for (i, stream) in streams.iter_mut().enumerate() {
            stream.write_all(message(i).as_bytes()).expect("written");
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            let mut reply = vec![0; message(i).len()];
            stream.read_exact(&mut reply).expect("a reply");
            assert_eq!(reply, message(i).as_bytes());
        }
    }
}

fn echo_test(test: &'static str, config: Config, conns_count: usize, rounds_count: usize) -> rt::Stats {
    one_core(test, config, move |runtime| async move {
        let (_, addr) = listen(&runtime);
        let clients = thread::spawn(move || echo_clients(addr, conns_count, rounds_count));
        echo(&runtime, conns_count).await;
        clients.join().expect("the clients");
        runtime.stats()
    })
}

#[test]
fn thousands_of_connections_share_few_buffers() {
    let config = Config { listen_backlog_max: 4_096, ..small() };
    let stats = echo_test("thousands_of_connections", config, 4_000, 3);
    assert_eq!(stats.accept_pauses_count, 0);
    // Of each connection: its coming, three receives and three sends.
    assert!(stats.completions_count >= 4_000 * 7, "{stats:?}");
}

#[test]
fn tiny_queues_only_cost_more_calls() {
    let config = Config {
        submissions_count: 1,
        completions_count: 2,
        recv_buffers_count: 2,
        recv_buffer_bytes: 16,
        ..small()
    };
    let stats = echo_test("tiny_queues", config, 200, 3);
    assert!(stats.submission_full_count > 0, "{stats:?}");
    assert!(stats.starved_count > 0, "{stats:?}");
}

#[test]
fn spinning_and_sleeping_cores_serve_alike() {
    echo_test("spinning", Config { spin: Duration::from_micros(200), ..small() }, 20, 50);
}

/// A gathering send of parts of all sizes, empty ones among them.
fn gather_of(bytes: Vec<u8>) -> SendBuf {
    let mut rest = Bytes::from(bytes);
    let mut parts = vec![Bytes::new()];
    let mut len = 1;
    while !rest.is_empty() {
        let part = if parts.len() == 1_000 { rest.len() } else { len.min(rest.len()) };
        parts.push(rest.split_to(part));
        len = len * 2 % 1_000_003;
    }
    SendBuf::Gather(parts)
}

#[test]
fn a_slow_reader_gets_every_byte_of_both_kinds_of_sends() {
    const LEN: usize = 24 << 20;
    let stats = one_core("a_slow_reader", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(addr).expect("a connection");
            let (mut all, mut chunk) = (Vec::new(), vec![0; 100_000]);
            loop {
                let len = stream.read(&mut chunk).expect("bytes");
                if len == 0 {
                    return all;
                }
                all.extend_from_slice(&chunk[..len]);
                if all.len() % 7 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let conn = accepted(&runtime).await;
        runtime.send(conn, SendBuf::Plain(pattern(LEN)));
        for reply in [Some(gather_of(pattern(LEN))), None] {
            match next(&runtime).await {
                Event::Sent { conn: sender, buf } => assert!(sender == conn && buf.len() == LEN),
                other => panic!("expected the end of the send, got {other:?}"),
            }
            match reply {
                Some(buf) => runtime.send(conn, buf),
                None => runtime.close(conn),
            }
        }
        assert!(closed(&runtime, conn).await.is_none());
        let all = client.join().expect("the client");
        assert!(all.len() == 2 * LEN && all[..LEN] == pattern(LEN) && all[LEN..] == pattern(LEN));
        runtime.stats()
    });
    assert!(stats.completions_count > 3);
}

#[test]
fn closing_ends_a_send_that_nobody_reads() {
    one_core("closing_ends_a_send", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let mut client = TcpStream::connect(addr).expect("a connection");
        let conn = accepted(&runtime).await;
        runtime.send(conn, gather_of(pattern(64 << 20)));
        assert!(events_for(&runtime, 100).await.is_empty(), "it cannot have been sent");
        runtime.close(conn);
        // A second close and anything else is harmless meanwhile.
        runtime.close(conn);
        runtime.send(conn, SendBuf::Plain(vec![1]));
        match next(&runtime).await {
            Event::Closed { conn: ended, error: None } => assert_eq!(ended, conn),
            other => panic!("expected nothing but the end, got {other:?}"),
        }
        let end = client.read_to_end(&mut Vec::new());
        assert!(end.is_ok_and(|len| len < 64 << 20));
    });
}

#[test]
fn who_waits_for_room_to_send_hears_of_the_end_at_once() {
    one_core("who_waits_for_room", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(addr).expect("a connection");
            stream.set_write_timeout(Some(Duration::from_secs(10))).expect("it is not zero");
            // More than the buffers between the two can hold.
            let error = stream.write_all(&pattern(64 << 20)).expect_err("nobody reads it");
            assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            let mut last = [0; 4];
            stream.read_exact(&mut last).expect("what was sent before the end");
            assert_eq!(&last, b"last");
        });
        let conn = accepted(&runtime).await;
        runtime.recv_pause(conn);
        // Time to fill all buffers; some of it may have been received before the pause.
        events_for(&runtime, 300).await;
        runtime.send(conn, SendBuf::Plain(b"last".to_vec()));
        assert!(matches!(next(&runtime).await, Event::Sent { .. }));
        runtime.close(conn);
        assert!(closed(&runtime, conn).await.is_none());
        client.join().expect("the client");
    });
}

#[test]
fn a_half_closed_connection_still_sends() {
    one_core("half_closed", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let mut client = TcpStream::connect(addr).expect("a connection");
        client.write_all(b"question").expect("written");
        client.shutdown(Shutdown::Write).expect("half closed");
        let conn = accepted(&runtime).await;
        match next(&runtime).await {
            Event::Received { buf, .. } => assert_eq!(&*buf, b"question"),
            other => panic!("expected bytes, got {other:?}"),
        }
        assert!(matches!(next(&runtime).await, Event::ReceiveEnded { .. }));
        runtime.send(conn, SendBuf::Plain(b"answer".to_vec()));
        assert!(matches!(next(&runtime).await, Event::Sent { .. }));
        runtime.close(conn);
        assert!(closed(&runtime, conn).await.is_none());
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).expect("a reply");
        assert_eq!(reply, b"answer");
    });
}

fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    use std::os::fd::AsRawFd;
    // SAFETY: pointer and length describe a struct that lives during the call.
    let result = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len)
    };
    assert_eq!(result, 0);
}

#[test]
fn a_reset_ends_the_connection_with_its_error() {
    one_core("a_reset", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let client = TcpStream::connect(addr).expect("a connection");
        let conn = accepted(&runtime).await;
        runtime.send(conn, SendBuf::Plain(pattern(32 << 20)));
        runtime.yield_now().await;
        reset(client);
        let error = closed(&runtime, conn).await.expect("an error");
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        // The id is dead now.
        runtime.send(conn, SendBuf::Plain(vec![1]));
        runtime.recv_pause(conn);
        runtime.recv_resume(conn);
        runtime.close(conn);
        // Its place is used anew, under another generation.
        let _client = TcpStream::connect(addr).expect("a connection");
        let newer = accepted(&runtime).await;
        assert_eq!((newer.idx, newer.generation), (conn.idx, conn.generation + 1));
        runtime.close(conn);
        runtime.send(conn, SendBuf::Plain(vec![1]));
        assert!(events_for(&runtime, 50).await.is_empty());
    });
}

#[test]
fn held_buffers_stop_receiving_and_released_ones_feed_all() {
    const LEN: usize = 10_000;
    let config = Config { recv_buffers_count: 8, recv_buffer_bytes: 64, ..small() };
    one_core("held_buffers", config, |runtime| async move {
        let (_, addr) = listen(&runtime);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(addr).expect("a connection");
                    stream.write_all(&pattern(LEN)).expect("written");
                    stream
                })
            })
            .collect();
        let mut received: HashMap<ConnId, Vec<u8>> = HashMap::new();
        let mut held = Vec::new();
        let mut take = |event: Event, held: &mut Vec<rt::RecvBuf>| match event {
            Event::Accepted { .. } => 0,
            Event::Received { conn, buf } => {
                received.entry(conn).or_default().extend_from_slice(&buf);
                let len = buf.len();
                held.push(buf);
                len
            }
            other => panic!("unexpected {other:?}"),
        };
        let mut sum = 0;
        while held.len() < 8 {
            sum += take(next(&runtime).await, &mut held);
        }
        assert!(events_for(&runtime, 50).await.iter().all(|event| matches!(event, Event::Accepted { .. })));
        while sum < 3 * LEN {
            held.clear();
            sum += take(next(&runtime).await, &mut held);
        }
        assert!(runtime.stats().starved_count >= 3);
        assert_eq!(received.len(), 3);
        assert!(received.values().all(|bytes| *bytes == pattern(LEN)));
        // Buffers may outlive everything else.
        std::mem::forget(runtime.clone());
        drop(held);
        for client in clients {
            drop(client.join().expect("a client"));
        }
    });
}

#[test]
fn a_paused_connection_receives_nothing_until_resumed() {
    one_core("paused", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let mut client = TcpStream::connect(addr).expect("a connection");
        let conn = accepted(&runtime).await;
        for round in 0..20u8 {
            runtime.recv_pause(conn);
            runtime.yield_now().await;
            client.write_all(&[round; 100]).expect("written");
            let early = events_for(&runtime, 5).await;
            // The first round may find the receive already under way with data.
            assert!(early.is_empty(), "{early:?}");
            runtime.recv_resume(conn);
            let mut len = 0;
            while len < 100 {
                match next(&runtime).await {
                    Event::Received { buf, .. } => {
                        assert!(buf.iter().all(|byte| *byte == round));
                        len += buf.len();
                    }
                    other => panic!("expected bytes, got {other:?}"),
                }
            }
        }
        // Pausing and resuming within a turn, and closing while paused.
        for _ in 0..10 {
            runtime.recv_pause(conn);
            runtime.recv_resume(conn);
        }
        client.write_all(b"x").expect("written");
        assert!(matches!(next(&runtime).await, Event::Received { .. }));
        runtime.recv_pause(conn);
        runtime.close(conn);
        assert!(closed(&runtime, conn).await.is_none());
    });
}

#[test]
fn connecting_binds_to_the_address_given() {
    one_core("connecting", small(), |runtime| async move {
        let server = TcpListener::bind(ANY_PORT).expect("a listener");
        let addr = server.local_addr().expect("its address");
        let conn = runtime.connect(Ipv4Addr::new(127, 0, 0, 2).into(), addr);
        // Sends before the connection stands are dropped.
        assert!(matches!(next(&runtime).await, Event::Connected { conn: connected } if connected == conn));
        let (mut stream, peer) = server.accept().expect("accepted");
        assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 2));
        runtime.send(conn, SendBuf::Plain(b"hello".to_vec()));
        assert!(matches!(next(&runtime).await, Event::Sent { .. }));
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).expect("bytes");
        stream.write_all(&hello).expect("written");
        assert!(matches!(next(&runtime).await, Event::Received { buf, .. } if &*buf == b"hello"));
        drop(stream);
        assert!(matches!(next(&runtime).await, Event::ReceiveEnded { .. }));
    });
}

#[test]
fn a_failed_connection_ends_with_the_reason() {
    one_core("a_failed_connection", small(), |runtime| async move {
        let server = TcpListener::bind(ANY_PORT).expect("a listener");
        let addr = server.local_addr().expect("its address");
        drop(server);
        let refused = runtime.connect(LOCALHOST, addr);
        let error = closed(&runtime, refused).await.expect("an error");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // An address that is not ours.
        let foreign = runtime.connect(Ipv4Addr::new(192, 0, 2, 1).into(), addr);
        let error = closed(&runtime, foreign).await.expect("an error");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        // A full backlog leaves the connection hanging; closing ends that.
        let full = TcpListener::bind(ANY_PORT).expect("a listener");
        let addr = full.local_addr().expect("its address");
        let conns: Vec<ConnId> = (0..300).map(|_| runtime.connect(LOCALHOST, addr)).collect();
        let connected = events_for(&runtime, 200).await.len();
        assert!(connected < conns.len(), "the backlog was to be full");
        conns.iter().for_each(|conn| runtime.close(*conn));
        let mut ended = 0;
        while ended < conns.len() {
            assert!(matches!(next(&runtime).await, Event::Closed { error: None, .. }));
            ended += 1;
        }
    });
}

#[test]
fn a_full_listener_refuses_and_serves_again_later() {
    one_core("a_full_listener", small(), |runtime| async move {
        let listener =
            runtime.listen(ANY_PORT, false, 2, b"-ERR max number of clients reached\r\n").expect("a listener");
        let addr = runtime.local_addr(listener).expect("its address");
        let clients: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(addr).expect("a connection")).collect();
        let conns = [accepted(&runtime).await, accepted(&runtime).await];
        let mut third = TcpStream::connect(addr).expect("a connection");
        assert!(events_for(&runtime, 50).await.is_empty());
        let mut reply = String::new();
        third.read_to_string(&mut reply).expect("the refusal");
        assert_eq!(reply, "-ERR max number of clients reached\r\n");
        assert_eq!(runtime.stats().refused_count, 1);
        let (other, _) = listen(&runtime);
        assert_eq!((runtime.refused_count(listener), runtime.refused_count(other)), (1, 0));
        runtime.close(conns[0]);
        assert!(closed(&runtime, conns[0]).await.is_none());
        let _fourth = TcpStream::connect(addr).expect("a connection");
        accepted(&runtime).await;
        drop(clients);
    });
}

#[test]
fn a_port_in_use_is_an_error_and_unlisten_frees_it() {
    one_core("a_port_in_use", small(), |runtime| async move {
        let (listener, addr) = listen(&runtime);
        let error = runtime.listen(addr, false, 1, b"").expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let mut client = TcpStream::connect(addr).expect("a connection");
        let conn = accepted(&runtime).await;
        runtime.unlisten(listener);
        runtime.unlisten(listener);
        assert!(events_for(&runtime, 20).await.is_empty());
        assert_eq!(TcpStream::connect(addr).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
        // The connection stays.
        client.write_all(b"x").expect("written");
        assert!(matches!(next(&runtime).await, Event::Received { .. }));
        let again = runtime.listen(addr, false, 1, b"").expect("free again");
        assert_ne!(again, listener);
        runtime.close(conn);
        assert!(closed(&runtime, conn).await.is_none());
    });
}
