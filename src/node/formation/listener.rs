//! Answering other nodes while this one has no cores yet.
//!
//! Whatever comes in is read with a bound on bytes and time, by one thread per connection, of which there are few. What is
//! no question is dropped. A greeting comes from a core, and so from a node whose cluster is formed: it hears why there is
//! nothing to greet.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use types::NodeId;
use wire::{Answer, AnswerCode, FormationError, Hello, HelloError, QUESTION_BYTES, Question, Verdict};

use super::error::Error;
use super::shared::Shared;
use crate::identity::Stage;
use crate::port_wait::PortWait;

/// How long one read or write of a connection may take. A question is so short that it comes with one read.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that are answered at the same time; more are closed.
const CONNS_COUNT_MAX: usize = 64;
/// Pause behind a connection that could not be accepted, such as for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A thread that listens on the peer port of core 0.
pub struct Listener {
    socket: Arc<TcpListener>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Listener {
    /// Listens from now on.
    pub(crate) fn start(addr: SocketAddr, me: NodeId, shared: &Shared) -> Result<Listener, Error> {
        let socket = bind(addr).map_err(|source| Error::Listen { addr, source })?;
        let (socket, ends) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let serve = {
            let (socket, ends, shared) = (Arc::clone(&socket), Arc::clone(&ends), shared.clone());
            move || accept_all(&socket, &ends, me, &shared)
        };
        let thread = std::thread::Builder::new().name("formation".to_owned()).spawn(serve);
        let thread = thread.map_err(|source| Error::Os { what: "starting a thread", source })?;
        Ok(Listener { socket, ends, thread })
    }

    /// Stops listening: the port is free when this returns. Questions that have come are answered still.
    pub(crate) fn end(self) -> Result<(), Error> {
        self.ends.store(true, Ordering::SeqCst);
        // Ends the call that waits for the next connection.
        let ended = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
        ended.map_err(|source| Error::Os { what: "ending a listener", source: source.into() })?;
        // A thread that has panicked listens no more either.
        let _ = self.thread.join();
        Ok(())
    }
}

/// Listens, once the port is free.
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let wait = PortWait::begin();
    loop {
        let error = match TcpListener::bind(addr) {
            Ok(listener) => return Ok(listener),
            Err(error) => error,
        };
        std::thread::sleep(wait.pause(&error).ok_or(error)?);
    }
}

fn accept_all(socket: &TcpListener, ends: &AtomicBool, me: NodeId, shared: &Shared) {
    let open_count = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = socket.accept();
        if ends.load(Ordering::SeqCst) {
            return;
        }
        let Ok((stream, addr)) = accepted else {
            std::thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        if open_count.fetch_add(1, Ordering::SeqCst) >= CONNS_COUNT_MAX {
            open_count.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (shared, open) = (shared.clone(), Arc::clone(&open_count));
        let serve = move || {
            if let Err(error) = serve(&stream, me, &shared) {
                tracing::debug!(%addr, %error, "a connection to the peer port is dropped");
            }
            open.fetch_sub(1, Ordering::SeqCst);
        };
        if std::thread::Builder::new().name("formation-conn".to_owned()).spawn(serve).is_err() {
            open_count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Why a connection is dropped.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Nonsense(#[from] FormationError),
}

fn serve(mut stream: &TcpStream, me: NodeId, shared: &Shared) -> Result<(), ServeError> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.set_write_timeout(Some(READ_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; QUESTION_BYTES];
    stream.read_exact(&mut bytes)?;
    let code = match Question::decode(&bytes) {
        Ok(question) => shared.answer(&question),
        Err(FormationError::Version(_)) => Some(AnswerCode::OtherVersion),
        Err(error) => {
            let is_greeting = matches!(Hello::decode(&bytes), Ok(_) | Err(HelloError::Version(_)));
            // A node that has agreed is about to serve; then the greeting is let in.
            if is_greeting && shared.lock().machine.stage() == Stage::Empty {
                stream.write_all(&Verdict::Empty.encode())?;
                stream.shutdown(Shutdown::Write)?;
                return Ok(());
            }
            return Err(error.into());
        }
    };
    if let Some(code) = code {
        stream.write_all(&Answer { from: me, code }.encode())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_for_a_moment_is_waited_for() {
        let former = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = former.local_addr().unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(former);
        });
        assert!(bind(addr).is_ok());
        ends.join().unwrap();
        let _stays = TcpListener::bind(addr).unwrap();
        assert_eq!(bind(addr).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
