//! CLIENT LIST over more clients than are looked at in a turn.

use super::*;
use crate::limits::CLIENTS_LISTED_PER_TURN_MAX;

const TURNS: usize = 3;
const CLIENTS_COUNT: usize = TURNS * CLIENTS_LISTED_PER_TURN_MAX;

#[test]
fn a_long_list_of_clients_is_written_in_slices_and_in_its_place() {
    let mut world = World::new(CLIENTS_COUNT as u32, |_| {});
    world.receive(conn(0), "GET before\r\nCLIENT LIST\r\nCLIENT ID\r\nGET behind\r\n");
    world.receive(conn(1), "GET other\r\n");
    world.answer("before");
    for turn in 1..TURNS {
        world.clients.go_on_listing(&mut world.ctx);
        assert!(world.clients.has_listing(), "in turn {turn}");
        assert!(world.used(Pool::ClientOutput) > turn * CLIENTS_LISTED_PER_TURN_MAX * 100);
        assert_eq!(world.resume(), [], "it has one list at a time");
    }
    assert_eq!(world.taken, ["before", "other"]);
    world.clients.go_on_listing(&mut world.ctx);
    assert!(!world.clients.has_listing());
    assert_eq!((world.resume(), &world.taken[2..]), (vec![conn(0)], &["behind".to_owned()][..]));
    world.answer("behind");
    let output = world.output(conn(0));
    let ids: Vec<usize> =
        output.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(ids, (1..=CLIENTS_COUNT).collect::<Vec<_>>());
    assert!(output.starts_with("+before\r\n$") && output.ends_with("\r\n:1\r\n+behind\r\n"));
}

#[test]
fn a_list_of_clients_without_room_is_an_error_and_its_client_goes_on() {
    let mut world = World::new(CLIENTS_COUNT as u32, |_| {});
    world.receive(conn(0), "CLIENT LIST\r\nGET a\r\n");
    let mut others = world.ctx.budget.permit(Pool::Links);
    let mut held = world.ctx.budget.permit(Pool::ClientInput);
    held.set(REQUESTS_BYTES_MAX);
    others.set(1);
    (0..TURNS).for_each(|_| world.clients.go_on_listing(&mut world.ctx));
    drop(held);
    assert_eq!(world.resume(), [conn(0)]);
    assert!(world.output(conn(0)).starts_with("-TRYAGAIN"));
    assert_eq!((world.taken.len(), world.ctx.counters.error_replies), (1, 1));
}

#[test]
fn a_list_for_a_client_that_is_gone_ends_and_the_next_one_is_written() {
    let mut world = World::new(CLIENTS_COUNT as u32, |_| {});
    world.receive(conn(0), "CLIENT LIST\r\n");
    world.receive(conn(1), "CLIENT LIST ID 3 9\r\n");
    world.clients.closed(conn(0));
    (0..2 * TURNS).for_each(|_| world.clients.go_on_listing(&mut world.ctx));
    assert!(!world.clients.has_listing());
    assert_eq!(world.output(conn(1)).matches("id=").count(), 2);
}
