//! Files of a core on the real file system.

mod common;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use common::{one_core, small, watchdog};
use host::{ALIGNMENT, AlignedBuf, Clock, Disk, IoClass, Spawn};
use rt::{DirLock, Runtime};
use tempfile::TempDir;

const BLOCK: u64 = ALIGNMENT as u64;

/// A directory on a disk: /tmp may be memory, which does direct I/O on new kernels only.
fn dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn block_of(byte: u8, blocks_count: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(blocks_count * ALIGNMENT);
    buf.fill(byte);
    buf
}

async fn written(runtime: &Runtime<u64>) -> host::WriteDone {
    loop {
        if let Some(done) = runtime.write_end() {
            return done;
        }
        runtime.park(runtime.now() + std::time::Duration::from_secs(5)).await;
    }
}

#[test]
fn a_new_file_is_all_zeros_and_complete() {
    let dir = dir();
    let path = dir.path().join("000000000001.seg");
    one_core("a_new_file", small(), |runtime| async move {
        // Longer than one write of zeros, and not a multiple of it.
        let len = (2 << 20) + 3 * BLOCK;
        let file = runtime.create_zeroed(&path, len).await.expect("a file");
        assert_eq!(runtime.len(&file).await.expect("its length"), len);
        let bytes = runtime.read(&file, 0, len as usize, IoClass::Foreground).await.expect("its bytes");
        assert!(bytes.iter().all(|byte| *byte == 0));
        let parent = path.parent().expect("it has one");
        assert_eq!(runtime.list(parent).await.expect("names"), ["000000000001.seg"], "no temporary file is left");
        let error = runtime.create_zeroed(&path, BLOCK).await.expect_err("it exists");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(runtime.len(&file).await.expect("its length"), len, "it is left alone");
        let empty = runtime.create_zeroed(&parent.join("empty"), 0).await.expect("a file");
        assert_eq!(runtime.len(&empty).await.expect("its length"), 0);
    });
}

#[test]
fn a_file_too_large_for_the_disk_leaves_nothing_behind() {
    let dir = dir();
    let parent = dir.path().to_owned();
    one_core("a_file_too_large", small(), |runtime| async move {
        let error = runtime.create_zeroed(&parent.join("huge"), 1 << 50).await.expect_err("no file holds 1 PiB");
        assert!(matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::FileTooLarge), "{error}");
        assert!(runtime.list(&parent).await.expect("names").is_empty());
    });
}

#[test]
fn writes_of_the_turn_loop_end_with_their_tokens() {
    let dir = dir();
    let path = dir.path().join("log");
    one_core("writes_of_the_turn_loop", small(), |runtime| async move {
        let file = runtime.create_zeroed(&path, 64 * BLOCK).await.expect("a file");
        // More at once than the submission queue holds.
        for token in 0..64 {
            runtime.write_begin(&file, token * BLOCK, block_of(token as u8 + 1, 1), token);
        }
        // Dropping the handle is harmless: the writes hold the file.
        drop(file);
        let mut tokens = Vec::new();
        for _ in 0..64 {
            let done = written(&runtime).await;
            done.result.expect("written");
            assert_eq!(done.buf[0], done.token as u8 + 1, "the buffer comes back");
            tokens.push(done.token);
        }
        assert!(runtime.write_end().is_none());
        tokens.sort_unstable();
        assert_eq!(tokens, (0..64).collect::<Vec<u64>>());
        let bytes = std::fs::read(&path).expect("its bytes");
        assert!(bytes.chunks(ALIGNMENT).enumerate().all(|(i, block)| block.iter().all(|byte| *byte == i as u8 + 1)));
        let file = runtime.open(&path).await.expect("a file");
        runtime.write_begin(&file, 0, AlignedBuf::default(), 99);
        assert_eq!(written(&runtime).await.token, 99, "an empty write ends too");
    });
}

#[test]
fn a_failed_write_carries_the_systems_error() {
    let dir = dir();
    let path = dir.path().join("log");
    one_core("a_failed_write", small(), |runtime| async move {
        let file = runtime.create_zeroed(&path, BLOCK).await.expect("a file");
        // Beyond what any file system can address.
        let offset = i64::MAX as u64 / BLOCK * BLOCK;
        runtime.write_begin(&file, offset, block_of(1, 2), 7);
        let done = written(&runtime).await;
        assert_eq!((done.token, done.buf.len()), (7, 2 * ALIGNMENT));
        let code = done.result.expect_err("it cannot be").raw_os_error().expect("a code");
        assert!([libc::EFBIG, libc::EINVAL, libc::EOVERFLOW].contains(&code), "{code}");
    });
}

#[test]
fn reading_and_writing_for_tasks() {
    let dir = dir();
    let path = dir.path().join("table");
    one_core("reading_and_writing", small(), |runtime| async move {
        let file = runtime.create_zeroed(&path, 8 * BLOCK).await.expect("a file");
        runtime.write(&file, 2 * BLOCK, block_of(5, 3), IoClass::Log).await.expect("written");
        let bytes = runtime.read(&file, BLOCK, 4 * ALIGNMENT, IoClass::Foreground).await.expect("bytes");
        assert!(bytes[..ALIGNMENT].iter().all(|byte| *byte == 0) && bytes[ALIGNMENT..].iter().all(|byte| *byte == 5));
        assert!(runtime.read(&file, 0, 0, IoClass::Foreground).await.expect("nothing").is_empty());
        for (offset, len) in [(7 * BLOCK, 2 * ALIGNMENT), (8 * BLOCK, ALIGNMENT)] {
            let error =
                runtime.read(&file, offset, len, IoClass::Foreground).await.expect_err("the file ends before");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        }
        // A file grows with writes behind its end.
        runtime.write(&file, 8 * BLOCK, block_of(9, 1), IoClass::Log).await.expect("written");
        assert_eq!(runtime.len(&file).await.expect("its length"), 9 * BLOCK);
    });
}

#[test]
fn directories_names_and_their_errors() {
    let dir = dir();
    let root = dir.path().to_owned();
    one_core("directories", small(), |runtime| async move {
        let deep = root.join("a/b/c");
        runtime.create_dir_all(&deep).await.expect("made");
        runtime.create_dir_all(&deep).await.expect("there");
        let [one, two] = ["one", "two"].map(|name| deep.join(name));
        for path in [&one, &two] {
            runtime.create_zeroed(path, BLOCK).await.expect("a file");
        }
        assert_eq!(runtime.list(&deep).await.expect("names"), ["one", "two"]);
        runtime.rename(&one, &two).await.expect("replaced");
        assert_eq!(runtime.list(&deep).await.expect("names"), ["two"]);
        runtime.remove(&two).await.expect("removed");
        assert!(runtime.list(&deep).await.expect("names").is_empty());
        let not_found = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::NotFound);
        not_found(runtime.remove(&two).await.expect_err("gone"));
        not_found(runtime.rename(&one, &two).await.expect_err("gone"));
        not_found(runtime.open(&one).await.map(drop).expect_err("gone"));
        not_found(runtime.list(&one).await.expect_err("gone"));
        let error = runtime.open(Path::new("a\0b")).await.map(drop).expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = runtime.create_dir_all(&PathBuf::from("/proc/none/such")).await.expect_err("no place");
        assert_ne!(error.kind(), ErrorKind::AlreadyExists);
    });
}

#[test]
fn an_abandoned_operation_keeps_its_memory_until_it_ends() {
    let dir = dir();
    let path = dir.path().join("log");
    one_core("an_abandoned_operation", small(), |runtime| async move {
        let file = runtime.create_zeroed(&path, 256 * BLOCK).await.expect("a file");
        for _ in 0..100 {
            let read = runtime.read(&file, 0, 256 * ALIGNMENT, IoClass::Log);
            let open = runtime.open(&path);
            // Polled once and dropped: both are in the ring, then nobody waits for them.
            assert!(futures_lite::future::poll_once(read).await.is_none());
            assert!(futures_lite::future::poll_once(open).await.is_none());
        }
        drop(file);
        runtime.park(runtime.now() + std::time::Duration::from_millis(50)).await;
    });
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let _watchdog = watchdog("a_data_directory");
    let dir = dir();
    let lock = DirLock::acquire(dir.path()).expect("free");
    let error = DirLock::acquire(dir.path()).expect_err("taken").to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    drop(lock);
    DirLock::acquire(dir.path()).expect("free again");
    let error = DirLock::acquire(Path::new("/nowhere/at/all")).expect_err("no directory").to_string();
    assert!(error.contains("/nowhere/at/all/LOCK"), "{error}");
}

#[test]
fn the_host_is_checked_with_a_remedy() {
    let dir = dir();
    rt::check_direct_io(dir.path()).expect("the tests' disk");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
    // procfs takes no files at all.
    rt::check_direct_io(Path::new("/proc")).expect_err("no disk");
    rt::check_host(2, 100).expect("limits that suffice");
    let error = rt::check_host(1, 1 << 40).expect_err("too many").to_string();
    assert!(error.contains("ulimit -n"), "{error}");
}
