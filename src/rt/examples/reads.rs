//! Reads of random blocks of a file, as a store makes them: `reads DIR`. Prints reads per second and cpu per read, the medians of
//! several rounds.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use host::{Clock, Disk, IoClass, Rng, Spawn, TaskClass};
use rt::{Config, File, Runtime};

const FILE_BYTES: u64 = 256 << 20;
const ROUNDS_COUNT: usize = 5;
const ROUND: Duration = Duration::from_millis(1_000);

fn cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills a struct of its own type.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// Keeps so many reads in flight for a round. Returns reads per second, and microseconds of cpu per read.
async fn round(runtime: &Runtime<()>, file: &File, len: usize, in_flight: usize) -> (u64, f64) {
    let (begin, cpu_begin) = (runtime.now(), cpu_us());
    let (reads_count, left) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(in_flight)));
    for _ in 0..in_flight {
        let (runtime, file) = (runtime.clone(), file.clone());
        let (reads_count, left) = (Rc::clone(&reads_count), Rc::clone(&left));
        runtime.clone().spawn(TaskClass::Foreground, async move {
            while runtime.now() < begin + ROUND {
                let offset = runtime.random_u64() % (FILE_BYTES / len as u64) * len as u64;
                let bytes = runtime.read(&file, offset, len, IoClass::Foreground).await.expect("the file is there");
                assert_eq!(bytes.len(), len);
                reads_count.set(reads_count.get() + 1);
            }
            left.set(left.get() - 1);
            runtime.notify();
        });
    }
    while left.get() > 0 {
        runtime.park(runtime.now() + ROUND).await;
    }
    let seconds = runtime.now().since(begin).as_secs_f64();
    let (count, cpu) = (reads_count.get(), cpu_us() - cpu_begin);
    ((count as f64 / seconds) as u64, cpu as f64 / count as f64)
}

async fn measure(runtime: &Runtime<()>, path: PathBuf) -> std::io::Result<()> {
    let file = runtime.create_zeroed(&path, FILE_BYTES).await?;
    for len in [4 << 10, 16 << 10] {
        for in_flight in [1, 64] {
            let (mut rates, mut costs) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS_COUNT {
                let (rate, cost) = round(runtime, &file, len, in_flight).await;
                rates.push(rate);
                costs.push(cost);
            }
            rates.sort_unstable();
            costs.sort_unstable_by(f64::total_cmp);
            let (rate, cost) = (rates[ROUNDS_COUNT / 2], costs[ROUNDS_COUNT / 2]);
            println!("{len:>6} B, {in_flight:>2} in flight: {rate:>7} reads/s, {cost:.2} us cpu per read");
        }
    }
    runtime.remove(&path).await
}

fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let main = move |_, runtime: Runtime<()>| {
        let path = dir.join("reads-example");
        async move { measure(&runtime, path).await }
    };
    match rt::start(Config::default(), main).and_then(rt::Running::join) {
        Ok(results) => println!("{results:?}"),
        Err(error) => eprintln!("{error}"),
    }
}
