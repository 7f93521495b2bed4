//! Keys of one tag, written in the background at a fixed rate: `MSET` of many at a time, over one connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::reply::{Reply, decode};

/// Keys of a command.
pub const KEYS_PER_COMMAND: u32 = 64;
/// Commands that may wait for their answers: with one at a time, commits would bound the rate.
const COMMANDS_IN_FLIGHT_MAX: usize = 16;
/// The tag, and so the slot and the group of all of them.
const TAG: &str = "{disturb}";
/// How long an answer may take.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Writes keys numbered from 0 on to the core that owns their tag, `keys_per_s` of them a second, until there are `keys_count` or `stop` is
/// set; `written` tells how many there are.
///
/// # Errors
/// If the core does not answer `+OK` in time.
pub fn grow_tag(
    core: SocketAddr,
    keys_count: u32,
    keys_per_s: u32,
    written: &AtomicU32,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let failed = |source| Error::Os { doing: format!("writing keys of one tag to {core}"), source };
    let stream = TcpStream::connect_timeout(&core, WAIT_MAX).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(WAIT_MAX)).map_err(failed)?;
    let mut answers = Answers { core, stream, bytes: Vec::new(), open_count: 0 };
    let started = Instant::now();
    let mut command = Vec::new();
    let mut next = 0;
    while next < keys_count && !stop.load(Ordering::Relaxed) {
        let due = Duration::from_secs_f64(f64::from(next) / f64::from(keys_per_s.max(1)));
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let count = KEYS_PER_COMMAND.min(keys_count - next);
        command.clear();
        encode(next, count, &mut command);
        answers.stream.write_all(&command).map_err(failed)?;
        answers.open_count += 1;
        answers.await_all_but(COMMANDS_IN_FLIGHT_MAX)?;
        next += count;
        written.store(next, Ordering::Relaxed);
    }
    answers.await_all_but(0)
}

/// The tag's key for whoever asks who owns it.
pub fn tag_key() -> String {
    format!("{TAG}:0000000000")
}

fn encode(first: u32, count: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * count).as_bytes());
    for number in first..first + count {
        let key = format!("{TAG}:{number:010}");
        out.extend_from_slice(format!("${}\r\n{key}\r\n$8\r\n{number:08x}\r\n", key.len()).as_bytes());
    }
}

/// Answers that are still to come.
struct Answers {
    core: SocketAddr,
    stream: TcpStream,
    // What has come and is no whole answer.
    bytes: Vec<u8>,
    open_count: usize,
}

impl Answers {
    /// Waits until no more than so many are still to come.
    fn await_all_but(&mut self, open_count_max: usize) -> Result<(), Error> {
        let addr = self.core.to_string();
        let malformed = |what| Error::MalformedReply { addr: addr.clone(), what };
        let mut chunk = [0; 512];
        while self.open_count > open_count_max {
            match decode(&self.bytes).map_err(malformed)? {
                Some((Reply::Simple(b"OK"), used)) => {
                    self.bytes.drain(..used);
                    self.open_count -= 1;
                    continue;
                }
                Some((other, _)) => return Err(malformed(format!("MSET of one tag: {other:?}"))),
                None => {}
            }
            let len = self.stream.read(&mut chunk).map_err(Error::os(format!("waiting for {addr}")))?;
            if len == 0 {
                return Err(malformed("the connection was closed before the reply".to_owned()));
            }
            self.bytes.extend_from_slice(chunk.get(..len).unwrap_or_default());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn all_keys_are_written_once_at_the_rate() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut keys, mut buf, mut chunk) = (Vec::new(), Vec::new(), [0; 4096]);
            loop {
                let len = stream.read(&mut chunk).unwrap();
                if len == 0 {
                    return keys;
                }
                buf.extend_from_slice(&chunk[..len]);
                while let Some((Reply::Array(args), used)) = decode(&buf).unwrap() {
                    let Reply::Bulk(b"MSET") = args[0] else { panic!("{args:?}") };
                    let keys_of = args[1..].chunks(2).map(|pair| match pair {
                        [Reply::Bulk(key), Reply::Bulk(value)] if value.len() == 8 => key.to_vec(),
                        other => panic!("{other:?}"),
                    });
                    keys.extend(keys_of);
                    buf.drain(..used);
                    stream.write_all(b"+OK\r\n").unwrap();
                }
            }
        });
        let (written, started) = (AtomicU32::new(0), Instant::now());
        grow_tag(addr, 300, 3_000, &written, &AtomicBool::new(false)).unwrap();
        // The last command is due when 256 keys are written.
        assert!(started.elapsed() >= Duration::from_millis(85), "{:?}", started.elapsed());
        let mut keys = server.join().unwrap();
        assert_eq!((keys[0].as_slice(), keys.len()), (tag_key().as_bytes(), 300));
        keys.dedup();
        assert_eq!((keys.len(), written.load(Ordering::Relaxed)), (300, 300));
    }

    #[test]
    fn an_error_ends_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"-OOM full\r\n").unwrap());
        let result = grow_tag(addr, 10, 100, &AtomicU32::new(0), &AtomicBool::new(false));
        assert!(matches!(result, Err(Error::MalformedReply { .. } | Error::Os { .. })));
    }
}
