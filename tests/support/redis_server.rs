//! A real redis-server, to compare with.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::{Client, ports, process, wait_until};

/// Longest wait for it to answer.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A redis-server of our own, ended when dropped.
pub struct RedisServer {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one on a free port, with an append-only file and the settings that Redis has by itself.
    ///
    /// # Panics
    /// If it does not answer in time.
    pub fn start() -> RedisServer {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let port = ports::free(1, 1);
        let child = process::bound("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("setpriv (util-linux) can be started");
        let redis = RedisServer { child, port, _dir: dir };
        wait_until("redis-server answers (`apt-get install redis-server` installs it)", READY_WITHIN, || {
            Client::connect("127.0.0.1", port).is_ok()
        });
        redis
    }

    /// A connection to it.
    ///
    /// # Panics
    /// If it does not accept one.
    pub fn client(&self) -> Client {
        Client::connect("127.0.0.1", self.port).expect("redis-server accepts a connection")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
