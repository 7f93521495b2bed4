//! What the end-to-end tests share: real clusters of real processes, a plain client, and a watchdog.
//!
//! Every test begins with [`alone`]: it waits until no other test of the program runs, since all of them want
//! the whole machine, and ends the program if the test takes too long. Processes are children that the kernel
//! ends with the test, whatever becomes of it.
//!
//! The tests run the release build of `coracle` ([`binary`]). Nothing here builds it.
//!
//! Deliberately absent: retries. A helper that retries says so in its name.
//!
//! Reading order: [`watchdog`], [`process`], [`cluster`] and [`ports`], [`server`], [`redis_server`], [`client`], [`ctl`], [`http`], [`pprof`], [`collector`], [`replicas`], [`load`], [`memory`]; then what breaks
//! things: [`firewall`], [`mounts`], [`throttle`]. [`source`] and [`modules`] read the source for the tests of the architecture.

#[path = "support/client.rs"]
pub mod client;
#[path = "support/cluster.rs"]
pub mod cluster;
#[path = "support/collector.rs"]
pub mod collector;
#[path = "support/ctl.rs"]
pub mod ctl;
#[path = "support/firewall.rs"]
pub mod firewall;
#[path = "support/http.rs"]
pub mod http;
#[path = "support/load.rs"]
pub mod load;
#[path = "support/memory.rs"]
pub mod memory;
#[path = "support/modules.rs"]
pub mod modules;
#[path = "support/mounts.rs"]
pub mod mounts;
#[path = "support/ports.rs"]
pub mod ports;
#[path = "support/pprof.rs"]
pub mod pprof;
#[path = "support/process.rs"]
pub mod process;
#[path = "support/redis_server.rs"]
pub mod redis_server;
#[path = "support/replicas.rs"]
pub mod replicas;
#[path = "support/server.rs"]
pub mod server;
#[path = "support/source.rs"]
pub mod source;
#[path = "support/throttle.rs"]
pub mod throttle;
#[path = "support/watchdog.rs"]
pub mod watchdog;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use client::{Client, Reply};
pub use cluster::{Cluster, Node, Options};
pub use redis_server::RedisServer;
pub use server::Server;
pub use watchdog::{Alone, alone};

/// The root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the package lies in a folder of the repository").to_owned()
}

/// The program under test: `CORACLE_BIN`, else the release build.
///
/// # Panics
/// If it is not there, or older than what it is made from: tests of that would say nothing.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("CORACLE_BIN").map_or_else(release_build, PathBuf::from);
    assert!(path.is_file(), "{} is missing; `cargo build --release -p coracle` makes it", path.display());
    if let Some(newer) = newer_source(&path) {
        panic!("{} is older than {newer}; `cargo build --release -p coracle` brings it up to date", path.display());
    }
    path
}

/// Where cargo puts the release build: next to the build that this test is from.
fn release_build() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let target = test.ancestors().nth(3).expect("cargo puts tests into TARGET/PROFILE/deps");
    target.join("release/coracle")
}

/// A file that a program was built from and that has changed since, by the list that cargo puts beside it.
fn newer_source(program: &Path) -> Option<String> {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let list = std::fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    let built = changed(program)?;
    sources.split_whitespace().find(|source| changed(Path::new(source)) > Some(built)).map(str::to_owned)
}

/// Tells that a test cannot run on this machine, and why; the test then returns. `tools/verify` looks for these words: as
/// root it takes no skipped test for a passed one.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    eprintln!("SKIPPED: {why} ({})", thread.name().unwrap_or("a test"));
}

/// Asks again and again until the answer is true.
///
/// # Panics
/// If that takes longer than `within`.
pub fn wait_until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < within, "waited {within:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
