//! Child processes that end with the test, and programs that are run to their end.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const POLL: Duration = Duration::from_millis(10);

/// A command whose process the kernel kills when the thread that starts it ends.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    // A part of util-linux, which no Debian is without.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Sends a signal to a process.
///
/// # Panics
/// If there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let id = pid_of(pid);
    kill_process(id, signal).unwrap_or_else(|error| panic!("signal {signal:?} to process {pid}: {error}"));
}

/// Stops a process, and returns once every one of its threads stands still.
///
/// Each thread stops when it next runs in the kernel on its own account, which on a busy machine may be long after the
/// signal was sent.
///
/// # Panics
/// If there is no such process, or it does not stop in ten seconds.
pub fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
    let begin = Instant::now();
    while !threads(pid).all(|state| state == 'T') {
        assert!(begin.elapsed() < Duration::from_secs(10), "process {pid} does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The states of the threads of a process, as letters of `/proc/PID/task/TID/stat`.
fn threads(pid: u32) -> impl Iterator<Item = char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process exists");
    tasks.map(|task| {
        let stat =
            std::fs::read_to_string(task.expect("a thread").path().join("stat")).expect("a thread has a state");
        // The name in parentheses may hold anything, parentheses too.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.expect("a state follows the name")
    })
}

/// Whether there is such a process, be it only one that nobody has waited for.
pub fn exists(pid: u32) -> bool {
    test_kill_process(pid_of(pid)).is_ok()
}

fn pid_of(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("process ids are positive")
}

/// Memory of a process that is in RAM, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most that it has been.
pub fn resident_bytes_peak(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a process has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib << 10
}

/// CPU time that all threads of a process have used, in user and kernel mode.
///
/// # Panics
/// If there is no such process.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold anything; utime and stime are the 14th and 15th field, the state is the 3rd.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).expect("fields follow the name");
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    // Linux counts in hundredths of a second for every program, however fast its clock ticks.
    Duration::from_millis(10 * ticks)
}

/// Waits for a child to end; `None` if it has not after `within`.
pub fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if begin.elapsed() > within {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Runs a program to its end, with `input` on its stdin.
///
/// # Panics
/// If it cannot be started (the message says what installs it), or takes longer than `within`.
pub fn run(program: &str, args: &[&str], input: &[u8], within: Duration) -> Output {
    let mut child = bound(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("setpriv (util-linux) cannot be started: {error}"));
    let (mut stdin, input) = (child.stdin.take().expect("it is piped"), input.to_vec());
    // A program that ends without reading all of its input is judged by what it answers.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let stdout = collect(child.stdout.take().expect("it is piped"));
    let stderr = collect(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child, within);
    if status.is_none() {
        child.kill().expect("it is ours");
        child.wait().expect("it was killed");
    }
    writer.join().expect("it does not panic");
    let (stdout, stderr) = (stdout.join().expect("no panic"), stderr.join().expect("no panic"));
    let told = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let Some(status) = status else { panic!("{program} {args:?} did not end within {within:?}:\n{told}") };
    assert!(status.code() != Some(127), "{program} cannot be started; `tools/verify tools` installs it:\n{told}");
    Output { status, stdout, stderr }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
