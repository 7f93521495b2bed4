//! A host for one whole core: the disk, the clock and the tasks of storage's tests, and a network and a mesh on which nobody
//! but the test is.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;

use host::{
    AlignedBuf, Clock, ConnId, Disk, IoClass, ListenerId, Mesh, Net, NetEvent, ReadBuf, Rng, SendBuf, Spawn,
    TaskClass, WriteDone, WriteToken,
};
use types::{CoreId, Instant};

use super::MeshMessage;
use crate::storage::fake::FakeHost;

#[derive(Default)]
struct Wires {
    events: VecDeque<NetEvent<Vec<u8>>>,
    listeners_count: u32,
    /// The port that somebody else listens on.
    taken_port: Option<u16>,
    /// How many connections each listener may have, where that was changed.
    limits: HashMap<ListenerId, usize>,
    connects_count: u32,
    /// What has left over each connection.
    sent: BTreeMap<ConnId, Vec<u8>>,
    mesh_in: VecDeque<(CoreId, MeshMessage)>,
    mesh_out: Vec<(CoreId, MeshMessage)>,
}

/// See above. What is sent leaves at once, and the core hears so in its next turn.
#[derive(Clone, Default)]
pub(super) struct TestHost {
    pub(super) disk: FakeHost,
    wires: Rc<RefCell<Wires>>,
}

impl TestHost {
    /// Lets something happen on the network.
    pub(super) fn push_event(&self, event: NetEvent<Vec<u8>>) {
        self.wires.borrow_mut().events.push_back(event);
    }

    /// Another core of the node sends a message.
    pub(super) fn push_mesh(&self, from: CoreId, message: MeshMessage) {
        self.wires.borrow_mut().mesh_in.push_back((from, message));
    }

    /// Lets somebody else listen on a port, or on none any more.
    pub(super) fn set_taken_port(&self, port: Option<u16>) {
        self.wires.borrow_mut().taken_port = port;
    }

    /// How many ports the core listens on.
    pub(super) fn listeners_count(&self) -> u32 {
        self.wires.borrow().listeners_count
    }

    /// How many connections a listener may have, if that was changed.
    pub(super) fn limit_of(&self, listener: ListenerId) -> Option<usize> {
        self.wires.borrow().limits.get(&listener).copied()
    }

    /// What has left over a connection since the last call; what is no text is shown as good as it can be.
    pub(super) fn take_sent(&self, conn: ConnId) -> String {
        let bytes = self.wires.borrow_mut().sent.remove(&conn).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What was sent to other cores of the node since the last call.
    pub(super) fn take_mesh(&self) -> Vec<(CoreId, MeshMessage)> {
        std::mem::take(&mut self.wires.borrow_mut().mesh_out)
    }
}

impl Net for TestHost {
    type RecvBuf = Vec<u8>;

    fn listen(&self, addr: SocketAddr, _: bool, _: usize, _: &'static [u8]) -> io::Result<ListenerId> {
        let mut wires = self.wires.borrow_mut();
        if wires.taken_port == Some(addr.port()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        wires.listeners_count += 1;
        Ok(ListenerId(wires.listeners_count - 1))
    }

    fn limit_conns(&self, listener: ListenerId, conns_count_max: usize) {
        self.wires.borrow_mut().limits.insert(listener, conns_count_max);
    }

    fn unlisten(&self, _: ListenerId) {}

    /// Nobody answers there.
    fn connect(&self, _: IpAddr, _: SocketAddr) -> ConnId {
        let mut wires = self.wires.borrow_mut();
        wires.connects_count += 1;
        ConnId { idx: 1_000 + wires.connects_count, generation: 0 }
    }

    fn next_event(&self) -> Option<NetEvent<Vec<u8>>> {
        self.wires.borrow_mut().events.pop_front()
    }

    fn send(&self, conn: ConnId, buf: SendBuf) {
        let mut wires = self.wires.borrow_mut();
        let SendBuf::Plain(bytes) = &buf else { panic!("replies are one run of bytes") };
        wires.sent.entry(conn).or_default().extend_from_slice(bytes);
        wires.events.push_back(NetEvent::Sent { conn, buf });
    }

    fn recv_pause(&self, _: ConnId) {}

    fn recv_resume(&self, _: ConnId) {}

    fn acked_bytes(&self, _: ConnId) -> u64 {
        0
    }

    fn close(&self, conn: ConnId) {
        self.push_event(NetEvent::Closed { conn, error: None });
    }
}

impl Mesh for TestHost {
    type Message = MeshMessage;

    fn mesh_send(&self, to: CoreId, message: MeshMessage) -> Result<(), MeshMessage> {
        self.wires.borrow_mut().mesh_out.push((to, message));
        Ok(())
    }

    fn mesh_receive(&self) -> Option<(CoreId, MeshMessage)> {
        self.wires.borrow_mut().mesh_in.pop_front()
    }
}

impl Clock for TestHost {
    fn now(&self) -> Instant {
        self.disk.now()
    }

    fn unix_time_ms(&self) -> u64 {
        self.disk.unix_time_ms()
    }
}

impl Rng for TestHost {
    fn random_u64(&self) -> u64 {
        self.disk.random_u64()
    }

    fn secret_u64(&self) -> io::Result<u64> {
        Ok(self.random_u64())
    }
}

impl Spawn for TestHost {
    fn spawn(&self, class: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.disk.spawn(class, task);
    }

    fn notify(&self) {}

    async fn park(&self, _: Instant) {}

    async fn yield_now(&self) {}

    async fn sleep_until(&self, deadline: Instant) {
        self.disk.sleep_until(deadline).await;
    }
}

impl Disk for TestHost {
    type File = usize;

    fn write_begin(&self, file: &usize, offset: u64, buf: AlignedBuf, token: WriteToken) {
        self.disk.write_begin(file, offset, buf, token);
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.disk.write_end()
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> io::Result<usize> {
        self.disk.create_zeroed(path, len).await
    }

    async fn create(&self, path: &Path, reserved_len: u64) -> io::Result<usize> {
        self.disk.create(path, reserved_len).await
    }

    async fn open(&self, path: &Path) -> io::Result<usize> {
        self.disk.open(path).await
    }

    async fn len(&self, file: &usize) -> io::Result<u64> {
        self.disk.len(file).await
    }

    async fn set_len(&self, file: &usize, len: u64) -> io::Result<()> {
        self.disk.set_len(file, len).await
    }

    async fn read(&self, file: &usize, offset: u64, len: usize, class: IoClass) -> io::Result<ReadBuf> {
        self.disk.read(file, offset, len, class).await
    }

    async fn write(&self, file: &usize, offset: u64, buf: AlignedBuf, class: IoClass) -> io::Result<AlignedBuf> {
        self.disk.write(file, offset, buf, class).await
    }

    async fn sync(&self, file: &usize, class: IoClass) -> io::Result<()> {
        self.disk.sync(file, class).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path).await
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir).await
    }

    async fn free_bytes(&self, path: &Path) -> io::Result<Option<u64>> {
        self.disk.free_bytes(path).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path).await
    }
}
