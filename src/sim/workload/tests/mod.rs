//! Sessions against a server in memory that runs one command after the other, and against ones that do not.

mod server;
mod store;

use std::cell::RefCell;
use std::time::Duration;

use resp::Protocol;
use types::Instant;

use super::Sessions;
use super::reader::{Answer, read};
use crate::checkers::{Judged, check_durability, check_exactly_once, check_linearizability};
use crate::client::ClientEvent;
use crate::cluster_spec::Load;
use crate::history::Outcome;

use server::{CORE, Due, GATEWAY, Port, Server, Wrong, addr};

const BUSY: Duration = Duration::from_secs(5);
const SECOND: u64 = 1_000_000_000;

fn run(seed: u64, wrong: Wrong) -> Sessions {
    let port = Port(RefCell::new(Server::new(seed, wrong)));
    let mut sessions =
        Sessions::with_addrs(seed, Load::Usual, vec![addr(GATEWAY)], vec![addr(CORE), addr(CORE + 1)], BUSY);
    sessions.begin(&port);
    let mut is_healed = false;
    while !sessions.has_read_back() && sessions.history().objection().is_none() {
        let next = port.0.borrow_mut().due.pop_first();
        let Some(((at, _), due)) = next else { panic!("sessions wait for nothing") };
        port.0.borrow_mut().now = at;
        assert!(at < 60 * SECOND, "sessions come to an end");
        if !is_healed && at > BUSY.as_nanos() as u64 {
            is_healed = true;
            sessions.healed(&port);
        }
        match due {
            Due::Arrives(conn, bytes) => port.0.borrow_mut().arrives(conn, &bytes),
            Due::Event(event) => {
                if let ClientEvent::Received(conn, _) = &event
                    && !port.0.borrow().has(*conn)
                {
                    continue;
                }
                sessions.happened(&port, event);
            }
        }
    }
    sessions
}

/// The objection of the first checker that has one.
fn judge(sessions: &Sessions) -> Result<Judged, String> {
    let history = sessions.history();
    if let Some(objection) = history.objection() {
        return Err(format!("replies: {objection}"));
    }
    check_exactly_once(history).map_err(|violation| violation.to_string())?;
    check_durability(history).map_err(|violation| violation.to_string())?;
    check_linearizability(history).map_err(|violation| violation.to_string())
}

#[test]
fn a_sound_server_is_found_sound_and_everything_is_read_back() {
    let (mut all_count, mut judged_count) = (0, 0);
    for seed in 0..20 {
        let sessions = run(seed, Wrong::Nothing);
        let judged = judge(&sessions).unwrap_or_else(|objection| panic!("seed {seed}: {objection}"));
        let operations = sessions.history().operations();
        all_count += operations.len() as u64;
        judged_count += judged.operations;
        let count = |is: &dyn Fn(&Outcome) -> bool| operations.iter().filter(|one| is(&one.outcome)).count();
        let answered = count(&|outcome| !matches!(outcome, Outcome::Unknown | Outcome::NotApplied));
        assert!(answered > 500 && answered > operations.len() / 2, "seed {seed}: {answered} of {}", operations.len());
        assert!(operations.iter().all(|one| one.end != Instant::NEVER), "seed {seed}: every operation has ended");
    }
    // Objects on which too many outcomes are unknown at once are left undecided: they must be few.
    assert!(judged_count * 10 > all_count * 8, "only {judged_count} of {all_count} operations were judged");
}

#[test]
fn equal_seeds_ask_the_same() {
    let ask = || format!("{:?}", run(3, Wrong::Nothing).history().operations());
    assert_eq!(ask(), ask());
}

#[test]
fn wrong_servers_are_found_out() {
    for wrong in [
        Wrong::Forgets,
        Wrong::Repeats,
        Wrong::ReadsOld,
        Wrong::Overtakes,
        Wrong::Swaps,
        Wrong::Skips,
        Wrong::Babbles,
    ] {
        let caught = (0..20).find(|seed| judge(&run(*seed, wrong)).is_err());
        assert!(caught.is_some(), "{wrong:?}");
    }
}

#[test]
fn replies_are_read_however_they_are_cut() {
    let bytes = b"*3\r\n$2\r\na\n\r\n:-12\r\n$-1\r\n";
    let expected = Answer::Array(vec![Answer::Bulk("a\n".into()), Answer::Integer(-12), Answer::Null]);
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len], Protocol::Resp2), Ok(None), "{len}");
    }
    assert_eq!(read(bytes, Protocol::Resp2), Ok(Some((expected, bytes.len()))));
}

#[test]
fn what_the_protocol_does_not_have_is_refused() {
    for bytes in [&b"_\r\n"[..], b"%1\r\n", b"+OK\n", b"$1\r\nab\r\n", b":1x\r\n", b"$-2\r\n", b"?", b"\r\n"] {
        let is_whole = bytes.ends_with(b"\n");
        assert!(!is_whole || read(bytes, Protocol::Resp2).is_err(), "{}", bytes.escape_ascii());
    }
    assert!(read(b"$-1\r\n", Protocol::Resp3).is_err(), "RESP3 has a null of its own");
    assert_eq!(read(b"_\r\n", Protocol::Resp3), Ok(Some((Answer::Null, 3))));
}
