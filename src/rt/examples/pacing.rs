//! How syncing a table is felt by the log: `pacing DIR [ROUNDS]`. One task writes log blocks of 4 KiB, one after the other, while
//! another writes tables of 64 MiB in pieces of 256 KiB and makes them durable in different ways. Prints latencies of the log
//! and the rate of the table.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use host::io_schedule::BACKGROUND_BYTES_MAX;
use host::{ALIGNMENT, AlignedBuf, Clock, Disk, IoClass, Spawn, TaskClass};
use rt::{Config, File, Runtime};

const TABLE_BYTES: u64 = 64 << 20;
const LOG_BYTES: u64 = 64 << 20;
/// How many tables one round writes in one way.
const TABLES_COUNT: u64 = 2;
/// How long a round without tables is.
const ALONE: Duration = Duration::from_millis(800);

/// How a table is made durable.
#[derive(Clone, Copy)]
enum Way {
    /// No table is written.
    Nothing,
    /// One fdatasync at the end.
    AtEnd,
    /// One for each so many bytes, and one at the end.
    Every(u64),
    /// Every write is durable when it ends.
    Durable,
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Nothing => "no table".to_owned(),
            Way::AtEnd => "synced at the end".to_owned(),
            Way::Every(bytes) => format!("every {} KiB", bytes >> 10),
            Way::Durable => "each write durable".to_owned(),
        }
    }
}

const WAYS: [Way; 7] = [
    Way::Nothing,
    Way::AtEnd,
    Way::Every(8 << 20),
    Way::Every(4 << 20),
    Way::Every(1 << 20),
    Way::Every(512 << 10),
    Way::Durable,
];

async fn write_table(runtime: &Runtime<()>, path: &Path, way: Way) -> std::io::Result<()> {
    let mut file = runtime.create(path, TABLE_BYTES).await?;
    if matches!(way, Way::Durable) {
        file = runtime.open(path).await?;
    }
    let mut buf = AlignedBuf::zeroed(BACKGROUND_BYTES_MAX);
    buf.fill(7);
    for offset in (0..TABLE_BYTES).step_by(buf.len()) {
        buf = runtime.write(&file, offset, buf, IoClass::Flush).await?;
        let end = offset + buf.len() as u64;
        if matches!(way, Way::Every(bytes) if end.is_multiple_of(bytes)) {
            runtime.sync(&file, IoClass::Flush).await?;
        }
    }
    runtime.sync(&file, IoClass::Flush).await?;
    runtime.remove(path).await
}

/// What one round measured.
struct Measured {
    log_p50_us: u64,
    log_p99_us: u64,
    log_worst_us: u64,
    table_mb_per_second: u64,
}

async fn round(runtime: &Runtime<()>, dir: &Path, log: &File, way: Way) -> std::io::Result<Measured> {
    let is_writing = Rc::new(Cell::new(true));
    let (writer, flag, path) = (runtime.clone(), Rc::clone(&is_writing), dir.join("pacing-table"));
    let begin = runtime.now();
    runtime.spawn(TaskClass::Background, async move {
        if matches!(way, Way::Nothing) {
            writer.sleep_until(begin + ALONE).await;
        } else {
            for _ in 0..TABLES_COUNT {
                write_table(&writer, &path, way).await.expect("the disk has room");
            }
        }
        flag.set(false);
    });
    let (mut took_us, mut buf) = (Vec::new(), AlignedBuf::zeroed(ALIGNMENT));
    while is_writing.get() {
        let begin = runtime.now();
        let token = took_us.len() as u64;
        runtime.write_begin(log, token * ALIGNMENT as u64 % LOG_BYTES, buf, token);
        let done = loop {
            runtime.park(begin + Duration::from_secs(5)).await;
            if let Some(done) = runtime.write_end() {
                break done;
            }
        };
        done.result?;
        buf = done.buf;
        took_us.push(runtime.now().since(begin).as_micros() as u64);
    }
    let seconds = runtime.now().since(begin).as_secs_f64();
    took_us.sort_unstable();
    let at = |permille: usize| took_us.get(took_us.len() * permille / 1_000).copied().unwrap_or_default();
    let table_bytes = if matches!(way, Way::Nothing) { 0 } else { TABLES_COUNT * TABLE_BYTES };
    Ok(Measured {
        log_p50_us: at(500),
        log_p99_us: at(990),
        log_worst_us: took_us.last().copied().unwrap_or_default(),
        table_mb_per_second: (table_bytes as f64 / seconds / 1e6) as u64,
    })
}

fn median(rounds: &[Measured], of: impl Fn(&Measured) -> u64) -> u64 {
    let mut values: Vec<u64> = rounds.iter().map(of).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

async fn measure(runtime: &Runtime<()>, dir: &Path, rounds_count: usize) -> std::io::Result<()> {
    let path = dir.join("pacing-log");
    let log = runtime.create_zeroed(&path, LOG_BYTES).await?;
    let mut rounds: Vec<Vec<Measured>> = WAYS.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds_count {
        for (way, rounds) in WAYS.into_iter().zip(&mut rounds) {
            rounds.push(round(runtime, dir, &log, way).await?);
        }
    }
    for (way, rounds) in WAYS.into_iter().zip(&rounds) {
        let (p50, p99) = (median(rounds, |it| it.log_p50_us), median(rounds, |it| it.log_p99_us));
        let (worst, rate) = (median(rounds, |it| it.log_worst_us), median(rounds, |it| it.table_mb_per_second));
        let name = way.name();
        println!("{name:<18}: log p50 {p50:>6} us, p99 {p99:>6} us, worst {worst:>7} us, table {rate:>5} MB/s");
    }
    runtime.remove(&path).await
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| ".".to_owned()));
    let rounds_count = args.next().and_then(|count| count.parse().ok()).unwrap_or(5);
    let main = move |_, runtime: Runtime<()>| {
        let dir = dir.clone();
        async move { measure(&runtime, &dir, rounds_count).await }
    };
    match rt::start(Config::default(), main).and_then(rt::Running::join) {
        Ok(results) => println!("{results:?}"),
        Err(error) => eprintln!("{error}"),
    }
}
