//! A collector of OTLP over HTTP: it takes what is posted, and answers as a test wants.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long a request that gets no answer is kept waiting.
const NO_ANSWER: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Its path.
    pub path: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// How a request is answered: with a status line and a body, or not at all.
pub type Answer = fn(&Posted) -> Option<(&'static str, Vec<u8>)>;

/// Listens on a free port of this machine. Returns the address to be configured, too.
///
/// # Panics
/// If there is none.
pub fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}/", listener.local_addr().expect("it listens"));
    (listener, endpoint)
}

/// Takes requests on threads of its own from now on, and hands on those that were answered, or never will be.
pub fn collect(listener: TcpListener, answer: Answer) -> Receiver<Posted> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            // A connection that ends, ends: the test sees what did not come.
            thread::spawn(move || drop(serve(stream, answer, &sender)));
        }
    });
    receiver
}

fn serve(mut stream: TcpStream, answer: Answer, sender: &Sender<Posted>) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            let mut piece = [0; 4_096];
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                len => bytes.extend_from_slice(&piece[..len]),
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut body = bytes.split_off(end + 4);
        let (path, len) = read_head(&head).ok_or(io::ErrorKind::InvalidData)?;
        let had = body.len().min(len);
        bytes = body.split_off(had);
        body.resize(len, 0);
        stream.read_exact(&mut body[had..])?;
        let posted = Posted { path, body };
        match answer(&posted) {
            Some((status, body)) => {
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
                stream.write_all(&body)?;
            }
            None => thread::sleep(NO_ANSWER),
        }
        if sender.send(posted).is_err() {
            // The test has ended.
            return Ok(());
        }
    }
}

/// The path and the length of the body of a `POST` of Protocol Buffers.
fn read_head(head: &str) -> Option<(String, usize)> {
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    if field("content-type") != Some("application/x-protobuf") {
        return None;
    }
    let path = head.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    Some((path, field("content-length")?.parse().ok()?))
}
