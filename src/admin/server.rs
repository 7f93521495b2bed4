//! Connections: few, short, and each with its own thread.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::request;
use crate::response::Response;
use crate::routes;
use crate::source::Source;

/// Most connections at a time.
pub const CLIENTS_COUNT_MAX: usize = 16;
/// Longest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 8 << 10;
/// How long a client may take to send its request.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(2);
/// How long a client may take to receive the response.
pub const RESPONSE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the thread that accepts may be held up by a connection that is one too many.
const REFUSAL_TIME_MAX: Duration = Duration::from_millis(10);
/// Bytes that are read and dropped behind a request, so that closing does not take the response away from a client that sends more.
const DROPPED_BYTES_MAX: usize = 64 << 10;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a look at whether a client is still there may take.
const LOOK_TIME_MAX: Duration = Duration::from_millis(1);
/// Stack of a thread that answers, in bytes.
const STACK_BYTES: usize = 512 << 10;

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error(
        "metrics and health cannot be served on {addr}: {source}; set `admin_port` or `admin_host` to others, or `admin_port` to 0"
    )]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The thread that accepts cannot be started.
    #[error("starting the thread that serves metrics and health: {0}")]
    Thread(io::Error),
}

/// Listens on an address.
///
/// # Errors
/// [`Error::Bind`].
pub fn bind(addr: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(addr).map_err(|source| Error::Bind { addr, source })
}

/// Serves from now on, on threads of its own, until the process ends.
///
/// # Errors
/// [`Error::Thread`].
pub fn serve(listener: TcpListener, source: Arc<dyn Source>) -> Result<(), Error> {
    let spawned = thread::Builder::new().name("admin".to_owned()).spawn(move || accept(&listener, &source));
    spawned.map(drop).map_err(Error::Thread)
}

fn accept(listener: &TcpListener, source: &Arc<dyn Source>) {
    // One reference for each connection, and this one.
    let clients = Arc::new(());
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics or health cannot be accepted");
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        if Arc::strong_count(&clients) > CLIENTS_COUNT_MAX {
            refuse(stream);
            continue;
        }
        let (source, client) = (Arc::clone(source), Arc::clone(&clients));
        let serve = move || {
            // Whatever goes wrong goes wrong for this client alone, who sees its connection closed.
            let _ = converse(stream, &*source);
            drop(client);
        };
        let spawned = thread::Builder::new().name("admin-client".to_owned()).stack_size(STACK_BYTES).spawn(serve);
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for a request for metrics or health");
            thread::sleep(ACCEPT_PAUSE);
        }
    }
}

/// Closes a connection that is one too many, and says so to a client that has sent its request by now.
fn refuse(mut stream: TcpStream) {
    let response = Response::text(503, format!("{CLIENTS_COUNT_MAX} clients are being served already"));
    let mut tell = || {
        stream.set_read_timeout(Some(REFUSAL_TIME_MAX))?;
        stream.set_write_timeout(Some(REFUSAL_TIME_MAX))?;
        // A request that nobody has read would take the response away with it.
        let _ = stream.read(&mut [0; 2_048])?;
        stream.write_all(&response.bytes(false))
    };
    // It is closed anyway.
    let _: io::Result<()> = tell();
}

/// One request and its response.
fn converse(stream: TcpStream, source: &dyn Source) -> io::Result<()> {
    let mut timed = Timed { stream, deadline: Instant::now() + REQUEST_TIME_MAX };
    let (response, is_head) = match request::read(&mut timed, REQUEST_BYTES_MAX) {
        Ok(request) => (routes::answer(source, &request, &|| is_there(&timed.stream)), request.is_head),
        Err(error) => match Response::of_error(&error) {
            Some(response) => (response, false),
            None => return Ok(()),
        },
    };
    timed.deadline = Instant::now() + RESPONSE_TIME_MAX;
    timed.write_all(&response.bytes(is_head))?;
    timed.stream.shutdown(Shutdown::Write)?;
    timed.deadline = Instant::now() + REQUEST_TIME_MAX;
    io::copy(&mut timed.take(DROPPED_BYTES_MAX as u64), &mut io::sink()).map(drop)
}

/// Whether the client still waits. One that has ended its side of the connection does not, as for most servers.
fn is_there(stream: &TcpStream) -> bool {
    if stream.set_read_timeout(Some(LOOK_TIME_MAX)).is_err() {
        return false;
    }
    match stream.peek(&mut [0]) {
        Ok(len) => len > 0,
        Err(error) => {
            use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
            [Interrupted, TimedOut, WouldBlock].contains(&error.kind())
        }
    }
}

/// A connection with a deadline for all that is under way, not for each call.
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buf)
    }
}

impl Write for Timed {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
