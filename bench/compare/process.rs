//! Programs that a comparison starts, and what the kernel counts about them.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::error::Error;

/// How long a program may take to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a program may take to end after SIGTERM, before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How much of what a program printed is shown when it fails.
const LOG_LINES_MAX: usize = 15;

/// Makes sure that a program is there, before anything is measured that would be lost without it.
///
/// # Errors
/// [`Error::Usage`] with its name and the `remedy`.
pub fn require(program: &Path, remedy: &str) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Usage(format!("{} cannot be run ({error}): {remedy}", program.display()))),
    }
}

/// A running program. Dropping it stops the program and whatever that has started.
pub struct Server {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Server {
    /// Starts a program in a process group of its own, so that Ctrl-C reaches only us and its children can be
    /// stopped with it. What it prints goes to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Server, Error> {
        let out = File::create(&log).map_err(Error::os(format!("creating {}", log.display())))?;
        let err = out.try_clone().map_err(Error::os("sharing a log file"))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(Error::os(format!("starting {program}")))?;
        let pid = Pid::from_child(&child);
        Ok(Server { name: name.to_owned(), child, pid, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until `ready` gives something.
    ///
    /// # Errors
    /// If the program ends, or nothing comes within 30 seconds, or a signal arrives.
    pub fn await_ready<T>(&self, stop: &AtomicBool, mut ready: impl FnMut(&Server) -> Option<T>) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if let Some(value) = ready(self) {
                return Ok(value);
            }
            if self.has_ended() {
                return Err(self.failed("ended before it was ready"));
            }
            if started.elapsed() > READY_TIMEOUT {
                return Err(self.failed("did not become ready in 30 s"));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn failed(&self, what: &str) -> Error {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_LINES_MAX)..).unwrap_or_default();
        Error::Server { name: self.name.clone(), what: what.to_owned(), log: tail.join("\n") }
    }

    /// Does not reap it, so that its id stays its own until [`Server`] is dropped.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Each of these fails only when there is nothing left to stop.
        let _ = kill_process(self.pid, Signal::TERM);
        let asked = Instant::now();
        while !self.has_ended() && asked.elapsed() < END_TIMEOUT {
            std::thread::sleep(POLL_INTERVAL);
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// `count` ports of `ip` that nobody listens on just now.
///
/// # Errors
/// Those of the system.
pub fn free_ports(ip: IpAddr, count: usize) -> Result<Vec<u16>, Error> {
    let bind = || TcpListener::bind(SocketAddr::new(ip, 0));
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| bind()).collect::<Result<_, _>>().map_err(Error::os("looking for a free port"))?;
    let port = |listener: &TcpListener| listener.local_addr().map(|addr| addr.port());
    listeners.iter().map(port).collect::<Result<_, _>>().map_err(Error::os("looking for a free port"))
}

/// CPU time, in µs, in steps of the kernel's clock tick (usually 10 ms).
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// Spent in the program.
    pub user_us: f64,
    /// Spent in the kernel for it.
    pub system_us: f64,
}

impl Cpu {
    /// What these processes have used since they started.
    pub fn of(pids: &[u32]) -> Cpu {
        let tick_us = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        let mut sum = Cpu::default();
        for pid in pids {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if let Some((user, system)) = parse_stat(&stat) {
                sum.user_us += user as f64 * tick_us;
                sum.system_us += system as f64 * tick_us;
            }
        }
        sum
    }
}

/// utime and stime in ticks, fields 14 and 15 of proc_pid_stat(5). The name before them may hold anything.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// How many cache flushes the disk that holds `path` has done since boot, whoever asked for them; `None` if the
/// kernel does not count them for it.
pub fn device_flushes(path: &Path) -> Option<u64> {
    let dev = fs::metadata(path).ok()?.dev();
    let (major, minor) = (rustix::fs::major(dev).to_string(), rustix::fs::minor(dev).to_string());
    let stats = fs::read_to_string("/proc/diskstats").ok()?;
    stats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let ours = fields.first() == Some(&major.as_str()) && fields.get(1) == Some(&minor.as_str());
        // Field 19 of Documentation/admin-guide/iostats.rst, counted with the three names in front.
        if ours { fields.get(18)?.parse().ok().filter(|count| *count > 0) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_the_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 9 9 9 9 123 456 0 0 20 0 1 0 100 0 0";
        assert_eq!(parse_stat(stat), Some((123, 456)));
        assert_eq!(parse_stat("no such process"), None);
        assert!(parse_stat(&fs::read_to_string("/proc/self/stat").unwrap()).is_some());
    }

    #[test]
    fn a_program_and_its_children_end_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        // The shell is gone at SIGTERM; the sleeper it left behind is not.
        command.args(["-c", "(trap '' TERM; sleep 1000) & echo $!; wait"]);
        let server = Server::start("sh", command, dir.path().join("log")).unwrap();
        let started = Instant::now();
        let sleeper: u32 = loop {
            if let Ok(pid) = server.printed().trim().parse() {
                break pid;
            }
            assert!(started.elapsed() < Duration::from_secs(5), "the shell prints the id of its child");
            std::thread::sleep(Duration::from_millis(5));
        };
        drop(server);
        let state = || fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        let gone = |stat: String| stat.is_empty() || stat.contains(") Z ");
        while !gone(state()) {
            assert!(started.elapsed() < Duration::from_secs(5), "still there: {}", state());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn ports_differ() {
        let ports = free_ports([127, 0, 0, 1].into(), 10).unwrap();
        let distinct: std::collections::BTreeSet<u16> = ports.into_iter().collect();
        assert_eq!(distinct.len(), 10);
    }
}
