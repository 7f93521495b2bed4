//! `DIR/dev.sock`: by which `coracle dev add` and its like tell the supervisor what to do.
//!
//! Whoever connects sends one line: `add`, or `remove`, `stop`, `kill`, `restart` or `wipe` and the number of a node. What is done is told in lines, of which the last one begins with `ok` or
//! `error` and a space.

use std::fs::Permissions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use crate::atomic_file::PRIVATE_FILE_MODE;

const FILE_NAME: &str = "dev.sock";
/// How long a request, and each line of an answer, may take to be sent.
const SEND_WAIT_MAX: Duration = Duration::from_secs(2);
/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 64;

/// What is wanted of a running cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more node.
    Add,
    /// A node is to go for good.
    Remove(u32),
    /// A node is to end, and to stay down.
    Stop(u32),
    /// The same, at once.
    Kill(u32),
    /// A node is to run again.
    Restart(u32),
    /// A node is to lose its data, and to stay down.
    Wipe(u32),
}

impl Change {
    fn to_line(self) -> String {
        match self {
            Change::Add => "add\n".to_owned(),
            Change::Remove(node) => format!("remove {node}\n"),
            Change::Stop(node) => format!("stop {node}\n"),
            Change::Kill(node) => format!("kill {node}\n"),
            Change::Restart(node) => format!("restart {node}\n"),
            Change::Wipe(node) => format!("wipe {node}\n"),
        }
    }

    fn of_line(line: &str) -> Option<Change> {
        let Some((word, node)) = line.split_once(' ') else { return (line == "add").then_some(Change::Add) };
        let of_node = match word {
            "remove" => Change::Remove,
            "stop" => Change::Stop,
            "kill" => Change::Kill,
            "restart" => Change::Restart,
            "wipe" => Change::Wipe,
            _ => return None,
        };
        node.parse().ok().map(of_node)
    }
}

/// Where the supervisor is told what to do. The file is removed when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Somebody who waits for an answer.
pub struct Caller {
    stream: UnixStream,
}

impl Control {
    /// Listens in the directory of a cluster, which must be locked: what an earlier supervisor has left is of no use.
    ///
    /// # Errors
    /// What the operating system says, such as that the path is too long for a socket.
    pub fn listen(dir: &Path) -> io::Result<Control> {
        let path = dir.join(FILE_NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(PRIVATE_FILE_MODE))?;
        listener.set_nonblocking(true)?;
        Ok(Control { listener, path })
    }

    /// What somebody wants, if anybody does. A request that is none is answered here.
    pub fn next(&self) -> Option<(Change, Caller)> {
        let (stream, _) = self.listener.accept().ok()?;
        let mut caller = Caller { stream };
        match caller.request() {
            Ok(Some(change)) => Some((change, caller)),
            Ok(None) => {
                caller.say(
                    "error this supervisor knows `add`, and `remove`, `stop`, `kill`, `restart` and `wipe` of a node",
                );
                None
            }
            // Whoever does not say what is wanted is not waited for.
            Err(_) => None,
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Left behind it is removed by the next supervisor.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Caller {
    fn request(&mut self) -> io::Result<Option<Change>> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(SEND_WAIT_MAX))?;
        self.stream.set_write_timeout(Some(SEND_WAIT_MAX))?;
        let mut line = String::new();
        BufReader::new((&self.stream).take(REQUEST_BYTES_MAX)).read_line(&mut line)?;
        Ok(Change::of_line(line.trim_end()))
    }

    /// Tells a line. The caller may have gone away.
    pub fn say(&mut self, line: &str) {
        let _ = self.stream.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes());
    }
}

/// Has the supervisor of a cluster make a change, and tells with `tell` what it says meanwhile. Returns its last words.
///
/// # Errors
/// That there is none, or that it cannot.
pub fn ask(dir: &Path, change: Change, mut tell: impl FnMut(&str)) -> Result<String, Error> {
    let path = dir.join(FILE_NAME);
    let no_cluster = |source| Error::NoSupervisor { path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).map_err(no_cluster)?;
    stream.write_all(change.to_line().as_bytes()).map_err(no_cluster)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(no_cluster)?;
        match line.split_once(' ') {
            Some(("ok", words)) => return Ok(words.to_owned()),
            Some(("error", words)) => return Err(Error::Refused(words.to_owned())),
            _ => tell(&line),
        }
    }
    Err(no_cluster(io::ErrorKind::UnexpectedEof.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_their_line() {
        let of_node = [Change::Remove, Change::Stop, Change::Kill, Change::Restart, Change::Wipe].map(|of| of(4));
        for change in [Change::Add].into_iter().chain(of_node) {
            assert_eq!(Change::of_line(change.to_line().trim_end()), Some(change));
        }
        for wrong in ["", "add 4", "remove", "remove x", "remove 4 5", "wipe", "burn 4"] {
            assert_eq!(Change::of_line(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_supervisor_is_asked_and_answers() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = ask(dir.path(), Change::Add, |_| {}).expect_err("nobody listens").to_string();
        assert!(error.contains("dev.sock"), "{error}");
        std::fs::write(dir.path().join(FILE_NAME), "left behind").expect("a small file");
        let control = Control::listen(dir.path()).expect("the directory is there");
        assert!(control.next().is_none(), "nobody asks");
        let asking = |change| {
            let dir = dir.path().to_owned();
            std::thread::spawn(move || {
                let mut told = Vec::new();
                let last = ask(&dir, change, |line| told.push(line.to_owned()));
                (told, last.map_err(|error| error.to_string()))
            })
        };
        for (change, last, expected) in [
            (Change::Add, "ok node 4 serves", Ok("node 4 serves".to_owned())),
            (Change::Remove(9), "error there is\nno such node", Err("there is no such node".to_owned())),
        ] {
            let asked = asking(change);
            let (wanted, mut caller) = std::iter::repeat_with(|| control.next()).flatten().next().expect("it asks");
            assert_eq!(wanted, change);
            caller.say("it starts");
            caller.say(last);
            assert_eq!(asked.join().expect("no panic"), (vec!["it starts".to_owned()], expected));
        }
        drop(control);
        assert!(!dir.path().join(FILE_NAME).exists());
    }
}
