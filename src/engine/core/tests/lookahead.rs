//! Looking ahead in pipelines: it changes nothing that a client sees.

use resp::CommandId;

use super::*;

/// What a client is answered to pipelines of reads, writes, and others, if rows are looked for ahead beyond so many bytes of them.
fn replies(cached_rows_bytes_max: usize) -> String {
    let mut world = World::new(1, 3, |config| config.limits.cached_rows_bytes_max = cached_rows_bytes_max);
    world.connect(1);
    let get = |number: usize| format!("*2\r\n$3\r\nGET\r\n$5\r\nk{number:04}\r\n");
    let set: String = (0..40).map(|number| format!("SET k{number:04} v{number}\r\n")).collect();
    let gets: String = (0..100).map(get).collect();
    let mixed = [
        "PING\r\n",
        &get(1),
        "*1\r\n$4\r\nPING\r\n",
        &get(2),
        "SET k0003 changed\r\n",
        &get(3),
        "QUACK\r\n",
        &get(99),
    ];
    let all = [set, gets.clone(), mixed.concat(), gets].concat();
    // Cut where commands are not whole.
    for part in all.as_bytes().chunks(333) {
        world.send(conn(0), std::str::from_utf8(part).unwrap());
        world.turns(3);
    }
    world.turns(20);
    world.host.take_sent(conn(0))
}

#[test]
fn replies_are_the_same_with_rows_looked_for_ahead() {
    let plain = replies(usize::MAX);
    assert_eq!(plain.matches("v39").count(), 2, "{plain}");
    assert_eq!(plain.matches("changed").count(), 2);
    assert_eq!(replies(0), plain);
}

#[test]
fn only_a_pipeline_that_reads_is_looked_through() {
    let [get, set] = [CommandId::Get, CommandId::Set].map(resp::table::by_id);
    let mut lookahead = Lookahead::default();
    assert!(!lookahead.is_due(), "nothing is known of a pipeline before its first command");
    lookahead.note(set);
    lookahead.executed();
    assert!(!lookahead.is_due());
    lookahead.note(get);
    lookahead.executed();
    assert!(lookahead.is_due());
    lookahead.looked_at(2);
    for _ in 0..2 {
        assert!(!lookahead.is_due());
        lookahead.note(get);
        lookahead.executed();
    }
    assert!(lookahead.is_due(), "the commands that were looked at are executed");
    lookahead.looked_at(0);
    assert!(!lookahead.is_due(), "what cannot be looked into is not looked at again before it is executed");
    lookahead.begin();
    assert!(!lookahead.is_due(), "another client");
}
