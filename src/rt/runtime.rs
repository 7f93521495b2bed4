//! The handle through which the engine does the I/O of a core: [`Runtime`] implements every I/O trait of `host`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use host::{
    AlignedBuf, Clock, ConnId, Disk, IoClass, ListenerId, Mesh, Net, NetEvent, ReadBuf, Rng, SendBuf, Spawn,
    TaskClass, WriteDone, WriteToken,
};
use types::{CoreId, Instant};

use crate::clock;
use crate::core::Core;
use crate::disk;
use crate::mesh::MeshEnd;
use crate::offload::{self, offload};
use crate::ops::File;
use crate::pool::RecvBuf;
use crate::reactor::Stats;
use crate::sys;
use crate::transfer;
use crate::wake::Notifier;

/// One core's clock, disk, network, tasks, random numbers and queues to the other cores. Cheap to clone;
/// belongs to the core's thread. `M` is what cores send each other.
pub struct Runtime<M> {
    core: Rc<Core>,
    mesh: Rc<MeshEnd<M>>,
}

impl<M> Clone for Runtime<M> {
    fn clone(&self) -> Runtime<M> {
        Runtime { core: Rc::clone(&self.core), mesh: Rc::clone(&self.mesh) }
    }
}

impl<M> Runtime<M> {
    pub(crate) fn new(core: Rc<Core>, mesh: Rc<MeshEnd<M>>) -> Runtime<M> {
        Runtime { core, mesh }
    }

    /// The core this handle belongs to.
    pub fn core_id(&self) -> CoreId {
        self.core.shared.core
    }

    /// How many cores the node has.
    pub fn cores_count(&self) -> usize {
        self.mesh.cores_count()
    }

    /// The address of a listener, with the port that was chosen if it was asked for port 0.
    pub fn local_addr(&self, listener: ListenerId) -> io::Result<SocketAddr> {
        let reactor = self.core.reactor.borrow();
        let listener = reactor.listeners.get(listener.0 as usize);
        sys::local_addr(listener.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?.fd)
    }

    /// What this core has counted so far.
    pub fn stats(&self) -> Stats {
        self.core.reactor.borrow().stats()
    }

    /// A handle that ends this core's waits from other threads.
    pub fn notifier(&self) -> Notifier {
        Notifier { shared: Arc::clone(&self.core.shared) }
    }
}

impl<M> Clock for Runtime<M> {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn unix_time_ms(&self) -> u64 {
        clock::unix_time_ms()
    }
}

impl<M> Rng for Runtime<M> {
    fn random_u64(&self) -> u64 {
        self.core.random_u64()
    }

    fn secret_u64(&self) -> io::Result<u64> {
        clock::seed()
    }
}

impl<M> Spawn for Runtime<M> {
    fn spawn(&self, class: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.core.spawn(class, task);
    }

    fn notify(&self) {
        self.core.notify();
    }

    fn park(&self, deadline: Instant) -> impl Future<Output = ()> {
        self.core.park(deadline)
    }

    fn yield_now(&self) -> impl Future<Output = ()> {
        self.core.yield_now()
    }

    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> {
        self.core.timers.sleep_until(deadline)
    }

    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> {
        offload::compute(work)
    }
}

impl<M: Send + 'static> Mesh for Runtime<M> {
    type Message = M;

    fn mesh_send(&self, to: CoreId, message: M) -> Result<(), M> {
        self.mesh.send(to, message)
    }

    fn mesh_receive(&self) -> Option<(CoreId, M)> {
        self.mesh.receive()
    }
}

impl<M> Net for Runtime<M> {
    type RecvBuf = RecvBuf;

    fn listen(
        &self,
        addr: SocketAddr,
        is_shared: bool,
        conns_count_max: usize,
        refusal: &'static [u8],
    ) -> io::Result<ListenerId> {
        self.core.reactor.borrow_mut().listen(addr, is_shared, conns_count_max, refusal)
    }

    fn limit_conns(&self, listener: ListenerId, conns_count_max: usize) {
        self.core.reactor.borrow_mut().limit_conns(listener.0, conns_count_max);
    }

    fn refused_count(&self, listener: ListenerId) -> u64 {
        self.core.reactor.borrow().refused_count(listener.0)
    }

    fn unlisten(&self, listener: ListenerId) {
        self.core.reactor.borrow_mut().unlisten(listener.0);
    }

    fn connect(&self, from: IpAddr, to: SocketAddr) -> ConnId {
        self.core.reactor.borrow_mut().connect(from, to)
    }

    fn next_event(&self) -> Option<NetEvent<RecvBuf>> {
        self.core.reactor.borrow_mut().next_event()
    }

    fn send(&self, conn: ConnId, buf: SendBuf) {
        self.core.reactor.borrow_mut().send(conn, buf);
    }

    fn wake_when_sent(&self, conn: ConnId) {
        self.core.reactor.borrow_mut().wake_when_sent(conn);
    }

    fn recv_pause(&self, conn: ConnId) {
        self.core.reactor.borrow_mut().recv_pause(conn);
    }

    fn recv_resume(&self, conn: ConnId) {
        self.core.reactor.borrow_mut().recv_resume(conn);
    }

    fn acked_bytes(&self, conn: ConnId) -> u64 {
        self.core.reactor.borrow_mut().acked_bytes(conn)
    }

    fn close(&self, conn: ConnId) {
        self.core.reactor.borrow_mut().close(conn);
    }
}

impl<M: 'static> Disk for Runtime<M> {
    type File = File;

    fn write_begin(&self, file: &File, offset: u64, buf: AlignedBuf, token: WriteToken) {
        self.core.reactor.borrow_mut().write_begin(file, offset, buf, token);
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.core.reactor.borrow_mut().writes_done.pop_front()
    }

    fn create_zeroed(&self, path: &Path, len: u64) -> impl Future<Output = io::Result<File>> {
        disk::create_zeroed(&self.core, path, len)
    }

    fn create(&self, path: &Path, reserved_len: u64) -> impl Future<Output = io::Result<File>> {
        disk::create(&self.core, path, reserved_len)
    }

    fn open(&self, path: &Path) -> impl Future<Output = io::Result<File>> {
        disk::open(&self.core, path)
    }

    async fn len(&self, file: &File) -> io::Result<u64> {
        disk::len(file)
    }

    fn set_len(&self, file: &File, len: u64) -> impl Future<Output = io::Result<()>> {
        disk::set_len(file, len)
    }

    fn read(
        &self,
        file: &File,
        offset: u64,
        len: usize,
        class: IoClass,
    ) -> impl Future<Output = io::Result<ReadBuf>> {
        transfer::read(&self.core, file, offset, len, class)
    }

    fn write(
        &self,
        file: &File,
        offset: u64,
        buf: AlignedBuf,
        class: IoClass,
    ) -> impl Future<Output = io::Result<AlignedBuf>> {
        transfer::write(&self.core, file, offset, buf, class)
    }

    fn sync(&self, file: &File, class: IoClass) -> impl Future<Output = io::Result<()>> {
        transfer::sync(&self.core, file, class)
    }

    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> {
        disk::sync_dir(&self.core, path)
    }

    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>> {
        disk::create_dir_all(&self.core, path)
    }

    fn list(&self, path: &Path) -> impl Future<Output = io::Result<Vec<String>>> {
        let path = PathBuf::from(path);
        offload(move || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&path)? {
                if let Ok(name) = entry?.file_name().into_string() {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        })
    }

    fn free_bytes(&self, path: &Path) -> impl Future<Output = io::Result<Option<u64>>> {
        disk::free_bytes(path)
    }

    fn capacity_bytes(&self, path: &Path) -> impl Future<Output = io::Result<Option<u64>>> {
        disk::capacity_bytes(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> {
        disk::rename(&self.core, from, to)
    }

    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>> {
        disk::remove(&self.core, path)
    }
}
