//! A blocking RESP client for the few questions asked outside a run. Every call is bounded in time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::reply::{Reply, decode};
use crate::topology::Topology;

/// How long a question may take altogether, connecting included.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks one question on a connection of its own and hands the reply to `read`.
///
/// # Errors
/// If the server is not there, silent for [`ASK_TIMEOUT`], or sends what is not RESP.
pub fn ask<T>(
    addr: SocketAddr,
    args: &[&str],
    read: impl FnOnce(&Reply<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + ASK_TIMEOUT;
    let failed = |source| Error::Os { doing: format!("asking {addr} for {}", args.join(" ")), source };
    let stalled = || Error::Stalled { addr: addr.to_string(), what: "no complete reply", waited: ASK_TIMEOUT };
    let mut stream = TcpStream::connect_timeout(&addr, ASK_TIMEOUT).map_err(failed)?;
    let mut question = format!("*{}\r\n", args.len());
    for arg in args {
        question.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
    }
    stream.set_write_timeout(Some(ASK_TIMEOUT)).map_err(failed)?;
    stream.write_all(question.as_bytes()).map_err(failed)?;
    let mut buf = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        let malformed = |what| Error::MalformedReply { addr: addr.to_string(), what };
        if let Some((reply, _)) = decode(&buf).map_err(malformed)? {
            return read(&reply);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(stalled());
        }
        stream.set_read_timeout(Some(left)).map_err(failed)?;
        match stream.read(&mut chunk) {
            Ok(0) => return Err(malformed("the connection was closed before the reply".to_owned())),
            Ok(len) => buf.extend_from_slice(chunk.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(stalled()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Asks for the topology.
///
/// # Errors
/// Those of [`ask`], and a reply that is no topology.
pub fn cluster_slots(addr: SocketAddr) -> Result<Topology, Error> {
    ask(addr, &["CLUSTER", "SLOTS"], |reply| Topology::parse(reply, addr))
}

/// The text of `INFO`, or of one section of it.
///
/// # Errors
/// Those of [`ask`], and a reply that is not text.
pub fn info(addr: SocketAddr, section: Option<&str>) -> Result<String, Error> {
    let args: Vec<&str> = std::iter::once("INFO").chain(section).collect();
    ask(addr, &args, |reply| match reply {
        Reply::Bulk(text) => Ok(String::from_utf8_lossy(text).into_owned()),
        other => Err(Error::MalformedReply { addr: addr.to_string(), what: format!("INFO: {other:?}") }),
    })
}

/// The number in the line `name:number` of the text of an `INFO` reply.
pub fn info_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::info_field;

    #[test]
    fn fields_of_info_are_found_by_their_whole_name() {
        let text = "# Coracle\r\nlog_blocks_written_total:9\r\nlog_blocks_written:12\r\nx:y\r\n";
        assert_eq!(info_field(text, "log_blocks_written"), Some(12));
        assert_eq!(info_field(text, "x"), None);
        assert_eq!(info_field(text, "absent"), None);
    }
}
