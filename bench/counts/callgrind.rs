//! One workload under valgrind's callgrind.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::counts::run_workload;
use crate::error::Error;

/// What callgrind knows [`super::counted`] by: it sees the names of functions with their paths.
const COUNTED: &str = "*counts*counted*";
/// The argument with which this program runs one workload, or tells what CPU it sees.
const HIDDEN_ARGUMENT: &str = "--workload";
/// The name of no workload: the program tells the features of the CPU instead.
const FEATURES: &str = "cpu-features";
/// What is told of a CPU that has none of the features that libraries of ours look for.
const NO_FEATURES: &str = "none";

/// Instructions per operation of one workload.
pub(super) fn count(name: &str, stop: &AtomicBool) -> Result<f64, Error> {
    let dir = tempfile::tempdir().map_err(Error::os("making a temporary directory"))?;
    let file = dir.path().join("callgrind.out");
    let options = [
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", file.display()),
        "--collect-atstart=no".to_owned(),
        format!("--toggle-collect={COUNTED}"),
    ];
    let output = under_valgrind(&options, name, stop)?;
    let operations: Option<u64> = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    let profile = fs::read_to_string(&file).map_err(Error::os(format!("reading {}", file.display())))?;
    match (instructions(&profile), operations) {
        (Some(instructions), Some(operations)) if instructions > 0 && operations > 0 => {
            Ok(instructions as f64 / operations as f64)
        }
        _ => Err(failed(&output, "nothing was counted: has the function it looks for another name?")),
    }
}

/// The features of the CPU that a program sees under valgrind.
pub(super) fn features(stop: &AtomicBool) -> Result<String, Error> {
    let output = under_valgrind(&["--tool=none".to_owned()], FEATURES, stop)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The version of valgrind.
pub(super) fn version() -> Result<String, Error> {
    let output = Command::new("valgrind").arg("--version").output().map_err(missing)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Does what the hidden argument asks for: runs a workload and prints how many operations it consisted of.
///
/// # Errors
/// If there is no such workload.
pub fn serve(name: &str) -> Result<(), Error> {
    if name == FEATURES {
        println!("{}", cpu_features());
    } else {
        println!("{}", run_workload(name)?);
    }
    Ok(())
}

fn under_valgrind(options: &[String], name: &str, stop: &AtomicBool) -> Result<Output, Error> {
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let program = env::current_exe().map_err(Error::os("finding this program"))?;
    let output = command(&program, options, name).output().map_err(missing)?;
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    if output.status.success() { Ok(output) } else { Err(failed(&output, &output.status.to_string())) }
}

/// Nothing of the surroundings reaches the program: its environment lies on its stack, and the allocator would give memory back by
/// the clock.
fn command(program: &Path, options: &[String], name: &str) -> Command {
    let mut command = Command::new("valgrind");
    command.arg("--quiet").args(options).arg(program).args(["counts", HIDDEN_ARGUMENT, name]);
    command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path))).env("MIMALLOC_PURGE_DELAY", "-1");
    command.stdin(Stdio::null());
    command
}

fn missing(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => {
            Error::Usage("valgrind is not installed: `apt-get install valgrind`, or `tools/verify tools`".to_owned())
        }
        _ => Error::os("starting valgrind")(source),
    }
}

fn failed(output: &Output, what: &str) -> Error {
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Error::Server { name: "valgrind".to_owned(), what: what.to_owned(), log }
}

/// The sum that a profile of callgrind ends with.
fn instructions(profile: &str) -> Option<u64> {
    let sums = profile.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    sums.split_ascii_whitespace().next()?.parse().ok()
}

/// What of this CPU decides how checksums are made and bytes are found.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> String {
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("popcnt", is_x86_feature_detected!("popcnt")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("vpclmulqdq", is_x86_feature_detected!("vpclmulqdq")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
    ];
    let names: Vec<&str> = features.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    if names.is_empty() { NO_FEATURES.to_owned() } else { names.join(" ") }
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> String {
    NO_FEATURES.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_profile_is_its_first_total() {
        let profile = "version: 1\nevents: Ir\nfn=(1) a\n12 34\n\ntotals: 4321\n";
        assert_eq!(instructions(profile), Some(4_321));
        assert_eq!(instructions("events: Ir Dr\ntotals: 7 9\n"), Some(7));
        for broken in ["", "totals: ", "totals: many", "summary: 3"] {
            assert_eq!(instructions(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_environment_of_whoever_counts_does_not_reach_the_program() {
        let command = command(Path::new("/p"), &[], "resp/reply");
        let names: Vec<_> = command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        assert!(names.iter().all(|name| ["PATH", "MIMALLOC_PURGE_DELAY"].contains(&name.as_str())), "{names:?}");
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words, ["--quiet", "/p", "counts", "--workload", "resp/reply"]);
    }
}
