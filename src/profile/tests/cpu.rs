//! CPU profiles of this process, read as pprof reads them.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pprof::Profile;
use profile::Error;

#[allow(unreachable_pub, reason = "the end-to-end tests have it from their library")]
#[path = "../../../tests/support/pprof.rs"]
mod pprof;

/// A process takes one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A thread that does something until it is told to stop.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(name: &str, work: fn(&AtomicBool)) -> Worker {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&stopped)).unwrap();
        Worker { stop, thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
    }
}

#[inline(never)]
fn count_to(limit: u64) -> u64 {
    (0..limit).fold(0_u64, |sum, number| black_box(sum ^ number.wrapping_mul(7)))
}

#[inline(never)]
fn spin_outer(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        black_box(count_to(10_000));
    }
}

fn wait_asleep(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
}

/// The samples of a thread, and of those with such a function.
fn count(profile: &Profile, thread: &str, function: &str) -> (i64, i64) {
    let of_thread =
        profile.samples.iter().filter(|sample| sample.labels.get("thread").is_some_and(|it| it == thread));
    of_thread.fold((0, 0), |(all, with), sample| {
        let has = sample.functions.iter().any(|name| name.contains(function));
        (all + sample.values[0], if has { with + sample.values[0] } else { with })
    })
}

#[test]
fn threads_are_found_in_their_functions_for_as_long_as_they_compute() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _busy = Worker::start("busy", spin_outer);
    let _idle = Worker::start("idle", wait_asleep);
    thread_cpu_time("busy");
    let (profile, cpu) = measured(Duration::from_secs(2), "busy");
    let nanoseconds = ("cpu".to_owned(), "nanoseconds".to_owned());
    assert_eq!(profile.types, [("samples".to_owned(), "count".to_owned()), nanoseconds.clone()]);
    assert_eq!(profile.period, (nanoseconds, profile::SAMPLE_PERIOD.as_nanos() as i64));
    assert!(profile.time.0 > 1_700_000_000_000_000_000 && profile.time.1 >= 2_000_000_000, "{:?}", profile.time);
    let (all, in_count) = count(&profile, "busy", "count_to");
    let (_, in_outer) = count(&profile, "busy", "spin_outer");
    let expected = cpu.as_secs_f64() / profile::SAMPLE_PERIOD.as_secs_f64();
    assert!((all as f64) > expected * 0.8 && (all as f64) < expected * 1.2 + 5.0, "{all} samples in {cpu:?}");
    assert!(in_outer * 10 >= all * 9, "{in_outer} of {all} are unwound to the caller");
    assert!(in_count * 10 >= all * 7, "{in_count} of {all} are in the loop");
    let root = |sample: &&pprof::Sample| sample.functions.iter().any(|name| name.contains("clone"));
    assert!(profile.samples.iter().filter(root).count() > 0, "stacks reach the root");
    let idle = count(&profile, "idle", "").0;
    assert!(idle * 10 <= all, "who waits is sampled for its waking up alone: {idle} of {all}");
    for sample in &profile.samples {
        assert_eq!(sample.values[1], sample.values[0] * profile.period.1);
    }
    assert!(profile.comments.is_empty(), "{:?}", profile.comments);
}

/// A profile, and the CPU time that threads of this name have used between its begin and its end. What they use while names of functions
/// are looked for does not count: nobody samples then.
fn measured(time: Duration, name: &str) -> (Profile, Duration) {
    let (first, last) = (RefCell::new(None), RefCell::new(BTreeMap::new()));
    let is_wanted = || {
        let times = cpu_times(name);
        first.borrow_mut().get_or_insert_with(|| times.clone());
        *last.borrow_mut() = times;
        true
    };
    let profile = pprof::read(&profile::cpu(time, is_wanted).unwrap());
    let (first, last) = (first.into_inner().unwrap(), last.into_inner());
    let used = first.iter().filter_map(|(thread, time)| Some(*last.get(thread)? - *time)).sum();
    (profile, used)
}

/// The CPU time that a thread has used. A thread takes its name when it begins to run.
fn thread_cpu_time(name: &str) -> Duration {
    let begin = Instant::now();
    loop {
        if let Some(time) = try_thread_cpu_time(name) {
            return time;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "no thread {name}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn try_thread_cpu_time(name: &str) -> Option<Duration> {
    cpu_times(name).into_values().next()
}

/// The CPU time of each thread of this name, by its number.
fn cpu_times(name: &str) -> BTreeMap<String, Duration> {
    let mut times = BTreeMap::new();
    for entry in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let stat = std::fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            let time = stat.split(' ').next().and_then(|time| time.parse().ok()).map(Duration::from_nanos);
            times.extend(time.map(|time| (entry.file_name().to_string_lossy().into_owned(), time)));
        }
    }
    times
}

#[test]
fn one_is_taken_at_a_time_and_ends_when_nobody_wants_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicU64::new(0));
    let (is_wanted, asks) = (Arc::clone(&wanted), Arc::clone(&asked));
    let first = thread::spawn(move || {
        profile::cpu(Duration::from_secs(60), || {
            asks.fetch_add(1, Ordering::SeqCst);
            is_wanted.load(Ordering::SeqCst)
        })
    });
    while asked.load(Ordering::SeqCst) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(profile::cpu(Duration::from_secs(1), || true), Err(Error::Busy)));
    let begin = Instant::now();
    wanted.store(false, Ordering::SeqCst);
    assert!(matches!(first.join().unwrap(), Err(Error::Unwanted)));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(profile::cpu(Duration::from_millis(10), || true).is_ok(), "the next one can be taken");
}

/// Allocates, takes locks, panics and begins and ends threads: whatever the handler must not meet with.
fn do_what_handlers_fear(stop: &AtomicBool) {
    let lock = Mutex::new(Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for len in 1..200 {
            lock.lock().unwrap().push(vec![1_u8; len * 17]);
        }
        lock.lock().unwrap().clear();
        let caught = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(7)));
        assert!(caught.is_err());
        thread::spawn(|| black_box(count_to(1_000))).join().unwrap();
        drop(black_box(std::backtrace::Backtrace::force_capture()));
    }
}

#[test]
fn profiles_harm_nothing_that_they_interrupt() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _workers: Vec<Worker> = (0..4).map(|_| Worker::start("afraid", do_what_handlers_fear)).collect();
    // A single one of these may be empty: on a busy machine each worker gets little more than a period.
    let (mut all, mut unwound) = (0, 0);
    for _ in 0..8 {
        let profile = pprof::read(&profile::cpu(Duration::from_millis(400), || true).unwrap());
        let (of_workers, in_function) = count(&profile, "afraid", "do_what_handlers_fear");
        (all, unwound) = (all + of_workers, unwound + in_function);
        assert!(profile.comments.is_empty(), "{:?}", profile.comments);
    }
    assert!(all > 0 && unwound * 10 >= all * 9, "{unwound} of {all} are unwound to the function of ours");
}
