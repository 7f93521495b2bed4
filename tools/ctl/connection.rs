//! A connection to the gateway of a node, on which nothing takes longer than it may.

use std::io::{self, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::value::Value;

/// A connection to a node.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// Where it leads, as it was given.
    pub(crate) addr: String,
}

impl Connection {
    /// Connects to `host:port`. Connecting, and each reply from then on, may take so long.
    ///
    /// # Errors
    /// Why that is not possible.
    pub(crate) fn open(addr: &str, timeout: Duration) -> io::Result<Connection> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for socket_addr in addr.to_socket_addrs()? {
            match TcpStream::connect_timeout(&socket_addr, timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(timeout))?;
                    stream.set_write_timeout(Some(timeout))?;
                    stream.set_nodelay(true)?;
                    return Ok(Connection { stream: BufReader::new(stream), addr: addr.to_owned() });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a command and returns its reply, be it an error.
    ///
    /// # Errors
    /// That the connection has broken, or there was no reply in time.
    pub(crate) fn ask(&mut self, words: &[&str]) -> io::Result<Value> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        Value::read(&mut self.stream)
    }
}

/// Why something was not possible with a node, in words.
pub(crate) fn reason(error: &io::Error, timeout: Duration) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("no answer within {} ms", timeout.as_millis())
        }
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        _ => error.to_string(),
    }
}
