//! Arguments that nobody but the server may see.

use crate::args::Args;
use crate::command_id::CommandId;

/// What is shown in place of a secret, as in Redis.
pub const REDACTED: &[u8] = b"(redacted)";

/// Whether the argument at `idx` of this command is a secret, or the name that goes with it.
pub fn is_secret(id: CommandId, args: Args<'_>, idx: usize) -> bool {
    match id {
        CommandId::Auth => idx > 0,
        CommandId::CoracleJoin => idx == 2,
        // Behind the version stand options, each with its own arguments.
        CommandId::Hello => {
            let is_auth = |at: usize| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(b"auth"));
            let mut at = 2;
            while at < idx {
                if is_auth(at) {
                    if idx <= at + 2 {
                        return true;
                    }
                    at += 3;
                } else {
                    at += 2;
                }
            }
            false
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ArgRange;

    fn shown(line: &str) -> String {
        let mut ranges = Vec::new();
        let mut start = 0;
        for word in line.split(' ') {
            ranges.push(ArgRange { start, end: start + word.len() as u32 });
            start += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &ranges);
        let id = crate::resolve(args).unwrap().id;
        let show = |(idx, arg)| if is_secret(id, args, idx) { REDACTED } else { arg };
        let shown: Vec<&[u8]> = args.iter_from(0).enumerate().map(show).collect();
        String::from_utf8(shown.join(&b' ')).unwrap()
    }

    #[test]
    fn what_logs_in_is_not_shown() {
        for (line, expected) in [
            ("AUTH pw", "AUTH (redacted)"),
            ("auth me pw", "auth (redacted) (redacted)"),
            ("HELLO 3 AUTH me pw SETNAME n", "HELLO 3 AUTH (redacted) (redacted) SETNAME n"),
            ("hello 3 setname n auth me pw", "hello 3 setname n auth (redacted) (redacted)"),
            ("HELLO 3 SETNAME auth AUTH me pw", "HELLO 3 SETNAME auth AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH me", "HELLO 3 AUTH (redacted)"),
            ("HELLO 2", "HELLO 2"),
            ("SET auth pw", "SET auth pw"),
            (
                "CORACLE JOIN 77 ab cd 127.0.0.4 7000 7001 8000 9000 1",
                "CORACLE JOIN (redacted) ab cd 127.0.0.4 7000 7001 8000 9000 1",
            ),
        ] {
            assert_eq!(shown(line), expected);
        }
    }
}
