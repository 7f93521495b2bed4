//! A real Redis, and a connection to it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use resp::Protocol;
use types::limits::VALUE_BYTES_MAX;

use crate::{Args, args, encode};

/// A Redis of our own, which ends with the test. It listens on a socket file, so that no two tests can take the
/// same port.
pub(crate) struct Redis {
    child: Child,
    dir: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Redis {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "/usr/bin/redis-server".into());
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new(&program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.sock"])
            // Values are dumped here as they are.
            .args(["--rdbcompression", "no"])
            .args(["--proto-max-bulk-len", &VALUE_BYTES_MAX.to_string(), "--dir"])
            .arg(dir.path())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error} (REDIS_SERVER names another)"));
        let mut redis = Redis { child, dir };
        let deadline = Instant::now() + Duration::from_secs(10);
        while redis.stream().is_err() {
            assert!(redis.child.try_wait().unwrap().is_none(), "{program} has ended");
            assert!(Instant::now() < deadline, "{program} does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn stream(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.dir.path().join("redis.sock"))
    }

    pub(crate) fn connect(&self, protocol: Protocol) -> Theirs {
        let stream = self.stream().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut theirs = Theirs { stream, input: Vec::new() };
        if protocol == Protocol::Resp3 {
            theirs.run(&[args(&["HELLO", "3"])]);
        }
        theirs
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to Redis.
pub(crate) struct Theirs {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Theirs {
    /// The raw replies to a pipeline of commands.
    pub(crate) fn run(&mut self, commands: &[Args]) -> Vec<Vec<u8>> {
        let request: Vec<u8> = commands.iter().flat_map(encode).collect();
        self.stream.write_all(&request).unwrap();
        commands.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut chunk = vec![0; 256 << 10];
        loop {
            if let Some(len) = reply_len(&self.input) {
                return self.input.drain(..len).collect();
            }
            let len = self.stream.read(&mut chunk).expect("Redis answers in time");
            assert!(len > 0, "Redis closed the connection");
            self.input.extend_from_slice(&chunk[..len]);
        }
    }
}

/// Bytes of the reply at the front of `input`, if it is all there.
fn reply_len(input: &[u8]) -> Option<usize> {
    let line_len = input.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || str::from_utf8(&input[1..line_len - 2]).unwrap().parse::<i64>().unwrap();
    match input[0] {
        b'$' | b'=' => {
            let len = number().try_into().map_or(line_len, |bytes: usize| line_len + bytes + 2);
            (input.len() >= len).then_some(len)
        }
        kind @ (b'*' | b'%' | b'~') => {
            let elements = number() * if kind == b'%' { 2 } else { 1 };
            (0..elements).try_fold(line_len, |at, _| Some(at + reply_len(&input[at..])?))
        }
        _ => Some(line_len),
    }
}
