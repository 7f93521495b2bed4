//! A timer for each thread of the process, which counts the CPU time of that thread.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

use crate::error::Error;

/// Timers of all threads. Dropping them stops them.
pub(crate) struct ThreadTimers {
    period: Duration,
    timers: HashMap<i32, ThreadTimer>,
    names: HashMap<i32, String>,
}

impl ThreadTimers {
    /// Interrupts each thread that there is whenever it has used `period` of CPU time.
    ///
    /// # Errors
    /// That there can be no timer.
    pub(crate) fn start(period: Duration) -> Result<ThreadTimers, Error> {
        let mut timers = ThreadTimers { period, timers: HashMap::new(), names: HashMap::new() };
        // This thread is there for sure: what goes wrong for it is wrong with all of them.
        // SAFETY: the call takes nothing.
        let own = unsafe { libc::gettid() };
        let timer = ThreadTimer::start(own, period).map_err(|source| Error::Os { what: "making a timer", source })?;
        timers.timers.insert(own, timer);
        timers.refresh();
        Ok(timers)
    }

    /// Takes in which threads have begun and ended.
    pub(crate) fn refresh(&mut self) {
        let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return };
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let threads: Vec<i32> = numbers.collect();
        self.timers.retain(|thread, _| threads.contains(thread));
        for thread in threads {
            if !self.timers.contains_key(&thread)
                // It has ended since it was listed, or there are no more timers: it is not sampled.
                && let Ok(timer) = ThreadTimer::start(thread, self.period)
            {
                self.timers.insert(thread, timer);
            }
            // A thread takes its name a moment behind its beginning, and some never have another than the process.
            if let Ok(name) = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")) {
                self.names.insert(thread, name.trim_end().to_owned());
            }
        }
    }

    /// Interrupts no thread any more.
    pub(crate) fn stop(&mut self) {
        self.timers.clear();
    }

    /// The name of a thread, also of one that has ended.
    pub(crate) fn name(&self, thread: i32) -> &str {
        self.names.get(&thread).map_or("", String::as_str)
    }
}

/// Deleted when dropped.
struct ThreadTimer(libc::timer_t);

impl ThreadTimer {
    fn start(thread: i32, period: Duration) -> io::Result<ThreadTimer> {
        // SAFETY: all zeros is a valid value of this plain C struct.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = thread;
        // What the handler is told.
        event.sigev_value.sival_ptr = thread as usize as *mut libc::c_void;
        let mut timer: libc::timer_t = ptr::null_mut();
        // SAFETY: both structs live during the call.
        if unsafe { libc::timer_create(cpu_clock(thread), &raw mut event, &raw mut timer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let timer = ThreadTimer(timer);
        let spec =
            libc::itimerspec { it_interval: timespec(period), it_value: timespec(first_period(thread, period)) };
        // SAFETY: the timer is ours, the struct lives during the call, and nobody asks for the former value.
        if unsafe { libc::timer_settime(timer.0, 0, &raw const spec, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }
}

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours, and deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// How much of the first period is left: any part of it, at random. If all began with a whole one, a thread that uses less would never be
/// sampled, however many of them there are.
fn first_period(thread: i32, period: Duration) -> Duration {
    // Each such state has keys of its own.
    let random = RandomState::new().hash_one(thread);
    let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1);
    // Not zero, which would stop the timer.
    Duration::from_nanos(random % nanos + 1)
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() }
}

/// The clock of a thread's CPU time, as the kernel numbers it (`MAKE_THREAD_CPUCLOCK` with `CPUCLOCK_SCHED` of
/// linux/posix-timers.h). The C library makes it from a handle of the thread, which only whoever has started it has.
fn cpu_clock(thread: i32) -> libc::clockid_t {
    const PER_THREAD: i32 = 4;
    const SCHEDULED: i32 = 2;
    (!thread << 3) | PER_THREAD | SCHEDULED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_thread_is_that_of_the_c_library() {
        let mut clock = 0;
        // SAFETY: the handle is that of this thread, and the clock lives during the call.
        let (failed, thread) =
            unsafe { (libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock), libc::gettid()) };
        assert_eq!((failed, clock), (0, cpu_clock(thread)));
    }

    #[test]
    fn first_periods_are_any_part_of_one() {
        const DRAWS_COUNT: u32 = 4_000;
        let period = Duration::from_millis(10);
        let firsts: Vec<Duration> = (0..DRAWS_COUNT).map(|_| first_period(7, period)).collect();
        assert!(firsts.iter().all(|first| !first.is_zero() && *first <= period));
        let mean = firsts.iter().sum::<Duration>() / DRAWS_COUNT;
        // The mean of so many is off by 0.05 ms, as a rule.
        assert!(mean > Duration::from_micros(4_600) && mean < Duration::from_micros(5_400), "{mean:?}");
        let short = firsts.iter().filter(|first| **first < period / 10).count();
        assert!((200..700).contains(&short), "{short} of {DRAWS_COUNT} are in the first tenth");
    }

    #[test]
    fn threads_that_begin_and_end_are_followed() {
        let mut timers = ThreadTimers::start(Duration::from_secs(1_000)).expect("there can be timers");
        let (told, telling) = std::sync::mpsc::channel();
        let (go, going) = std::sync::mpsc::channel::<()>();
        let body = move || {
            // SAFETY: the call takes nothing.
            told.send(unsafe { libc::gettid() }).expect("the test waits for it");
            let _ = going.recv();
        };
        let thread = std::thread::Builder::new().name("followed".to_owned()).spawn(body).expect("a thread");
        let number = telling.recv().expect("it begins");
        timers.refresh();
        assert!(timers.timers.contains_key(&number));
        assert_eq!(timers.name(number), "followed");
        drop(go);
        thread.join().expect("it ends");
        // The kernel lists it for a moment longer than it can be joined.
        let begin = std::time::Instant::now();
        while timers.timers.contains_key(&number) {
            assert!(begin.elapsed() < Duration::from_secs(10), "it is not listed any more");
            timers.refresh();
        }
        assert_eq!(timers.name(number), "followed", "samples of it may still come");
    }
}
