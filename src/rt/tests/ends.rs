//! What is left behind when cores end. Alone in its process, since it counts the process's open files.

mod common;

use std::net::TcpStream;
use std::time::Duration;

use common::{accepted, listen, one_core, pattern, small};
use host::{AlignedBuf, Clock, Disk, Net, SendBuf, Spawn, TaskClass};

fn open_files_count() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a directory").count()
}

/// Ends a core with connections, sends, receives, file operations and tasks under way.
fn end_in_the_middle() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    one_core("end_in_the_middle", small(), |runtime| async move {
        let file = runtime.create_zeroed(&path, 1 << 20).await.expect("a file");
        let (_, addr) = listen(&runtime);
        let clients: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(addr).expect("a connection")).collect();
        for _ in 0..20 {
            let conn = accepted(&runtime).await;
            runtime.send(conn, SendBuf::Plain(pattern(8 << 20)));
        }
        let conn = runtime.connect(common::LOCALHOST, addr);
        runtime.close(conn);
        runtime.park(runtime.now() + Duration::from_millis(5)).await;
        runtime.write_begin(&file, 0, AlignedBuf::zeroed(1 << 20), 1);
        let (other, path) = (runtime.clone(), path.clone());
        runtime.spawn(TaskClass::Background, async move {
            let _ = other.open(&path).await;
            panic!("the core ends before this task is run again");
        });
        drop(clients);
    });
}

const CORES_COUNT: usize = 10;

#[test]
fn nothing_is_left_open_when_cores_end() {
    end_in_the_middle();
    let before = open_files_count();
    for _ in 0..CORES_COUNT {
        end_in_the_middle();
    }
    // The kernel closes rings in the background.
    for _ in 0..100 {
        // glommio keeps the event counter of each executor for the life of the process.
        if open_files_count() <= before + CORES_COUNT {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{before} files were open before and {} afterwards", open_files_count());
}
