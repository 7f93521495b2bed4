//! Waiting, waking, tasks and queues between cores.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant as WallInstant};

use common::{one_core, small, watchdog};
use host::{Clock, Mesh, Rng, Spawn, TaskClass};
use rt::{Config, CoreConfig, Error, Runtime};
use types::{CoreId, Instant};

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn cores(count: usize) -> Config {
    Config { cores: vec![CoreConfig::default(); count], mesh_messages_count_max: 8, ..small() }
}

/// Cpu time of the calling thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills a struct of its own type.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_wait_ends_at_its_deadline_and_costs_nothing() {
    one_core("a_wait_ends", small(), |runtime| async move {
        let (begin, cpu_begin) = (runtime.now(), cpu_time());
        for round in 1..=20 {
            let deadline = begin + millis(50) * round;
            runtime.park(deadline).await;
            assert!(runtime.now() >= deadline, "nothing else ends it");
        }
        let (took, cpu) = (runtime.now().since(begin), cpu_time() - cpu_begin);
        assert!(took < millis(1_500), "{took:?}");
        println!("idle for {took:?} with a deadline each 50 ms: {cpu:?} of cpu time");
        assert!(cpu < millis(10), "{cpu:?}");
        runtime.park(Instant::ZERO).await;
        assert!(runtime.unix_time_ms() > 1_700_000_000_000);
        assert_ne!(runtime.random_u64(), runtime.random_u64());
    });
}

#[test]
fn a_notification_ends_the_next_wait_once() {
    one_core("a_notification", small(), |runtime| async move {
        runtime.notify();
        let begin = runtime.now();
        runtime.park(begin + millis(5_000)).await;
        assert!(runtime.now().since(begin) < millis(2_000));
        let deadline = runtime.now() + millis(30);
        runtime.park(deadline).await;
        assert!(runtime.now() >= deadline, "it was used up");
        // From a task, and from another thread.
        let (other, begin) = (runtime.clone(), runtime.now());
        runtime.spawn(TaskClass::Background, async move {
            other.sleep_until(other.now() + millis(20)).await;
            other.notify();
        });
        runtime.park(begin + millis(5_000)).await;
        let took = runtime.now().since(begin);
        assert!(took >= millis(20) && took < millis(2_000), "{took:?}");
        let notifier = runtime.notifier();
        let begin = runtime.now();
        let thread = thread::spawn(move || {
            thread::sleep(millis(20));
            notifier.notify();
        });
        runtime.park(begin + millis(5_000)).await;
        let took = runtime.now().since(begin);
        assert!(took >= millis(20) && took < millis(2_000), "{took:?}");
        thread.join().expect("the thread");
    });
}

#[test]
fn no_notification_from_another_thread_is_lost() {
    const COUNT: u64 = 20_000;
    one_core("no_notification_is_lost", small(), |runtime| async move {
        let (seen, notifier) = (Arc::new(AtomicU64::new(0)), runtime.notifier());
        let published = Arc::new(AtomicU64::new(0));
        let (seen_there, published_there) = (Arc::clone(&seen), Arc::clone(&published));
        let thread = thread::spawn(move || {
            for i in 1..=COUNT {
                published_there.store(i, Ordering::Relaxed);
                notifier.notify();
                // In lock step, so that each wake-up counts: a lost one shows as a wait to the deadline.
                while seen_there.load(Ordering::Acquire) < i {
                    thread::yield_now();
                }
            }
        });
        let mut late_count = 0;
        while seen.load(Ordering::Relaxed) < COUNT {
            let deadline = runtime.now() + millis(2_000);
            runtime.park(deadline).await;
            late_count += u64::from(runtime.now() >= deadline);
            seen.store(published.load(Ordering::Relaxed), Ordering::Release);
        }
        thread.join().expect("the thread");
        assert_eq!(late_count, 0);
    });
}

#[test]
fn timers_end_in_order_while_the_loop_waits() {
    one_core("timers", small(), |runtime| async move {
        let ended = Rc::new(RefCell::new(Vec::new()));
        let begin = runtime.now();
        for wait in [30, 10, 20, 10, 0] {
            let (other, ended) = (runtime.clone(), Rc::clone(&ended));
            runtime.spawn(TaskClass::Foreground, async move {
                let until = begin + millis(wait);
                other.sleep_until(until).await;
                assert!(other.now() >= until);
                ended.borrow_mut().push(wait);
                other.notify();
            });
        }
        while ended.borrow().len() < 5 {
            runtime.park(Instant::NEVER).await;
        }
        assert_eq!(*ended.borrow(), [0, 10, 10, 20, 30]);
    });
}

#[test]
fn the_loop_gets_its_turns_beside_a_task_that_never_rests() {
    one_core("the_loop_gets_its_turns", small(), |runtime| async move {
        // Time slept must not count as time used: the tasks would then run alone until they are even.
        runtime.park(runtime.now() + millis(3_000)).await;
        let (stop, rounds) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0u64)));
        for class in [TaskClass::Background, TaskClass::Foreground] {
            let (other, stop, rounds) = (runtime.clone(), Rc::clone(&stop), Rc::clone(&rounds));
            runtime.spawn(class, async move {
                while !stop.get() {
                    rounds.set(rounds.get() + 1);
                    other.yield_now().await;
                }
            });
        }
        let begin = runtime.now();
        let mut deadlines_count = 0;
        while runtime.now().since(begin) < millis(300) {
            let deadline = runtime.now() + millis(1);
            runtime.park(deadline).await;
            let late = runtime.now().since(deadline);
            assert!(late < millis(100), "{late:?}");
            deadlines_count += 1;
        }
        assert!(deadlines_count > 20, "{deadlines_count} turns");
        assert!(rounds.get() > 100, "{} rounds", rounds.get());
        stop.set(true);
        runtime.yield_now().await;
    });
}

#[test]
fn a_loop_that_never_rests_lets_tasks_run() {
    one_core("a_loop_that_never_rests", small(), |runtime| async move {
        let done = Rc::new(Cell::new(false));
        let (other, place) = (runtime.clone(), Rc::clone(&done));
        runtime.spawn(TaskClass::Background, async move {
            for _ in 0..10 {
                other.yield_now().await;
                other.sleep_until(other.now() + millis(1)).await;
            }
            place.set(true);
        });
        while !done.get() {
            runtime.notify();
            runtime.park(Instant::NEVER).await;
        }
        // The loop may also wait for something else than the ring.
        runtime.sleep_until(runtime.now() + millis(5)).await;
    });
}

#[test]
fn messages_cross_between_cores_in_order_and_wake_them() {
    const COUNT: u64 = 20_000;
    let _watchdog = watchdog("messages_cross");
    let running = rt::start(cores(2), |core, runtime: Runtime<u64>| async move {
        let other = CoreId(1 - core.0);
        let begin = WallInstant::now();
        let mut count = 0;
        if core.0 == 0 {
            runtime.mesh_send(other, 0).expect("there is room");
        }
        while count < COUNT {
            match runtime.mesh_receive() {
                Some((from, message)) => {
                    assert_eq!((from, message), (other, count));
                    count += 1;
                    // The last reply finds the other core gone or going.
                    let _ = runtime.mesh_send(other, count - u64::from(core.0));
                }
                None => runtime.park(runtime.now() + millis(5_000)).await,
            }
        }
        begin.elapsed()
    });
    let took = running.expect("the cores start").join().expect("the cores end");
    println!("{COUNT} round trips between two cores: {:?} each", took[0] / COUNT as u32);
    assert!(took[0] < millis(4_000), "a wake-up was lost: {:?}", took[0]);
}

#[test]
fn a_flood_between_four_cores_arrives_whole_and_in_order() {
    const COUNT: u64 = 5_000;
    let _watchdog = watchdog("a_flood");
    let running = rt::start(cores(4), |core, runtime: Runtime<u64>| async move {
        let (mut sent, mut received) = ([0u64; 4], [0u64; 4]);
        let own = usize::from(core.0);
        (sent[own], received[own]) = (COUNT, COUNT);
        while sent.iter().chain(&received).any(|count| *count < COUNT) {
            for (to, sent) in sent.iter_mut().enumerate() {
                // Full queues hand the message back; it is tried again in the next turn.
                while *sent < COUNT && runtime.mesh_send(CoreId(to as u16), *sent).is_ok() {
                    *sent += 1;
                }
            }
            while let Some((from, message)) = runtime.mesh_receive() {
                assert_eq!(message, received[usize::from(from.0)]);
                received[usize::from(from.0)] += 1;
            }
            runtime.park(runtime.now() + millis(1)).await;
        }
        runtime.cores_count()
    });
    assert_eq!(running.expect("the cores start").join().expect("the cores end"), [4; 4]);
}

#[test]
fn other_threads_send_messages_until_the_core_is_gone() {
    let _watchdog = watchdog("other_threads");
    let running = rt::start(cores(1), |core, runtime: Runtime<u64>| async move {
        let mut sum = 0;
        loop {
            match runtime.mesh_receive() {
                Some((from, 0)) => {
                    assert_eq!(from, core);
                    return sum;
                }
                Some((_, message)) => sum += message,
                None => runtime.park(Instant::NEVER).await,
            }
        }
    });
    let mut running = running.expect("the core starts");
    let remote = running.remote();
    for message in (0..100).rev() {
        while remote.send(CoreId(0), message).is_err() {
            thread::yield_now();
        }
    }
    let (core, sum) = running.next_end().expect("one end");
    assert_eq!((core, sum.expect("it ended well")), (CoreId(0), 99 * 100 / 2));
    assert!(running.next_end().is_none());
    assert_eq!(remote.send(CoreId(0), 1), Err(1));
    assert_eq!(remote.send(CoreId(9), 1), Err(1));
    remote.notify_all();
}

#[test]
fn a_panic_on_one_core_is_reported_while_others_run() {
    let _watchdog = watchdog("a_panic");
    let (gone_sender, gone) = mpsc::channel();
    let running = rt::start(cores(2), move |core, runtime: Runtime<u64>| {
        let gone = gone_sender.clone();
        async move {
            if core.0 == 1 {
                let other = runtime.clone();
                runtime.spawn(TaskClass::Background, async move {
                    other.sleep_until(other.now() + millis(10)).await;
                    panic!("for the test");
                });
                loop {
                    while runtime.mesh_receive().is_some() {}
                    runtime.park(Instant::NEVER).await;
                }
            }
            while runtime.mesh_send(CoreId(1), 1).is_ok() {
                runtime.park(runtime.now() + millis(10)).await;
            }
            gone.send(()).expect("the test listens");
        }
    });
    let error = running.expect("the cores start").join().expect_err("one panicked");
    assert!(
        matches!(&error, Error::CorePanicked { core: CoreId(1), message } if message == "for the test"),
        "{error}"
    );
    gone.recv().expect("the other core goes on and sees that it is gone");
}

#[test]
fn settings_that_cannot_be_are_errors_before_any_core_runs() {
    let _watchdog = watchdog("settings");
    let fails = |config: Config| {
        let main = |_, _: Runtime<u64>| async { panic!("no core may run") };
        rt::start(config, main).map(drop).expect_err("it cannot start").to_string()
    };
    let error = fails(Config { cores: vec![CoreConfig::default(), CoreConfig { cpu: Some(9_999) }], ..small() });
    assert!(error.contains("core 1") && error.contains("cpu"), "{error}");
    assert!(fails(Config { cores: Vec::new(), ..small() }).contains("cores"));
    assert!(fails(Config { recv_buffers_count: 100, ..small() }).contains("recv_buffers_count"));
    assert!(fails(Config { recv_buffer_bytes: 0, ..small() }).contains("recv_buffer_bytes"));
    assert!(fails(Config { submissions_count: 0, ..small() }).contains("submissions_count"));
}
