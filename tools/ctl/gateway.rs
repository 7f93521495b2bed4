//! The node that is asked: the first of some addresses that answers.

use std::time::Duration;

use crate::connection::{Connection, reason};
use crate::error::CtlError;
use crate::value::Value;

/// The port of gateways unless another one is configured.
const GATEWAY_PORT: u16 = 7_000;

/// Whom to ask, and how long to wait.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    /// Addresses, `host:port`. Invariant: not empty.
    pub(crate) addrs: Vec<String>,
    /// How long connecting and each reply may take.
    pub(crate) timeout: Duration,
}

impl Gateway {
    /// Addresses as they are given: without a port it is the usual one.
    pub(crate) fn new(addrs: &[String], timeout: Duration) -> Gateway {
        Gateway { addrs: addrs.iter().map(|addr| with_port(addr)).collect(), timeout }
    }

    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    /// [`CtlError::Unreachable`].
    pub(crate) fn connect(&self) -> Result<Connection, CtlError> {
        let mut attempts = Vec::new();
        for addr in &self.addrs {
            // Whoever accepts connections and answers nothing does not help.
            let opened = Connection::open(addr, self.timeout);
            let answered = opened.and_then(|mut connection| connection.ask(&["PING"]).map(|_| connection));
            match answered {
                Ok(connection) => return Ok(connection),
                Err(error) => attempts.push((addr.clone(), reason(&error, self.timeout))),
            }
        }
        Err(CtlError::Unreachable(attempts))
    }

    /// Asks a node.
    ///
    /// # Errors
    /// [`CtlError::Unreachable`] if it does not answer, [`CtlError::Refused`] with its words if it refuses.
    pub(crate) fn ask(&self, connection: &mut Connection, words: &[&str]) -> Result<Value, CtlError> {
        let reply = connection
            .ask(words)
            .map_err(|error| CtlError::Unreachable(vec![(connection.addr.clone(), reason(&error, self.timeout))]))?;
        match reply {
            Value::Error(text)
                if text.starts_with("ERR unknown command") || text.starts_with("ERR unknown subcommand") =>
            {
                let name = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
                Err(CtlError::Refused(format!("{} is no node of Coracle that knows {name}: {text}", connection.addr)))
            }
            Value::Error(text) => Err(CtlError::Refused(text.strip_prefix("ERR ").unwrap_or(&text).to_owned())),
            value => Ok(value),
        }
    }
}

fn with_port(addr: &str) -> String {
    let has_port = match addr.rsplit_once(':') {
        // The address of IPv6 has colons of its own.
        Some((host, port)) => port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')),
        None => false,
    };
    match (has_port, addr.contains(':') && !addr.starts_with('[')) {
        (true, _) => addr.to_owned(),
        (false, true) => format!("[{addr}]:{GATEWAY_PORT}"),
        (false, false) => format!("{addr}:{GATEWAY_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_has_the_usual_one() {
        for (given, meant) in [
            ("10.0.0.1", "10.0.0.1:7000"),
            ("10.0.0.1:7100", "10.0.0.1:7100"),
            ("node-1.example", "node-1.example:7000"),
            ("::1", "[::1]:7000"),
            ("[::1]", "[::1]:7000"),
            ("[::1]:7100", "[::1]:7100"),
        ] {
            assert_eq!(with_port(given), meant);
        }
    }
}
