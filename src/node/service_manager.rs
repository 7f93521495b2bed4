//! What the service manager that has started the node hears of it, if it asked for that as systemd does (`sd_notify(3)`): that the cores
//! listen, that they do their work, that the node stops.
//!
//! Words go to the datagram socket of which `NOTIFY_SOCKET` tells the path, or behind `@` the abstract name. Nothing of
//! the node waits for it, and no failure there is one here: a word that cannot be sent is logged.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// The service manager, or nobody. Clones speak to the same one.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    listener: Option<Arc<Listener>>,
}

#[derive(Debug)]
struct Listener {
    socket: UnixDatagram,
    addr: SocketAddr,
    /// It wants to hear at least this often that all is well, and ends the process otherwise.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Whoever the environment names.
    pub fn of_environment() -> ServiceManager {
        let var = |name| std::env::var_os(name);
        let watchdog = watchdog(var("WATCHDOG_USEC"), var("WATCHDOG_PID"), std::process::id());
        let Some(name) = var("NOTIFY_SOCKET") else { return ServiceManager::default() };
        match ServiceManager::at(&name, watchdog) {
            Ok(manager) => manager,
            Err(error) => {
                tracing::warn!(socket = ?name, %error, "the service manager cannot be told anything");
                ServiceManager::default()
            }
        }
    }

    /// One that listens at this address.
    fn at(name: &OsStr, watchdog: Option<Duration>) -> io::Result<ServiceManager> {
        let addr = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(ServiceManager { listener: Some(Arc::new(Listener { socket, addr, watchdog })) })
    }

    /// What the node is at, in words for a person.
    pub fn status(&self, text: &str) {
        self.say(&format!("STATUS={text}"));
    }

    /// The node was asked to stop.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=handing leaderships over");
    }

    /// Starts a thread that says so when all cores listen, each of which is one word in `listening`, and from then on as often
    /// as was asked for that all is well, if it is.
    ///
    /// # Errors
    /// That there can be no thread.
    pub fn follow(
        self,
        listening: Receiver<()>,
        cores_count: usize,
        is_well: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<()> {
        let Some(listener) = self.listener.clone() else { return Ok(()) };
        let follow = move || {
            if listening.iter().take(cores_count).count() < cores_count {
                // A core has failed, and the node with it.
                return;
            }
            self.say("READY=1\nSTATUS=all cores listen");
            let Some(watchdog) = listener.watchdog else { return };
            loop {
                if is_well() {
                    self.say("WATCHDOG=1");
                } else {
                    tracing::error!("a core does not answer: the service manager is not told that all is well");
                }
                // Half of the time, as sd_watchdog_enabled(3) advises: one word may come late.
                std::thread::sleep(watchdog / 2);
            }
        };
        std::thread::Builder::new().name("service-manager".to_owned()).spawn(follow).map(drop)
    }

    fn say(&self, words: &str) {
        let Some(listener) = &self.listener else { return };
        if let Err(error) = listener.socket.send_to_addr(words.as_bytes(), &listener.addr) {
            tracing::warn!(%error, words, "the service manager cannot be told");
        }
    }
}

/// How often the process of this id has to say that all is well, if it has to.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>, own_pid: u32) -> Option<Duration> {
    let usec: u64 = usec?.to_str()?.parse().ok()?;
    let is_meant = pid.is_none_or(|pid| pid.to_str().and_then(|pid| pid.parse().ok()) == Some(own_pid));
    (usec > 0 && is_meant).then(|| Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::sync_channel;

    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(60);

    fn heard(socket: &UnixDatagram, time_max: Duration) -> Option<String> {
        socket.set_read_timeout(Some(time_max)).unwrap();
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..len].to_vec()).unwrap())
    }

    #[test]
    fn ready_is_said_when_the_last_core_listens_and_then_that_all_is_well_while_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::at(path.as_os_str(), Some(Duration::from_millis(20))).unwrap();
        let (listens, listening) = sync_channel(2);
        let is_well = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&is_well);
        manager.clone().follow(listening, 2, move || asked.load(Ordering::SeqCst)).unwrap();
        listens.send(()).unwrap();
        assert_eq!(heard(&socket, Duration::from_millis(50)), None, "one core is missing");
        listens.send(()).unwrap();
        assert_eq!(heard(&socket, WAIT_MAX).as_deref(), Some("READY=1\nSTATUS=all cores listen"));
        for _ in 0..3 {
            assert_eq!(heard(&socket, WAIT_MAX).as_deref(), Some("WATCHDOG=1"));
        }
        is_well.store(false, Ordering::SeqCst);
        // What was under way may still come.
        while heard(&socket, Duration::from_millis(200)).is_some() {}
        assert_eq!(heard(&socket, Duration::from_millis(100)), None);
        manager.stopping();
        assert!(heard(&socket, WAIT_MAX).is_some_and(|words| words.starts_with("STOPPING=1\n")));
    }

    #[test]
    fn a_core_that_ends_before_it_listens_leaves_nothing_to_say() {
        let name = format!("@coracle-test-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let socket = UnixDatagram::bind_addr(&addr).unwrap();
        let manager = ServiceManager::at(OsStr::new(&name), None).unwrap();
        let (listens, listening) = sync_channel(2);
        manager.clone().follow(listening, 2, || true).unwrap();
        listens.send(()).unwrap();
        drop(listens);
        assert_eq!(heard(&socket, Duration::from_millis(100)), None);
        manager.status("waiting");
        assert_eq!(heard(&socket, WAIT_MAX).as_deref(), Some("STATUS=waiting"));
    }

    #[test]
    fn without_a_service_manager_nothing_is_said_and_nothing_fails() {
        let nobody = ServiceManager::default();
        nobody.status("alone");
        let (_, listening) = sync_channel(1);
        nobody.follow(listening, 1, || true).unwrap();
        let gone = ServiceManager::at(OsStr::new("/nowhere/notify"), None).unwrap();
        gone.stopping();
        assert!(ServiceManager::at(OsStr::new(&"x".repeat(200)), None).is_err());
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let of = |usec: &str, pid: Option<&str>| watchdog(Some(usec.into()), pid.map(OsString::from), 7);
        assert_eq!(of("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", Some("7")), Some(Duration::from_secs(3)));
        for (usec, pid) in [("3000000", Some("8")), ("0", None), ("many", None), ("3000000", Some("x"))] {
            assert_eq!(of(usec, pid), None, "{usec} {pid:?}");
        }
        assert_eq!(watchdog(None, None, 7), None);
    }
}
