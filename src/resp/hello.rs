//! `HELLO` and `AUTH`: what a connection says first.

use crate::args::Args;
use crate::errors;
use crate::number::parse_i64;
use crate::reply::{Protocol, Reply};

/// Longest name of a connection and of a client's library, in bytes.
pub const CLIENT_NAME_BYTES_MAX: usize = 1_024;

/// What a client asks for with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelloRequest<'a> {
    /// The protocol to speak from now on, the reply included; `None` leaves it as it is.
    pub protocol: Option<Protocol>,
    /// A user and a password to log in with.
    pub auth: Option<(&'a [u8], &'a [u8])>,
    /// A name for the connection, of which [`is_client_name`] holds.
    pub client_name: Option<&'a [u8]>,
}

impl<'a> HelloRequest<'a> {
    /// Reads `HELLO [protover [AUTH username password] [SETNAME clientname]]`.
    ///
    /// # Errors
    ///
    /// The text of the error reply, which may echo any bytes of the request.
    pub fn parse(args: Args<'a>) -> Result<HelloRequest<'a>, Vec<u8>> {
        let mut request = HelloRequest::default();
        let Some(version) = args.get(1) else { return Ok(request) };
        let version = parse_i64(version).ok_or(errors::HELLO_VERSION)?;
        request.protocol = Some(Protocol::from_number(version).ok_or(errors::NOPROTO)?);
        let mut options = args.iter_from(2);
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"auth") && options.len() >= 2 {
                request.auth = options.next().zip(options.next());
            } else if option.eq_ignore_ascii_case(b"setname") && options.len() >= 1 {
                request.client_name = options.next();
                if !request.client_name.is_some_and(is_client_name) {
                    return Err(errors::CLIENT_NAME.into());
                }
            } else {
                return Err(errors::hello_option(option));
            }
        }
        Ok(request)
    }
}

/// What a server tells in reply to `HELLO`.
#[derive(Clone, Copy, Debug)]
pub struct Greeting<'a> {
    /// The name of the software.
    pub server: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The number of the connection.
    pub id: i64,
}

impl Greeting<'_> {
    /// Writes the map, in the protocol that the request has chosen. Every core is a master of a cluster.
    pub fn write(&self, reply: &mut Reply<'_>) {
        reply.map(7);
        reply.bulk(b"server");
        reply.bulk(self.server.as_bytes());
        reply.bulk(b"version");
        reply.bulk(self.version.as_bytes());
        reply.bulk(b"proto");
        reply.integer(reply.protocol().number());
        reply.bulk(b"id");
        reply.integer(self.id);
        reply.bulk(b"mode");
        reply.bulk(b"cluster");
        reply.bulk(b"role");
        reply.bulk(b"master");
        reply.bulk(b"modules");
        reply.array(0);
    }
}

/// Whether a connection or a client's library may have that name: it stands in one line of `CLIENT LIST`, where spaces
/// part the fields, and is kept as long as the connection, so it has at most [`CLIENT_NAME_BYTES_MAX`] bytes. An empty
/// name is no name, which is allowed.
pub fn is_client_name(name: &[u8]) -> bool {
    name.len() <= CLIENT_NAME_BYTES_MAX && name.iter().all(u8::is_ascii_graphic)
}

/// Answers `AUTH [username] password` where no password is set: the user `default` needs none, and there is no other.
pub fn auth_without_password(args: Args<'_>, reply: &mut Reply<'_>) {
    match (args.len(), args.get(1)) {
        (2, _) => reply.error(errors::AUTH_WITHOUT_PASSWORD),
        (3, Some(b"default")) => reply.ok(),
        (3, _) => reply.error(errors::WRONGPASS),
        _ => reply.error(errors::SYNTAX),
    }
}
