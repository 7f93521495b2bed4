//! Asking a node over HTTP.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a response.
const WITHIN: Duration = Duration::from_secs(10);

/// The status and the body of the response to a `GET`.
///
/// # Errors
/// That nobody listens, or what comes is no response.
pub fn get(host: &str, port: u16, path: &str) -> io::Result<(u16, String)> {
    let (status, body) = get_bytes(host, port, path, WITHIN)?;
    let text = String::from_utf8(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((status, text))
}

/// As [`get`], whatever the body is, and with so long a wait.
///
/// # Errors
/// As [`get`].
pub fn get_bytes(host: &str, port: u16, path: &str, within: Duration) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(within))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "no response");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(malformed)?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    Ok((status, bytes.split_off(end + 4)))
}
