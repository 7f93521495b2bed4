//! Durable writes one at a time, as a core's log makes them: `log DIR`. Prints p50, p99 and cpu per block.

use std::path::PathBuf;
use std::time::Duration;

use host::{AlignedBuf, Clock, Disk, Spawn};
use rt::{Config, Runtime};

const BLOCKS_COUNT: u64 = 4_000;
const FILE_BYTES: u64 = 64 << 20;

fn cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills a struct of its own type.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

async fn measure(runtime: &Runtime<()>, path: PathBuf) -> std::io::Result<()> {
    let begin = runtime.now();
    let file = runtime.create_zeroed(&path, FILE_BYTES).await?;
    println!("64 MiB of zeros: {:?}", runtime.now().since(begin));
    for bytes in [4 << 10, 64 << 10, 256 << 10] {
        let (mut buf, mut took_us) = (AlignedBuf::zeroed(bytes), Vec::new());
        let cpu_begin = cpu_us();
        for i in 0..BLOCKS_COUNT {
            let begin = runtime.now();
            let offset = i * bytes as u64 % FILE_BYTES;
            runtime.write_begin(&file, offset, std::mem::take(&mut buf), i);
            let done = loop {
                if let Some(done) = runtime.write_end() {
                    break done;
                }
                runtime.park(begin + Duration::from_secs(5)).await;
            };
            done.result?;
            buf = done.buf;
            took_us.push(runtime.now().since(begin).as_micros());
        }
        let cpu = cpu_us() - cpu_begin;
        took_us.sort_unstable();
        let at = |percent: usize| took_us.get(took_us.len() * percent / 100).copied().unwrap_or_default();
        println!("{bytes:>7} B: p50 {} us, p99 {} us, cpu {} us", at(50), at(99), cpu / BLOCKS_COUNT);
    }
    runtime.remove(&path).await
}

fn main() {
    let dir = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| ".".to_owned()));
    let main = move |_, runtime: Runtime<()>| {
        let path = dir.join("log-example");
        async move { measure(&runtime, path).await }
    };
    match rt::start(Config::default(), main).and_then(rt::Running::join) {
        Ok(results) => println!("{results:?}"),
        Err(error) => eprintln!("{error}"),
    }
}
