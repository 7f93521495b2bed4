//! The disk itself: how long one synchronous direct write takes, which no server can beat.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use hdrhistogram::Histogram;
use host::AlignedBuf;
use rustix::fs::OFlags;

use crate::compare::Context;
use crate::compare::measure::Sample;
use crate::error::Error;
use crate::load::report::Latency;

/// What the file is made of.
const FILE_BYTES: usize = 16 * 1024 * 1024;
/// What is overwritten at a time.
const WRITE_BYTES: [usize; 2] = [4 * 1024, 64 * 1024];

/// Overwrites a prezeroed file, one write at a time.
///
/// # Errors
/// Those of the system; a file system without direct I/O is one.
pub fn measure(context: &Context<'_>) -> Result<Vec<Sample>, Error> {
    let path = context.dir.join("raw");
    let os = || Error::os(format!("writing {}", path.display()));
    let zeroed = File::create(&path).map_err(os())?;
    zeroed.write_all_at(&vec![0; FILE_BYTES], 0).map_err(os())?;
    zeroed.sync_all().map_err(os())?;
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits();
    let file = OpenOptions::new().write(true).custom_flags(flags as i32).open(&path).map_err(os())?;
    let mut samples = Vec::new();
    for write_bytes in WRITE_BYTES {
        let test = format!("overwrite {} KiB", write_bytes / 1024);
        context.say(&format!("disk: {test}"));
        let latency = overwrite(context, &file, write_bytes).map_err(os())?;
        context.check_stop()?;
        samples.push(Sample {
            system: "disk".to_owned(),
            test,
            ops_per_s: 1e6 / latency.mean_us,
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            ..Sample::default()
        });
    }
    std::fs::remove_file(&path).map_err(os())?;
    Ok(samples)
}

fn overwrite(context: &Context<'_>, file: &File, write_bytes: usize) -> std::io::Result<Latency> {
    let mut buf = AlignedBuf::zeroed(write_bytes);
    buf.fill(0xA5);
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds");
    let started = Instant::now();
    let mut offset = 0;
    while started.elapsed() < context.options.measure_for && context.check_stop().is_ok() {
        let begun = Instant::now();
        file.write_all_at(&buf, offset as u64)?;
        histogram.saturating_record(begun.elapsed().as_nanos() as u64);
        offset = (offset + write_bytes) % FILE_BYTES;
    }
    Ok(Latency::of(&histogram))
}
