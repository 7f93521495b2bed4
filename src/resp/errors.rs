//! The texts of error replies, each without its leading `-`. Clients compare them, so they are kept to the letter.

use crate::args::Args;
use crate::command::Command;

/// Keys of one command lie in different slots.
pub const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
/// No leader: clients ask again.
pub const CLUSTERDOWN: &str = "CLUSTERDOWN The cluster is down";
/// A failed login.
pub const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
/// A version that `HELLO` does not know.
pub const NOPROTO: &str = "NOPROTO unsupported protocol version";
/// Arguments that make no sense together.
pub const SYNTAX: &str = "ERR syntax error";
/// No integer, or one that does not fit.
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
/// A slot number that is none.
pub const INVALID_SLOT: &str = "ERR Invalid or out of range slot";
/// A command about keys from a client in `MONITOR`; Redis calls it a replica.
pub const MONITOR_KEYSPACE: &str = "ERR Replica can't interact with the keyspace";
/// A name that `CLIENT LIST` could not show.
pub const CLIENT_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
/// `AUTH password` where there is no password.
pub const AUTH_WITHOUT_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default \
                                         user. Are you sure your configuration is correct?";
/// `SELECT` of another database than 0.
pub const SELECT_IN_CLUSTER: &str = "ERR SELECT is not allowed in cluster mode";
/// `HELLO` with a version that is no number.
pub const HELLO_VERSION: &str = "ERR Protocol version is not an integer or out of range";

/// A number of a connection that is none.
pub const CLIENT_ID: &str = "ERR Invalid client ID";

/// `COMMAND GETKEYS` of a command that is not known.
pub const GETKEYS_COMMAND: &str = "ERR Invalid command specified";
/// `COMMAND GETKEYS` of a command without keys.
pub const GETKEYS_NO_KEYS: &str = "ERR The command has no key arguments";
/// `COMMAND GETKEYS` with too many or too few arguments.
pub const GETKEYS_ARITY: &str = "ERR Invalid number of arguments specified for command";
/// `COMMAND GETKEYS` with arguments among which no keys are found.
pub const GETKEYS_ARGUMENTS: &str = "ERR Invalid arguments specified for command";

/// Most bytes of one name, and of all arguments together, that an error echoes.
const ECHO_BYTES_MAX: usize = 128;

/// Subcommands of `CLUSTER` that change a Redis cluster. Here that is the business of a tool of our own.
const CLUSTER_CHANGES: [&str; 14] = [
    "addslots",
    "addslotsrange",
    "bumpepoch",
    "delslots",
    "delslotsrange",
    "failover",
    "flushslots",
    "forget",
    "meet",
    "replicate",
    "reset",
    "saveconfig",
    "set-config-epoch",
    "setslot",
];

/// First words of a request by which HTTP gives itself away: in every `POST`, and in every request of version 1.1.
const HTTP_WORDS: [&[u8]; 2] = [b"post", b"host:"];

/// What the log says when a connection is closed for [`Refusal::CrossProtocol`].
pub const CROSS_PROTOCOL: &str = "a client sent POST or Host: as a command, as a web page may make a browser do: its \
                                  connection was closed, and nothing that followed was executed";

/// `MOVED slot host:port`: the slot is served elsewhere.
pub fn moved(slot: u16, host: &str, port: u16) -> String {
    format!("MOVED {slot} {host}:{port}")
}

/// The number of arguments is wrong. `full_name` is that of the command or subcommand.
pub fn wrong_arity(full_name: &str) -> String {
    format!("ERR wrong number of arguments for '{full_name}' command")
}

/// An option that `HELLO` does not know, or that lacks its arguments. It may echo any bytes.
pub fn hello_option(option: &[u8]) -> Vec<u8> {
    [b"ERR Syntax error in HELLO option '", echoed(option, ECHO_BYTES_MAX), b"'"].concat()
}

/// A type of connections that does not exist. It may echo any bytes.
pub fn client_type(wanted: &[u8]) -> Vec<u8> {
    [b"ERR Unknown client type '", echoed(wanted, ECHO_BYTES_MAX), b"'"].concat()
}

/// Why a request names nothing that can be executed.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// There is no such command.
    UnknownCommand,
    /// The command has no such subcommand.
    UnknownSubcommand(&'static Command),
    /// A subcommand that would change the cluster.
    ClusterChange,
    /// Too many or too few arguments for this command.
    WrongArity(&'static Command),
    /// `POST` or `Host:`: the client speaks HTTP, as a browser does that a web page sends here, and what it takes for
    /// a body may hold commands. Log [`CROSS_PROTOCOL`] and close the connection without a reply: nothing behind this
    /// request may be executed.
    CrossProtocol,
}

impl Refusal {
    /// Why there is no command of that name.
    #[cold]
    pub(crate) fn command(name: &[u8]) -> Refusal {
        // As in C, a name ends at a NUL.
        let name = echoed(name, ECHO_BYTES_MAX);
        let is_http = HTTP_WORDS.iter().any(|word| name.eq_ignore_ascii_case(word));
        if is_http { Refusal::CrossProtocol } else { Refusal::UnknownCommand }
    }

    /// Why `command` does not have the subcommand `name`.
    #[cold]
    pub(crate) fn subcommand(command: &'static Command, name: &[u8]) -> Refusal {
        let changes = || CLUSTER_CHANGES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if command.name == "cluster" && changes() {
            Refusal::ClusterChange
        } else {
            Refusal::UnknownSubcommand(command)
        }
    }

    /// What the client is told. It echoes a bounded part of `args`, the request, which may be any bytes; so
    /// [`Reply::error_bytes`](crate::Reply::error_bytes) writes it.
    pub fn message(&self, args: Args<'_>) -> Vec<u8> {
        let echo = |idx: usize| echoed(args.get(idx).unwrap_or_default(), ECHO_BYTES_MAX);
        match self {
            Refusal::UnknownCommand | Refusal::CrossProtocol => unknown_command(args),
            Refusal::UnknownSubcommand(command) => {
                let container = command.name.to_ascii_uppercase();
                [b"ERR unknown subcommand '", echo(1), b"'. Try ", container.as_bytes(), b" HELP."].concat()
            }
            Refusal::ClusterChange => {
                let name = echo(1).to_ascii_uppercase();
                [
                    b"ERR CLUSTER ",
                    name.as_slice(),
                    b" is not served: nodes and slots are fixed when the cluster is formed",
                ]
                .concat()
            }
            Refusal::WrongArity(command) => wrong_arity(command.full_name).into_bytes(),
        }
    }
}

/// Names the command and the beginning of its arguments.
fn unknown_command(args: Args<'_>) -> Vec<u8> {
    let name = echoed(args.get(0).unwrap_or_default(), ECHO_BYTES_MAX);
    let mut message = [b"ERR unknown command '", name, b"', with args beginning with: "].concat();
    let begin = message.len();
    for arg in args.iter_from(1) {
        let Some(room) = ECHO_BYTES_MAX.checked_sub(message.len() - begin).filter(|room| *room > 0) else { break };
        message.push(b'\'');
        message.extend_from_slice(echoed(arg, room));
        message.extend_from_slice(b"' ");
    }
    message
}

/// At most `bytes_max` bytes of `text`, which ends at a NUL as it would in C.
fn echoed(text: &[u8], bytes_max: usize) -> &[u8] {
    let text = text.get(..bytes_max).unwrap_or(text);
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}
