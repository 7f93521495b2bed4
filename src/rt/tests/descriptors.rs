//! Running out of file descriptors. Alone in its process, since the limit is the process's.

mod common;

use std::net::TcpStream;

use common::{Event, accepted, events_for, listen, next, one_core, small};
use host::Net;

fn set_files_limit(limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: 20_000 };
    // SAFETY: the call reads a struct of its own type.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
fn accepting_pauses_without_descriptors_and_goes_on_with_them() {
    one_core("descriptors", small(), |runtime| async move {
        // The kernel bounds an accept by the limit at the moment it began.
        set_files_limit(std::fs::read_dir("/proc/self/fd").expect("a directory").count() as u64 + 20);
        let (_, addr) = listen(&runtime);
        let first = TcpStream::connect(addr).expect("a connection");
        let conn = accepted(&runtime).await;
        // The core accepts only while it waits, so clients take all that is left first.
        let mut clients = vec![first];
        while let Ok(client) = TcpStream::connect(addr) {
            clients.push(client);
        }
        assert!(clients.len() > 5);
        let early = events_for(&runtime, 250).await;
        assert!(early.is_empty(), "{early:?}");
        assert!(runtime.stats().accept_pauses_count >= 2);
        // Connections that stand are served meanwhile.
        runtime.send(conn, host::SendBuf::Plain(b"still here".to_vec()));
        assert!(matches!(next(&runtime).await, Event::Sent { .. }));
        set_files_limit(20_000);
        for _ in 1..clients.len() {
            accepted(&runtime).await;
        }
    });
}
