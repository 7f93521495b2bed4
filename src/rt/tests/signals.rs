//! Cores that are interrupted by signals all the time, as those of a process that is being profiled are.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{Event, listen, next, one_core, pattern, small};
use host::{ALIGNMENT, AlignedBuf, Clock, Disk, IoClass, Net, SendBuf, Spawn, TaskClass};

/// How long a core is interrupted.
const TIME: Duration = Duration::from_secs(2);
/// Pause between signals: short enough that most system calls meet with one.
const PAUSE: Duration = Duration::from_micros(20);

static INTERRUPTED_COUNT: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    INTERRUPTED_COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Interrupts the calling thread from now on until dropped. No call of the kernel is begun again by itself.
struct Rain {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Rain {
    fn start() -> Rain {
        let handler = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: all zeros is a valid value of this plain C struct.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler;
        // SAFETY: the handler does what one may do, and the pointers are those of a struct that lives, and of none.
        assert_eq!(unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) }, 0);
        // SAFETY: the calls take nothing.
        let (process, core) = unsafe { (libc::getpid(), libc::gettid()) };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // SAFETY: the call takes no pointers; the thread lives until this one was told to stop.
                assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, process, core, libc::SIGPROF) }, 0);
                thread::sleep(PAUSE);
            }
        });
        Rain { stop, thread: Some(thread) }
    }
}

impl Drop for Rain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(thread::JoinHandle::join);
        assert!(joined.is_some_and(|joined| joined.is_ok()) || thread::panicking());
    }
}

#[test]
fn signals_end_no_wait_and_fail_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = dir.path().join("file");
    one_core("signals_end_no_wait", small(), |runtime| async move {
        let _rain = Rain::start();
        let end = runtime.now() + TIME;
        while runtime.now() < end {
            let deadline = runtime.now() + Duration::from_millis(7);
            runtime.park(deadline).await;
            assert!(runtime.now() >= deadline, "nothing but the deadline ends it");
        }
        assert!(INTERRUPTED_COUNT.load(Ordering::Relaxed) > 1_000, "waits were interrupted");
        // Files: tasks and the turn loop at once.
        let file = runtime.create_zeroed(&path, 64 * ALIGNMENT as u64).await.expect("a file");
        let (tasks, own) = (runtime.clone(), file.clone());
        let is_done = std::rc::Rc::new(std::cell::Cell::new(false));
        let done = std::rc::Rc::clone(&is_done);
        runtime.spawn(TaskClass::Background, async move {
            for round in 0..100_u64 {
                let mut buf = AlignedBuf::zeroed(ALIGNMENT);
                buf.fill(round as u8);
                let offset = round % 32 * ALIGNMENT as u64;
                tasks.write(&own, offset, buf, IoClass::Foreground).await.expect("written");
                tasks.sync(&own, IoClass::Foreground).await.expect("synced");
                let bytes = tasks.read(&own, offset, ALIGNMENT, IoClass::Foreground).await.expect("read");
                assert!(bytes.iter().all(|byte| *byte == round as u8));
                tasks.sleep_until(tasks.now() + Duration::from_micros(300)).await;
            }
            done.set(true);
            tasks.notify();
        });
        let mut token = 0;
        while !is_done.get() {
            let mut buf = AlignedBuf::zeroed(ALIGNMENT);
            buf.fill(token as u8);
            runtime.write_begin(&file, (32 + token % 32) * ALIGNMENT as u64, buf, token);
            let end = loop {
                match runtime.write_end() {
                    Some(end) => break end,
                    None => runtime.park(runtime.now() + Duration::from_secs(5)).await,
                }
            };
            assert_eq!((end.token, end.result.is_ok()), (token, true), "{:?}", end.result);
            token += 1;
        }
    });
}

#[test]
fn signals_break_no_connection() {
    const ROUNDS_COUNT: usize = 200;
    const BYTES: usize = 100_000;
    one_core("signals_break_no_connection", small(), |runtime| async move {
        let (_, addr) = listen(&runtime);
        let _rain = Rain::start();
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(addr).expect("connected");
            let (sent, mut back) = (pattern(BYTES), vec![0; BYTES]);
            for _ in 0..ROUNDS_COUNT {
                stream.write_all(&sent).expect("taken");
                stream.read_exact(&mut back).expect("sent back");
                assert!(sent == back);
            }
        });
        let (mut waiting, mut is_sending) = (Vec::new(), false);
        loop {
            match next(&runtime).await {
                Event::Received { conn, buf } => {
                    waiting.extend_from_slice(&buf);
                    drop(buf);
                    if !is_sending {
                        is_sending = true;
                        runtime.send(conn, SendBuf::Plain(std::mem::take(&mut waiting)));
                        runtime.wake_when_sent(conn);
                    }
                }
                Event::Sent { conn, .. } => {
                    is_sending = !waiting.is_empty();
                    if is_sending {
                        runtime.send(conn, SendBuf::Plain(std::mem::take(&mut waiting)));
                        runtime.wake_when_sent(conn);
                    }
                }
                Event::ReceiveEnded { conn } => runtime.close(conn),
                Event::Closed { error, .. } => {
                    assert!(error.is_none(), "{error:?}");
                    break;
                }
                Event::Accepted { .. } | Event::Connected { .. } => {}
            }
        }
        client.join().expect("the client has all its bytes back");
    });
}
