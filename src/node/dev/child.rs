//! A node as a child process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal};

use crate::atomic_file::PRIVATE_FILE_MODE;

/// How much of a log's end is looked at, and how many of its lines are shown.
const TAIL_BYTES_MAX: u64 = 16 << 10;
const TAIL_LINES_MAX: usize = 12;

/// A running node. Dropping it kills the process.
#[derive(Debug)]
pub struct NodeChild {
    child: Child,
    status: Option<ExitStatus>,
}

impl NodeChild {
    /// Starts the command in a process group of its own, its output appended to a log.
    pub fn start(mut command: Command, log_file: &Path) -> io::Result<NodeChild> {
        let log = OpenOptions::new().create(true).append(true).mode(PRIVATE_FILE_MODE).open(log_file)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C at the terminal goes to the supervisor's group alone.
        let child = command.process_group(0).spawn()?;
        Ok(NodeChild { child, status: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Asks it to end (SIGTERM). Does nothing if it has ended.
    pub fn ask_to_end(&mut self) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        // It was not waited for, so the id is still its own.
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(rustix::process::kill_process(pid, Signal::TERM)?)
    }

    /// Ends it (SIGKILL) and waits for that.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for NodeChild {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.kill();
    }
}

/// An exit status in words: "exit code 1", "signal 9".
pub fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            format!("signal {signal}{}", if status.core_dumped() { " (core dumped)" } else { "" })
        }
        (None, None) => status.to_string(),
    }
}

/// The last lines of a log, each indented, with a head that names the file.
pub fn log_tail(log_file: &Path) -> String {
    match read_tail(log_file) {
        Ok(text) if text.trim().is_empty() => format!("  {} is empty", log_file.display()),
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            let skipped = lines.len().saturating_sub(TAIL_LINES_MAX);
            let shown: String = lines.iter().skip(skipped).map(|line| format!("\n  | {line}")).collect();
            format!("  the end of {}:{shown}", log_file.display())
        }
        Err(error) => format!("  {} cannot be read: {error}", log_file.display()),
    }
}

fn read_tail(log_file: &Path) -> io::Result<String> {
    let mut file = File::open(log_file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn how_a_child_ended_and_what_it_said_last_is_told() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("node.log");
        assert!(log_tail(&log).contains("cannot be read"));
        let mut child = NodeChild::start(shell("exit 3"), &log).expect("there is a shell");
        let begin = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.ended().expect("it is ours") {
                break status;
            }
            assert!(begin.elapsed().as_secs() < 20, "it does not end");
            std::thread::yield_now();
        };
        assert_eq!(status_words(status), "exit code 3");
        assert!(log_tail(&log).ends_with("is empty"));
        child.ask_to_end().expect("nothing is left to ask");

        // The log of the next process is appended, and only its end is shown.
        let script = format!("for i in $(seq {}); do echo line $i; done; sleep 100", 2 * TAIL_LINES_MAX);
        let mut child = NodeChild::start(shell(&script), &log).expect("there is a shell");
        let last = format!("\n  | line {}", 2 * TAIL_LINES_MAX);
        while !log_tail(&log).ends_with(&last) {
            assert!(begin.elapsed().as_secs() < 20, "{}", log_tail(&log));
            std::thread::yield_now();
        }
        assert_eq!(log_tail(&log).lines().count(), 1 + TAIL_LINES_MAX);
        let status = child.kill().expect("it is ours");
        assert!(status_words(status).starts_with("signal 9"), "{status}");
        assert_eq!(child.kill().expect("it has ended"), status);
    }
}
