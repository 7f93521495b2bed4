#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io::Result;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use host::io_schedule::FOREGROUND_IN_FLIGHT_MAX;
use host::{ALIGNMENT, AlignedBuf, Clock, Disk, IoClass, Spawn};

use super::*;
use crate::disk::WriteFault;
use crate::host::SimHost;
use crate::world::NodeState;

const PAGE: u64 = ALIGNMENT as u64;
const MS: u64 = 1_000_000;
const TABLE: &str = "/data/1.table";
const BACKGROUND: [IoClass; 4] = [IoClass::Flush, IoClass::UpperMerge, IoClass::BottomMerge, IoClass::Scrub];

/// A cluster of which nothing runs but a task of a test, on the first core.
struct Scene(Cluster);

impl Scene {
    fn new(seed: u64) -> Scene {
        let cluster = Cluster::new(seed, &ClusterSpec::of_seed(seed), None, false);
        cluster.world.borrow_mut().nodes[0].state = NodeState::Up;
        Scene(cluster)
    }

    fn host(&self) -> SimHost {
        let epoch = self.0.world.borrow().cores[0].epoch;
        SimHost::new(self.0.world.clone(), 0, epoch)
    }

    /// Starts a task, which keeps its result.
    fn start<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let kept = Rc::clone(&result);
        self.host().spawn(host::TaskClass::Foreground, async move {
            let result = task.await;
            *kept.borrow_mut() = Some(result);
        });
        result
    }

    fn run_to(&self, at: u64) {
        self.0.run_until(at, |_| true);
    }

    /// Runs a task to its end.
    fn run<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> T {
        let result = self.start(task);
        let now = self.0.world.borrow().now();
        self.run_to(now + 10_000 * MS);
        result.take().expect("it ends within ten seconds")
    }

    fn count(&self, name: &str) -> u64 {
        self.0.world.borrow().counts.get(name).copied().unwrap_or_default()
    }
}

fn page(byte: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(ALIGNMENT);
    buf.fill(byte);
    buf
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Begins all in their order and waits for the last.
async fn all(mut futures: Vec<Boxed>) {
    poll_fn(move |cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Writes a block of the log every 100 microseconds until the flag is cleared.
async fn keep_log_busy(host: SimHost, is_busy: Rc<Cell<bool>>) {
    let log = host.create_zeroed(Path::new("/data/log"), PAGE).await.unwrap();
    while is_busy.get() {
        host.write_begin(&log, 0, page(1), 0);
        host.sleep_until(host.now() + Duration::from_micros(100)).await;
        while host.write_end().is_some() {}
    }
}

/// Writes four pages, each in a class, and returns in which order they ended. The log is busy or not.
fn order_of_writes(seed: u64, is_log_busy: bool) -> Vec<usize> {
    let scene = Scene::new(seed);
    let is_busy = Rc::new(Cell::new(is_log_busy));
    scene.start(keep_log_busy(scene.host(), Rc::clone(&is_busy)));
    scene.run_to(100 * MS);
    let host = scene.host();
    scene.run(async move {
        let file = host.create(Path::new(TABLE), 8 * PAGE).await.unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        let writes = BACKGROUND.into_iter().rev().chain(BACKGROUND).enumerate().map(|(idx, class)| {
            let (host, order) = (host.clone(), Rc::clone(&order));
            Box::pin(async move {
                host.write(&file, idx as u64 * PAGE, page(2), class).await.unwrap();
                order.borrow_mut().push(idx);
            }) as Boxed
        });
        all(writes.collect()).await;
        is_busy.set(false);
        order.take()
    })
}

#[test]
fn beside_a_busy_log_background_writes_go_one_by_one_and_by_class() {
    let mut orders = BTreeSet::new();
    for seed in 0..10 {
        // Places 0 to 3 in the order of asking are the last class to the first, 4 to 7 the first to the last.
        assert_eq!(order_of_writes(seed, true), [0, 3, 4, 2, 5, 1, 6, 7]);
        assert_eq!(order_of_writes(seed, false), order_of_writes(seed, false), "the same seed");
        orders.insert(order_of_writes(seed, false));
    }
    assert!(orders.len() > 1, "several are in flight while the log is idle: {orders:?}");
}

#[test]
fn reads_beyond_the_limit_wait_and_those_given_up_never_happen() {
    let scene = Scene::new(1);
    let host = scene.host();
    let task = async move {
        let file = host.create(Path::new(TABLE), PAGE).await.unwrap();
        let read = |host: SimHost| -> Boxed {
            Box::pin(async move {
                host.read(&file, 0, ALIGNMENT, IoClass::Foreground).await.unwrap();
            })
        };
        let mut reads: Vec<_> = (0..FOREGROUND_IN_FLIGHT_MAX + 20).map(|_| read(host.clone())).collect();
        poll_fn(|cx| {
            for read in &mut reads {
                assert!(read.as_mut().poll(cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        // Ten that have begun go on with nobody to tell, and the last ten are taken out of the queue.
        drop(reads.drain(..10));
        reads.truncate(FOREGROUND_IN_FLIGHT_MAX);
        all(reads).await;
        all(vec![read(host)]).await;
    };
    scene.run(task);
    assert_eq!(scene.count("a disk operation was given up before its turn"), 10);
}

/// Makes a table as a store does, and says how far it has come.
async fn make_table(host: SimHost, synced: Rc<Cell<bool>>, named: Rc<Cell<bool>>) -> Result<()> {
    let file = host.create(Path::new(TABLE), 256 * PAGE).await?;
    let mut buf = AlignedBuf::zeroed(80 * ALIGNMENT);
    buf.fill(7);
    host.write(&file, 0, buf, IoClass::Flush).await?;
    host.set_len(&file, 80 * PAGE).await?;
    host.sync(&file, IoClass::Flush).await?;
    synced.set(true);
    host.sync_dir(Path::new("/data")).await?;
    named.set(true);
    Ok(())
}

/// What the table holds: nothing if it is not there.
async fn table(host: SimHost) -> Option<Vec<u8>> {
    let file = host.open(Path::new(TABLE)).await.ok()?;
    let len = host.len(&file).await.unwrap() as usize;
    Some(host.read(&file, 0, len, IoClass::Scrub).await.unwrap().to_vec())
}

#[test]
fn a_table_is_whole_once_it_and_its_directory_were_synced_whenever_power_fails() {
    let (mut seen, whole) = (BTreeSet::new(), vec![7; 80 * ALIGNMENT]);
    for seed in 0..300 {
        let scene = Scene::new(seed);
        let host = scene.host();
        scene.run(async move { host.create_dir_all(Path::new("/data")).await }).unwrap();
        let (synced, named) = (Rc::<Cell<bool>>::default(), Rc::<Cell<bool>>::default());
        let begin = scene.0.world.borrow().now();
        let result = scene.start(make_table(scene.host(), Rc::clone(&synced), Rc::clone(&named)));
        let mut prng = crate::prng::Prng::stream(seed, "power");
        scene.run_to(begin + prng.below(8 * MS));
        assert!(result.take().is_none_or(|result| result.is_ok()));
        scene.0.kill(0, Death::Machine);
        scene.0.world.borrow_mut().nodes[0].state = NodeState::Up;
        let found = scene.run(table(scene.host()));
        assert!(!named.get() || found.as_ref() == Some(&whole), "seed {seed}");
        assert!(!synced.get() || found.as_ref().is_none_or(|found| *found == whole), "seed {seed}");
        let is_whole = found.map(|found| found == whole);
        seen.insert((synced.get(), named.get(), is_whole));
    }
    let (torn, lost, kept) = (Some(false), None, Some(true));
    for rare in
        [(false, false, torn), (false, false, lost), (true, false, lost), (true, false, kept), (true, true, kept)]
    {
        assert!(seen.contains(&rare), "{rare:?} never came about: {seen:?}");
    }
}

#[test]
fn a_failed_sync_is_an_error_and_a_full_disk_one_before_anything_is_made() {
    let scene = Scene::new(1);
    let (host, world) = (scene.host(), scene.0.world.clone());
    scene.run(async move {
        let file = host.create(Path::new(TABLE), PAGE).await.unwrap();
        host.write(&file, 0, page(1), IoClass::Flush).await.unwrap();
        world.borrow_mut().nodes[0].disk.write_faults.push_back(WriteFault::Fail);
        let error = host.sync(&file, IoClass::Flush).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
        {
            let disk = &mut world.borrow_mut().nodes[0].disk;
            disk.capacity = Some(disk.used());
        }
        let error = host.create(Path::new("/data/2.table"), PAGE).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        assert!(!world.borrow().nodes[0].disk.exists(Path::new("/data/2.table")));
    });
    assert_eq!((scene.count("a sync failed"), scene.count("a disk was full")), (1, 1));
}
