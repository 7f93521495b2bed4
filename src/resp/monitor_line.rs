//! One line of `MONITOR`.

use std::io::Write;
use std::net::SocketAddr;

use crate::args::Args;
use crate::command_id::CommandId;
use crate::secrets::{REDACTED, is_secret};

/// Bytes that are shown of an argument.
const ARG_BYTES_MAX: usize = 4 << 10;
/// Bytes that are shown of all arguments of a command.
const ARGS_BYTES_MAX: usize = 16 << 10;
/// Arguments that are shown.
const ARGS_COUNT_MAX: usize = 128;
/// What tells of lines that were lost is no longer, in bytes.
pub const LOST_LINE_BYTES_MAX: usize = 128;

/// A command that a client has sent, as `MONITOR` shows it: as Redis does, but with its arguments cut where they are long, so
/// that a line has a longest length.
#[derive(Clone, Copy, Debug)]
pub struct MonitorLine<'a> {
    /// When it was taken in, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Where it comes from.
    pub addr: SocketAddr,
    /// Which command it is.
    pub id: CommandId,
    /// All of its arguments, the name first.
    pub args: Args<'a>,
}

impl MonitorLine<'_> {
    /// Appends the line, its end included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_head(out, self.unix_ms, format_args!("{}", self.addr));
        let mut left = ARGS_BYTES_MAX;
        for (idx, arg) in self.args.iter_from(0).enumerate() {
            if idx >= ARGS_COUNT_MAX || left == 0 {
                let more = self.args.len() - idx;
                put(out, format_args!(" \"... ({more} more arguments)\""));
                break;
            }
            let arg = if is_secret(self.id, self.args, idx) { REDACTED } else { arg };
            let (shown, cut) = arg.split_at(arg.len().min(ARG_BYTES_MAX).min(left));
            left -= shown.len();
            out.extend_from_slice(b" \"");
            write_escaped(out, shown);
            if !cut.is_empty() {
                put(out, format_args!("... ({} more bytes)", cut.len()));
            }
            out.push(b'"');
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a line that tells how many were lost since the last one: a command of nobody, so that whoever reads lines need not know
/// of it.
pub fn write_lost(out: &mut Vec<u8>, unix_ms: u64, lost_count: u64) {
    write_head(out, unix_ms, format_args!("0.0.0.0:0"));
    put(out, format_args!(" \"coracle\" \"monitor-lost\" \"{lost_count}\"\r\n"));
}

fn write_head(out: &mut Vec<u8>, unix_ms: u64, addr: std::fmt::Arguments<'_>) {
    put(out, format_args!("+{}.{:03}000 [0 {addr}]", unix_ms / 1_000, unix_ms % 1_000));
}

/// As Redis writes an argument between quotation marks.
fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        let letter = match byte {
            b'\\' | b'"' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x07 => b'a',
            0x08 => b'b',
            b' '..=b'~' => {
                out.push(byte);
                continue;
            }
            _ => {
                put(out, format_args!("\\x{byte:02x}"));
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ArgRange;

    fn line(args: &[&[u8]]) -> String {
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        for arg in args {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(arg);
            ranges.push(ArgRange { start, end: bytes.len() as u32 });
        }
        let args = Args::new(&bytes, &ranges);
        let id = crate::resolve(args).unwrap().id;
        let line = MonitorLine { unix_ms: 1_339_518_083_107, addr: "127.0.0.1:60866".parse().unwrap(), id, args };
        let mut out = Vec::new();
        line.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_redis_writes() {
        assert_eq!(line(&[b"keys", b"*"]), "+1339518083.107000 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n");
        assert_eq!(
            line(&[b"SET", b"a \"b\"\\", b"\n\r\t\x07\x08\x00\xff~"]),
            "+1339518083.107000 [0 127.0.0.1:60866] \"SET\" \"a \\\"b\\\"\\\\\" \"\\n\\r\\t\\a\\b\\x00\\xff~\"\r\n"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let line = line(&[b"HELLO", b"3", b"AUTH", b"me", b"pw", b"SETNAME", b"n"]);
        assert!(
            line.ends_with("\"HELLO\" \"3\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"\r\n"),
            "{line}"
        );
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let long = vec![0; 10_000];
        let cut = line(&[b"SET", b"k", &long]);
        assert!(cut.ends_with("\\x00... (5904 more bytes)\"\r\n"), "{}", &cut[cut.len() - 60..]);
        let many: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(std::iter::repeat_n(&b"k"[..], 999)).collect();
        assert!(line(&many).ends_with(" \"k\" \"... (872 more arguments)\"\r\n"));
        let all: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(std::iter::repeat_n(&long[..], 999)).collect();
        assert!(line(&all).len() < 4 * ARGS_BYTES_MAX + 1_024);
        assert!(line(&all).ends_with(" more arguments)\"\r\n"));
    }

    #[test]
    fn lost_lines_are_told_as_a_command_of_nobody() {
        let mut out = Vec::new();
        write_lost(&mut out, 1_000, u64::MAX);
        assert_eq!(
            String::from_utf8(out.clone()).unwrap(),
            "+1.000000 [0 0.0.0.0:0] \"coracle\" \"monitor-lost\" \"18446744073709551615\"\r\n"
        );
        assert!(out.len() <= LOST_LINE_BYTES_MAX);
    }
}
