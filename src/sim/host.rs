//! The I/O traits for one core: everything the engine knows of the world.

use std::future::Future;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::MeshMessage;
use host::{
    AlignedBuf, Clock, ConnId, Disk, IoClass, ListenerId, Mesh, Net, NetEvent, ReadBuf, Rng, SendBuf, Spawn,
    TaskClass, WriteDone, WriteToken,
};
use types::{CoreId, Instant};

use crate::disk::File;
use crate::queue::Event;
use crate::world::{Answer, Request, Shared};

/// Work off a core takes up to this long, in nanoseconds: so much changes meanwhile.
const COMPUTE_NS_MAX: u64 = 700_000_000;

/// The handle of one core of one process.
#[derive(Clone)]
pub struct SimHost {
    world: Shared,
    core: usize,
    // The process: a handle that outlives it has no effect any more.
    epoch: u32,
}

impl SimHost {
    pub(crate) fn new(world: Shared, core: usize, epoch: u32) -> SimHost {
        SimHost { world, core, epoch }
    }

    fn is_current(&self) -> bool {
        self.world.borrow().is_current(self.core, self.epoch)
    }

    fn ask(&self, request: Request) -> Operation {
        Operation { host: self.clone(), request: Some(request), op: None }
    }

    async fn ask_unit(&self, request: Request) -> Result<()> {
        self.ask(request).await.map(drop)
    }

    async fn ask_bytes(&self, request: Request) -> Result<AlignedBuf> {
        match self.ask(request).await? {
            Answer::Bytes(buf) => Ok(buf),
            _ => unreachable!("a read or write is answered with bytes"),
        }
    }

    async fn ask_file(&self, request: Request) -> Result<File> {
        match self.ask(request).await? {
            Answer::File(file) => Ok(file),
            _ => unreachable!("a request for a file is answered with a file"),
        }
    }
}

impl Clock for SimHost {
    fn now(&self) -> Instant {
        self.world.borrow_mut().read_clock(self.core)
    }

    fn unix_time_ms(&self) -> u64 {
        let world = self.world.borrow();
        world.nodes[world.cores[self.core].node].clock.unix_time_ms(world.now())
    }
}

impl Rng for SimHost {
    fn random_u64(&self) -> u64 {
        self.world.borrow_mut().cores[self.core].prng.next_u64()
    }

    fn secret_u64(&self) -> Result<u64> {
        Ok(self.random_u64())
    }
}

impl Mesh for SimHost {
    type Message = MeshMessage;

    fn mesh_send(&self, to: CoreId, message: MeshMessage) -> std::result::Result<(), MeshMessage> {
        self.world.borrow_mut().mesh_send(self.core, to, message)
    }

    fn mesh_receive(&self) -> Option<(CoreId, MeshMessage)> {
        let world = &mut *self.world.borrow_mut();
        if world.may_see_mesh(self.core) { world.cores[self.core].mesh.pop() } else { None }
    }
}

impl Net for SimHost {
    type RecvBuf = Bytes;

    fn listen(&self, addr: SocketAddr, is_shared: bool, _: usize, _: &'static [u8]) -> Result<ListenerId> {
        self.world.borrow_mut().listen(self.core, addr, is_shared)
    }

    fn unlisten(&self, listener: ListenerId) {
        self.world.borrow_mut().unlisten(self.core, listener);
    }

    fn connect(&self, _: IpAddr, to: SocketAddr) -> ConnId {
        self.world.borrow_mut().connect(self.core, to)
    }

    fn next_event(&self) -> Option<NetEvent<Bytes>> {
        self.world.borrow_mut().next_event(self.core)
    }

    fn send(&self, conn: ConnId, buf: SendBuf) {
        self.world.borrow_mut().send(self.core, conn, buf);
    }

    fn wake_when_sent(&self, conn: ConnId) {
        self.world.borrow_mut().wake_when_sent(self.core, conn);
    }

    fn recv_pause(&self, conn: ConnId) {
        self.world.borrow_mut().recv_pause(self.core, conn, true);
    }

    fn recv_resume(&self, conn: ConnId) {
        self.world.borrow_mut().recv_pause(self.core, conn, false);
    }

    fn acked_bytes(&self, conn: ConnId) -> u64 {
        self.world.borrow_mut().acked_bytes(self.core, conn)
    }

    fn close(&self, conn: ConnId) {
        self.world.borrow_mut().close(self.core, conn);
    }
}

impl Spawn for SimHost {
    fn spawn(&self, _: TaskClass, task: impl Future<Output = ()> + 'static) {
        if self.is_current() {
            self.world.borrow_mut().spawn(self.core, Box::pin(task));
        }
    }

    fn notify(&self) {
        let world = &mut *self.world.borrow_mut();
        world.cores[self.core].is_notified = true;
        world.wake_core(self.core);
    }

    fn park(&self, deadline: Instant) -> impl Future<Output = ()> {
        Rest { host: self, deadline: Some(deadline), has_begun: false }
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        Rest { host: self, deadline: None, has_begun: false }
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> {
        Sleep { host: self.clone(), deadline }
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let result = work();
        let took = Duration::from_nanos(self.random_u64() % COMPUTE_NS_MAX);
        self.sleep_until(self.now() + took).await;
        Ok(result)
    }
}

/// The turn loop between two turns.
struct Rest<'a> {
    host: &'a SimHost,
    // `None`: it only lets others run.
    deadline: Option<Instant>,
    has_begun: bool,
}

impl Future for Rest<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let world = &mut *self.host.world.borrow_mut();
        if self.has_begun {
            world.unpark(self.host.core);
            return Poll::Ready(());
        }
        let deadline = self.deadline;
        self.has_begun = true;
        world.park(self.host.core, deadline.unwrap_or(Instant::ZERO), deadline.is_some());
        Poll::Pending
    }
}

struct Sleep {
    host: SimHost,
    deadline: Instant,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let world = &mut *self.host.world.borrow_mut();
        if world.local_time(self.host.core) >= self.deadline {
            return Poll::Ready(());
        }
        let now = world.now();
        let at = world.nodes[world.cores[self.host.core].node].clock.true_time(self.deadline, now);
        let task = world.tasks.current;
        let generation = world.tasks.generation(task);
        world.queue.push(at.max(now + 1), Event::Wake { task, generation });
        Poll::Pending
    }
}

/// A disk operation and its answer.
struct Operation {
    host: SimHost,
    request: Option<Request>,
    op: Option<(u32, u32)>,
}

impl Future for Operation {
    type Output = Result<Answer>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Answer>> {
        let core = self.host.core;
        let request = self.request.take();
        let shared = self.host.world.clone();
        let world = &mut *shared.borrow_mut();
        if let Some(request) = request {
            let waiter = world.tasks.current;
            self.op = Some(world.disk_begin(core, request, Some(waiter)));
            return Poll::Pending;
        }
        let op = self.op.expect("begun at the first look");
        match world.disk_answer(op) {
            None => Poll::Pending,
            Some(answer) => {
                self.op = None;
                Poll::Ready(answer)
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(op) = self.op {
            self.host.world.borrow_mut().disk_abandon(self.host.core, op);
        }
    }
}

impl Disk for SimHost {
    type File = File;

    fn write_begin(&self, file: &File, offset: u64, buf: AlignedBuf, token: WriteToken) {
        assert_aligned(offset, buf.len());
        let request = Request::LogWrite { file: *file, offset, buf, token };
        self.world.borrow_mut().disk_begin(self.core, request, None);
    }

    fn write_end(&self) -> Option<WriteDone> {
        let world = &mut *self.world.borrow_mut();
        if world.may_see_write(self.core) { world.cores[self.core].writes_done.pop_front() } else { None }
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<File> {
        assert_aligned(len, 0);
        match self.ask(Request::Exists(path.to_owned())).await? {
            Answer::Is(false) => {}
            _ => return Err(ErrorKind::AlreadyExists.into()),
        }
        let name = temporary(path);
        let result = match self.ask_file(Request::Create { path: name.clone(), len }).await {
            Ok(_) => self.rename(&name, path).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // The first error counts.
            let _ = self.ask_unit(Request::Remove(name)).await;
            return Err(error);
        }
        self.open(path).await
    }

    async fn create(&self, path: &Path, reserved_len: u64) -> Result<File> {
        assert_aligned(reserved_len, 0);
        self.ask_file(Request::CreateUnsynced { path: path.to_owned(), len: reserved_len }).await
    }

    async fn open(&self, path: &Path) -> Result<File> {
        self.ask_file(Request::Open(path.to_owned())).await
    }

    async fn len(&self, file: &File) -> Result<u64> {
        let world = self.world.borrow();
        world.nodes[world.cores[self.core].node].disk.len(*file)
    }

    async fn set_len(&self, file: &File, len: u64) -> Result<()> {
        assert_aligned(len, 0);
        self.ask_unit(Request::SetLen { file: *file, len }).await
    }

    async fn read(&self, file: &File, offset: u64, len: usize, class: IoClass) -> Result<ReadBuf> {
        assert_aligned(offset, len);
        let read = |offset, len| self.ask_bytes(Request::Read { file: *file, offset, len, class });
        let piece_len = class.piece_bytes_max();
        if len <= piece_len {
            return read(offset, len).await.map(ReadBuf::from);
        }
        let mut buf = AlignedBuf::with_capacity(len);
        while buf.len() < len {
            let piece = read(offset + buf.len() as u64, piece_len.min(len - buf.len())).await?;
            buf.extend_from_slice(&piece);
        }
        Ok(buf.into())
    }

    async fn write(&self, file: &File, offset: u64, buf: AlignedBuf, class: IoClass) -> Result<AlignedBuf> {
        assert_aligned(offset, buf.len());
        let write = |offset, buf| self.ask_bytes(Request::Write { file: *file, offset, buf, class });
        let piece_len = class.piece_bytes_max();
        if buf.len() <= piece_len {
            return write(offset, buf).await;
        }
        for (idx, bytes) in buf.chunks(piece_len).enumerate() {
            let mut piece = AlignedBuf::with_capacity(bytes.len());
            piece.extend_from_slice(bytes);
            write(offset + (idx * piece_len) as u64, piece).await?;
        }
        Ok(buf)
    }

    async fn sync(&self, file: &File, class: IoClass) -> Result<()> {
        // The mark is made when its turn has come.
        self.ask_unit(Request::Sync { file: *file, mark: 0, class }).await
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        self.ask_unit(Request::SyncDir(path.to_owned())).await
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        self.ask_unit(Request::MakeDir(path.to_owned())).await
    }

    async fn list(&self, path: &Path) -> Result<Vec<String>> {
        match self.ask(Request::List(path.to_owned())).await? {
            Answer::Names(names) => Ok(names),
            _ => unreachable!("a listing is answered with names"),
        }
    }

    async fn free_bytes(&self, _: &Path) -> Result<Option<u64>> {
        let world = self.world.borrow();
        let disk = &world.nodes[world.cores[self.core].node].disk;
        Ok(Some(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used()))))
    }

    async fn capacity_bytes(&self, _: &Path) -> Result<Option<u64>> {
        let world = self.world.borrow();
        let disk = &world.nodes[world.cores[self.core].node].disk;
        Ok(Some(disk.capacity.unwrap_or(u64::MAX)))
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.ask_unit(Request::Rename { from: from.to_owned(), to: to.to_owned() }).await?;
        self.sync_dir(dir_of(to)).await
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        self.ask_unit(Request::Remove(PathBuf::from(path))).await?;
        self.sync_dir(dir_of(path)).await
    }
}

/// The directory that holds a name.
fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn assert_aligned(offset: u64, len: usize) {
    let alignment = host::ALIGNMENT as u64;
    let is_aligned = offset.is_multiple_of(alignment) && (len as u64).is_multiple_of(alignment);
    assert!(is_aligned, "offset {offset} and length {len} are multiples of {alignment}");
}

/// `path` with `.tmp` appended, where a new file is made.
fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
