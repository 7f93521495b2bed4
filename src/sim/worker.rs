//! Runs in processes of their own. A broken invariant of the engine aborts its process, and an endless loop would never
//! come back: either must fail one seed, not the campaign.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::report::{Failure, Report};
use crate::spec::Spec;

/// The option that makes `coracle-sim` a worker: specs come in, reports go out, one line of JSON each.
pub const OPTION: &str = "--worker";

/// How much of what a worker said last is kept.
const LAST_WORDS_LINES: usize = 40;

/// Carries out what comes in on the standard input until it ends.
///
/// # Errors
/// If the one who asks is gone or does not speak this language.
pub fn serve(run: impl Fn(&Spec) -> Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let spec: Spec = serde_json::from_str(&line?)?;
        writeln!(out, "{}", serde_json::to_string(&run(&spec))?)?;
        out.flush()?;
    }
    Ok(())
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    reports: Receiver<String>,
    last_words: JoinHandle<String>,
}

/// One worker, started anew whenever it has died.
pub struct Worker {
    process: Option<Process>,
    limit: Duration,
}

impl Worker {
    /// A worker that may take this long for a run.
    pub fn new(limit: Duration) -> Worker {
        Worker { process: None, limit }
    }

    /// Carries out a run. A worker that dies or takes too long fails its seed.
    ///
    /// # Errors
    /// If no worker can be started.
    pub fn run(&mut self, spec: &Spec) -> io::Result<Report> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => start()?,
        };
        let line = serde_json::to_string(spec)?;
        // One that cannot be written to has died; that shows below.
        let _ = writeln!(process.stdin, "{line}").and_then(|()| process.stdin.flush());
        let failure = match process.reports.recv_timeout(self.limit) {
            Ok(line) => {
                let report = serde_json::from_str(&line)?;
                self.process = Some(process);
                return Ok(report);
            }
            Err(RecvTimeoutError::Timeout) => {
                let message = format!("no end after {} s of real time", self.limit.as_secs());
                (("stuck"), message)
            }
            Err(RecvTimeoutError::Disconnected) => ("panic", String::new()),
        };
        // It may be gone already.
        let _ = process.child.kill();
        let status = process.child.wait()?;
        let last_words = process.last_words.join().unwrap_or_default();
        let (checker, message) = failure;
        let message = format!("{message}\nworker: {status}\n{last_words}").trim().to_owned();
        let failure = Some(Failure { checker: checker.to_owned(), message });
        Ok(Report { seed: spec.seed, failure, ..Report::default() })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Without input it ends by itself, unless it is in the middle of a run.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

fn start() -> io::Result<Process> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(OPTION)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (send, reports) = channel();
    let gone = || io::Error::other("a pipe of a child that was asked for is not there");
    let stdin = child.stdin.take().ok_or_else(gone)?;
    let stdout = child.stdout.take().ok_or_else(gone)?;
    let stderr = child.stderr.take().ok_or_else(gone)?;
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let last_words = std::thread::spawn(move || {
        let mut last = std::collections::VecDeque::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if last.len() == LAST_WORDS_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        Vec::from(last).join("\n")
    });
    Ok(Process { child, stdin, reports, last_words })
}
