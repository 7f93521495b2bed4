//! Servers to send load to, and the binary that sends it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use coracle_bench::client;

/// A real Redis on a port of its own; gone when dropped.
pub(crate) struct Redis {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Redis {
    /// Starts it with these arguments more.
    pub(crate) fn start(more: &[&str]) -> Redis {
        let started = Instant::now();
        loop {
            let mut redis = Redis::spawn(more);
            while redis.child.try_wait().unwrap().is_none() {
                // Of the servers that other tests start at this moment, one may have taken the port first.
                if client::info(redis.addr, Some("server"))
                    .is_ok_and(|info| client::info_field(&info, "process_id") == Some(redis.child.id().into()))
                {
                    return redis;
                }
                assert!(started.elapsed() < Duration::from_secs(10), "Redis answers");
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(started.elapsed() < Duration::from_secs(10), "Redis stays");
        }
    }

    fn spawn(more: &[&str]) -> Redis {
        let dir = tempfile::tempdir().unwrap();
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new("redis-server");
        command.arg("--dir").arg(dir.path()).args(["--bind", "127.0.0.1", "--port", &addr.port().to_string()]);
        command.args(["--save", ""]).args(more).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server is installed");
        Redis { child, addr, _dir: dir }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `coracle-bench load` on these servers and waits for its end.
pub(crate) fn load(addrs: &[SocketAddr], args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle-bench"));
    command.arg("load");
    for addr in addrs {
        command.args(["--addr", &addr.to_string()]);
    }
    command.args(args.split_whitespace()).output().unwrap()
}

/// The report of a run with `--json`.
pub(crate) fn report(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Listens on this address and hands each connection to a thread that runs `serve`. Lives as long as the test.
pub(crate) fn serve(host: &str, serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            // Each answer is a write of its own; Nagle's algorithm would hold it back for 40 ms.
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Reads commands and answers each with what `answer` gives; ends with the connection.
pub(crate) fn answer_commands(mut stream: TcpStream, mut answer: impl FnMut(&[Vec<u8>]) -> Vec<u8>) {
    let (mut buf, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        // A command has the form of an array of bulk strings, which is a reply too.
        while let Some((command, used)) = coracle_bench::reply::decode(&buf).unwrap() {
            let coracle_bench::reply::Reply::Array(args) = command else { panic!("{command:?}") };
            let args: Vec<Vec<u8>> = args
                .iter()
                .map(|arg| match arg {
                    coracle_bench::reply::Reply::Bulk(bytes) => bytes.to_vec(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let bytes = answer(&args);
            if stream.write_all(&bytes).is_err() {
                return;
            }
            buf.drain(..used);
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(len) => buf.extend_from_slice(&chunk[..len]),
        }
    }
}
