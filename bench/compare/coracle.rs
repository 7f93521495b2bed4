//! Coracle, as `coracle dev` runs it: one process per node, all on this machine.

use std::path::Path;

use crate::client;
use crate::compare::Context;
use crate::compare::measure::{Sample, Subject, Test, fill, measure as measure_one};
use crate::dev::{Dev, Settings};
use crate::error::Error;
use crate::load::mix::Kind;

/// Its name in the results.
pub fn system(nodes_count: usize) -> String {
    format!("coracle x{nodes_count}")
}

/// Starts a cluster of that many nodes, measures, and stops it.
///
/// # Errors
/// If it does not start, and those of the load.
pub fn measure(context: &Context<'_>, nodes_count: usize) -> Result<Vec<Sample>, Error> {
    let dir = context.dir.join(format!("coracle-{nodes_count}"));
    std::fs::create_dir(&dir).map_err(Error::os(format!("creating {}", dir.display())))?;
    let samples = with_cluster(context, nodes_count, &dir);
    std::fs::remove_dir_all(&dir).map_err(Error::os(format!("removing {}", dir.display())))?;
    samples
}

fn with_cluster(context: &Context<'_>, nodes_count: usize, dir: &Path) -> Result<Vec<Sample>, Error> {
    let system = system(nodes_count);
    context.say(&format!("{system}: starting"));
    let dev = Dev::start(&Settings::new(&context.options.coracle, nodes_count), dir, context.stop)?;
    let (pids, cores) = (dev.pids(), dev.cores());
    let syncs = || {
        let count = |addr| client::info_field(&client::info(addr, None).ok()?, "log_blocks_written");
        // Every node logs every command, so the mean is what one log has done.
        cores.iter().copied().map(count).sum::<Option<u64>>().map(|sum| sum / nodes_count.max(1) as u64)
    };
    let subject = Subject { system: &system, addrs: &cores, cluster: true, pids: &pids, syncs: &syncs };
    fill(context, &subject)?;
    measure_all(context, &subject)
}

fn measure_all(context: &Context<'_>, subject: &Subject<'_>) -> Result<Vec<Sample>, Error> {
    let many = context.options.connections_many;
    let tests = [
        Test::closed(Kind::Set, 1, 1),
        Test::closed(Kind::Set, many, 1),
        Test::shared(many),
        Test::closed(Kind::Set, many, 16),
        Test::closed(Kind::Set, 50, 16),
        Test::closed(Kind::Get, 50, 1),
        Test::closed(Kind::Get, 50, 16),
    ];
    let mut samples = tests.iter().map(|test| measure_one(context, subject, test)).collect::<Result<Vec<_>, _>>()?;
    let full = measure_one(context, subject, &Test::closed(Kind::Set, 50, 1))?;
    // An open loop sends commands one by one, so that its full load is that of P=1; the pipeline is only room.
    let rate = full.ops_per_s * 0.7;
    samples.push(full);
    if rate > 0.0 {
        samples.push(measure_one(context, subject, &Test { rate: Some(rate), ..Test::closed(Kind::Set, 50, 16) })?);
    }
    Ok(samples)
}
