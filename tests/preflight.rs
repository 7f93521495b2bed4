//! Machines that cannot run a node: each refusal names the reason and the remedy. All of them are provoked for real,
//! and for one process only.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coracle_tests::client::bulk;
use coracle_tests::{Client, Reply, alone, binary, ports, process, skipped, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(30);

/// Runs a program under a filter of system calls: `io_uring_setup` fails with the number given first, as it does in a
/// container that forbids it, or on a kernel without it.
const WITHOUT_IO_URING: &str = "
import ctypes, os, struct, sys
IO_URING_SETUP, LOAD_WORD, JUMP_IF_EQUAL, RETURN = 425, 0x20, 0x15, 0x06
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
ERRNO, ALLOW = 0x00050000 | int(sys.argv[1]), 0x7fff0000
code = b''.join(struct.pack('<HBBI', *step) for step in [
    (LOAD_WORD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP), (RETURN, 0, 0, ERRNO), (RETURN, 0, 0, ALLOW)])
steps = ctypes.create_string_buffer(code, len(code))
program = ctypes.create_string_buffer(struct.pack('@HP', 4, ctypes.addressof(steps)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, program, 0, 0):
    sys.exit(f'no filter: {os.strerror(ctypes.get_errno())}')
os.execv(sys.argv[2], sys.argv[2:])
";

/// Runs a node through another program; returns what it says when it refuses to start.
fn refused(through: &[&str], data_dir: &Path) -> String {
    let (program, port) = (binary(), ports::free(1, 1).to_string());
    let node = [
        program.to_str().unwrap(),
        "server",
        "--cluster-id",
        "test",
        "--node-id",
        "1",
        "--maxclients",
        "1000",
        "--pin",
        "false",
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--gateway-port",
        &port,
    ];
    let all: Vec<&str> = through.iter().chain(&node).copied().collect();
    let output = process::run(all[0], &all[1..], b"", WITHIN);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}: {told}", output.status);
    assert!(!told.contains("panicked"), "{told}");
    println!("{}", told.lines().last().unwrap_or_default());
    told
}

fn expect(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
}

#[test]
fn no_io_uring() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    // ENOSYS and EPERM, on all architectures.
    for code in ["38", "1"] {
        let told = refused(&["python3", "-c", WITHOUT_IO_URING, code], dir.path());
        if told.contains("no filter") {
            return skipped(&told);
        }
        let switched_off = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        if code == "1" && switched_off.is_ok_and(|value| value.trim() != "0") {
            expect(&told, &["io_uring is switched off", "sysctl -w kernel.io_uring_disabled=0"]);
        } else {
            expect(&told, &["no io_uring", "Linux 6.1", "container", "seccomp profile"]);
        }
    }
}

#[test]
fn too_little_memory_that_may_be_locked() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let told = refused(&["prlimit", "--memlock=65536:65536"], dir.path());
    expect(&told, &["limit of locked memory is 64 KiB", "at least 512 KiB", "ulimit -l 512", "LimitMEMLOCK="]);
}

#[test]
fn too_few_open_files() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let told = refused(&["prlimit", "--nofile=1000:1000"], dir.path());
    expect(&told, &["limit of open files is 1000", "ulimit -n", "LimitNOFILE="]);
}

#[test]
fn as_many_clients_as_the_limit_of_open_files_allows() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let (log, port) = (dir.path().join("log"), ports::free(1, 1));
    let mut node = process::bound("prlimit")
        .args(["--nofile=4000:4000", "--"])
        .arg(binary())
        .args(["server", "--cluster-id", "test", "--node-id", "1", "--groups", "2", "--pin", "false"])
        .args(["--gateway-port", &port.to_string(), "--data-dir", dir.path().join("data").to_str().unwrap()])
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    wait_until("the node answers", WITHIN, || {
        Client::connect("127.0.0.1", port).and_then(|mut client| client.ask(&[b"PING"])).is_ok()
    });
    let mut client = Client::connect("127.0.0.1", port).unwrap();
    let fit = client.info("maxclients");
    assert!((1_500..2_000).contains(&fit), "{fit} clients on each of two ports");
    let shown = Reply::Array(vec![bulk("maxclients"), bulk(fit.to_string())]);
    assert_eq!(client.command("CONFIG GET maxclients"), shown);
    let told = std::fs::read_to_string(&log).unwrap();
    expect(&told, &["limit of open files is 4000", &format!("maxclients is {fit} instead of 10000")]);
    expect(&told, &["`ulimit -n 20512`", "LimitNOFILE=20512"]);
    node.kill().unwrap();
    node.wait().unwrap();
}

/// A file system in memory that knows no direct I/O; unmounted when dropped.
struct RamFs(tempfile::TempDir);

impl RamFs {
    fn mount() -> Result<RamFs, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let output = Command::new("mount").args(["-t", "ramfs", "none"]).arg(dir.path()).output();
        let output = output.map_err(|error| format!("mount: {error}"))?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(RamFs(dir)) } else { Err(told) }
    }
}

impl Drop for RamFs {
    fn drop(&mut self) {
        // The directory is removed after this, which says so if it does not work.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_file_system_without_direct_io() {
    let _alone = alone(LIMIT);
    let disk = match RamFs::mount() {
        Ok(disk) => disk,
        Err(why) => return skipped(&why),
    };
    let told = refused(&["env"], disk.0.path());
    let dir = disk.0.path().to_str().unwrap();
    expect(&told, &[dir, "does not support direct I/O", "ext4, xfs or btrfs"]);
}

#[test]
fn a_directory_that_cannot_be_written() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let told = refused(&["env"], &file.join("data"));
    expect(&told, &["making", file.to_str().unwrap(), "Not a directory"]);
}
