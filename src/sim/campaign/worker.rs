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

/// Tells the allocator of a worker to keep memory that a run has given back: the next run, some tenths of a second later, would
/// have the system clear it again.
const KEEP_MEMORY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "-1");
/// How often the one who waits for a report looks at the worker.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much of what a worker said last is kept.
const LAST_WORDS_LINES: usize = 40;

/// How long a run may take.
#[derive(Clone, Copy, Debug)]
pub struct RunLimits {
    /// CPU time of the worker. Real time would also count while the machine is busy with others, or the job is stopped.
    pub cpu: Duration,
    /// Real time during which the one who waits was running: ends a run that blocks and so takes no CPU time.
    pub waited: Duration,
}

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
    limits: RunLimits,
}

impl Worker {
    /// A worker that may take this long for a run.
    pub fn new(limits: RunLimits) -> Worker {
        Worker { process: None, limits }
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
        let pid = process.child.id();
        let failure = match await_report(&process.reports, self.limits, LOOK_EVERY, || cpu_time(pid)) {
            Ok(line) => {
                let report = serde_json::from_str(&line)?;
                self.process = Some(process);
                return Ok(report);
            }
            Err(NoReport::Stuck(message)) => ("stuck", message),
            Err(NoReport::Died) => ("panic", String::new()),
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

/// Why no report has come.
#[derive(Debug, PartialEq, Eq)]
enum NoReport {
    /// The run has taken too long, in words.
    Stuck(String),
    /// The worker is gone.
    Died,
}

/// Waits for a report, and looks at the CPU time of the worker so often.
fn await_report(
    reports: &Receiver<String>,
    limits: RunLimits,
    look_every: Duration,
    cpu_time: impl Fn() -> Option<Duration>,
) -> Result<String, NoReport> {
    let cpu_before = cpu_time().unwrap_or_default();
    // The sum of the waits, and not the time that has passed: while this process is stopped too, nothing is added.
    let mut waited = Duration::ZERO;
    loop {
        match reports.recv_timeout(look_every) {
            Ok(line) => return Ok(line),
            Err(RecvTimeoutError::Disconnected) => return Err(NoReport::Died),
            Err(RecvTimeoutError::Timeout) => waited += look_every,
        }
        let cpu = cpu_time().unwrap_or_default().saturating_sub(cpu_before);
        if cpu >= limits.cpu {
            return Err(NoReport::Stuck(format!("no end after {} s of CPU time", cpu.as_secs())));
        }
        if waited >= limits.waited {
            return Err(NoReport::Stuck(format!("no end after {} s of real time", waited.as_secs())));
        }
    }
}

/// CPU time that a process has taken so far. `None` if there is no such process.
fn cpu_time(pid: u32) -> Option<Duration> {
    // The unit in which Linux tells it to processes.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last parenthesis may contain anything. Behind it, the fields 3 and up of proc_pid_stat(5).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some(TICK * user.checked_add(system)?)
}

fn start() -> io::Result<Process> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(OPTION)
        .env(KEEP_MEMORY.0, KEEP_MEMORY.1)
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LOOK_EVERY: Duration = Duration::from_millis(1);
    const LIMITS: RunLimits = RunLimits { cpu: Duration::from_secs(60), waited: Duration::from_millis(50) };

    #[test]
    fn a_run_that_takes_too_much_cpu_time_is_stuck() {
        let (_send, reports) = channel();
        // What the worker has taken for the runs before does not count.
        let taken = Cell::new(Duration::from_secs(3_600));
        let cpu_time = || {
            taken.set(taken.get() + Duration::from_secs(25));
            Some(taken.get())
        };
        let no_report = await_report(&reports, LIMITS, LOOK_EVERY, cpu_time).unwrap_err();
        assert_eq!(no_report, NoReport::Stuck("no end after 75 s of CPU time".to_owned()));
    }

    #[test]
    fn a_run_that_takes_no_cpu_time_is_waited_for_longer_and_not_for_ever() {
        let (send, reports) = channel();
        let looks_count = Cell::new(0);
        let cpu_time = || {
            looks_count.set(looks_count.get() + 1);
            if looks_count.get() == 20 {
                send.send("late".to_owned()).unwrap();
            }
            Some(Duration::ZERO)
        };
        assert_eq!(await_report(&reports, LIMITS, LOOK_EVERY, cpu_time), Ok("late".to_owned()));
        let no_report = await_report(&reports, LIMITS, LOOK_EVERY, || Some(Duration::ZERO)).unwrap_err();
        assert!(matches!(no_report, NoReport::Stuck(message) if message.ends_with("of real time")));
    }

    #[test]
    fn a_worker_that_is_gone_is_not_waited_for() {
        let (send, reports) = channel();
        drop(send);
        assert_eq!(await_report(&reports, LIMITS, LOOK_EVERY, || None), Err(NoReport::Died));
    }

    #[test]
    fn the_cpu_time_of_a_process_counts_its_work_and_not_its_rest() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let own = || cpu_time(std::process::id()).unwrap();
        let begin = own();
        while own() < begin + Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let rested = cpu_time(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(rested < Duration::from_millis(100), "{rested:?}");
        assert_eq!(cpu_time(child.id()), None);
    }
}
