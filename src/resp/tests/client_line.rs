//! The line that CLIENT LIST shows of a connection.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

mod common;

use resp::ClientLine;

use common::some_line;

#[test]
fn a_line_shows_every_field_once() {
    let line = some_line();
    let text = |line: &ClientLine<'_>| {
        let mut out = Vec::new();
        line.write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let expected = "id=7 addr=[::1]:40000 laddr=127.0.0.1:6379 fd=9 name=n age=3 idle=2 flags=N db=0 sub=0 psub=0 \
                    ssub=0 multi=-1 qbuf=26 qbuf-free=20448 argv-mem=10 multi-mem=0 rbs=0 rbp=0 obl=0 oll=1 omem=5 \
                    tot-mem=37658 events=rw cmd=client|list user=default redir=-1 resp=3 lib-name=lib lib-ver=1.2 \
                    tot-net-in=100 tot-net-out=200 tot-cmds=4\n";
    assert_eq!(text(&line), expected);
    let monitor = ClientLine { is_monitor: true, ..line };
    assert_eq!(text(&monitor), expected.replace("flags=N", "flags=O"));
    let silent = ClientLine { output_bytes: 0, command: None, ..line };
    assert!(text(&silent).contains(" oll=0 omem=0 tot-mem=37658 events=r cmd=NULL "));
}
