//! A plain client: one connection, blocking, with a deadline on every reply.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long connecting, sending, and each read may take.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A reply of RESP2 or RESP3. Maps are arrays of keys and values in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Int(i64),
    /// `$`, `=` and `,`
    Bulk(Vec<u8>),
    /// `*`, `~` and `%`
    Array(Vec<Reply>),
    /// `_`, `$-1` and `*-1`
    Nil,
}

impl Reply {
    /// The reply as text; what is no text is shown as it is.
    pub fn text(&self) -> String {
        match self {
            Reply::Simple(text) | Reply::Error(text) => text.clone(),
            Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The text of an error reply.
    pub fn error(&self) -> Option<&str> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// A bulk string.
pub fn bulk(text: impl AsRef<[u8]>) -> Reply {
    Reply::Bulk(text.as_ref().to_vec())
}

/// `+OK`
pub fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

/// A command as an array of bulk strings.
pub fn encode(args: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn connect(host: &str, port: u16) -> io::Result<Client> {
        let addr = SocketAddr::from((host.parse::<Ipv4Addr>().map_err(io::Error::other)?, port));
        let stream = TcpStream::connect_timeout(&addr, WAIT_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        Ok(Client { stream: BufReader::with_capacity(64 << 10, stream) })
    }

    /// How long the next replies may take.
    pub fn set_wait(&self, wait: Duration) {
        self.socket().set_read_timeout(Some(wait)).expect("it is not zero");
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Tells the server that nothing more will come.
    pub fn finish(&self) {
        self.socket().shutdown(Shutdown::Write).expect("it is connected");
    }

    /// The next reply.
    ///
    /// # Errors
    /// A connection that ended is `UnexpectedEof`; bytes that are no reply are `InvalidData`.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("no reply: {}", line.escape_ascii()));
        let body = line.strip_suffix(b"\r\n").ok_or_else(wrong)?;
        let (kind, rest) = body.split_first().ok_or_else(wrong)?;
        let rest = std::str::from_utf8(rest).map_err(|_| wrong())?;
        let count = || rest.parse::<i64>().map_err(|_| wrong());
        Ok(match kind {
            b'+' => Reply::Simple(rest.to_owned()),
            b'-' => Reply::Error(rest.to_owned()),
            b':' => Reply::Int(count()?),
            b'_' => Reply::Nil,
            b',' => bulk(rest),
            b'$' | b'=' => match usize::try_from(count()?) {
                Err(_) => Reply::Nil,
                Ok(length) => Reply::Bulk(self.body(length)?),
            },
            b'*' | b'~' | b'%' => match usize::try_from(count()?) {
                Err(_) => Reply::Nil,
                Ok(count) => {
                    let count = if *kind == b'%' { 2 * count } else { count };
                    Reply::Array((0..count).map(|_| self.reply()).collect::<io::Result<_>>()?)
                }
            },
            _ => return Err(wrong()),
        })
    }

    fn body(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        if bytes.split_off(length) != b"\r\n" {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a bulk string without its end"));
        }
        Ok(bytes)
    }

    /// A command and its reply.
    ///
    /// # Errors
    /// Those of [`Client::reply`].
    pub fn ask(&mut self, args: &[&[u8]]) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        encode(args, &mut bytes);
        self.send(&bytes)?;
        self.reply()
    }

    /// A command, its arguments separated by spaces, and its reply.
    ///
    /// # Panics
    /// If the connection fails.
    pub fn command(&mut self, line: &str) -> Reply {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.ask(&args).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Everything until the server closes the connection.
    ///
    /// # Errors
    /// Also if it stays open and silent.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            // A close with unread input behind it is told as a reset.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(bytes),
        }
    }

    /// The field of INFO of this name, as a number.
    ///
    /// # Panics
    /// If there is none.
    pub fn info(&mut self, name: &str) -> u64 {
        let text = self.command("INFO").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.unwrap_or_else(|| panic!("INFO has no {name}:\n{text}"));
        value.trim().parse().unwrap_or_else(|_| panic!("INFO {name} is no number: {value}"))
    }
}
