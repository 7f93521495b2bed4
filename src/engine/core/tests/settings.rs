//! CONFIG SET: from a client to whoever keeps the configuration, and back to all parts of the core.

use std::sync::{Arc, Mutex};

use crate::settings::{AskSettings, NodeSettings, SettingsChange, SettingsRequest, SettingsWish};

use super::*;

type Asked = Arc<Mutex<Vec<SettingsRequest>>>;

/// A core whose wishes end up in a list, of which it takes so many.
fn asking(room: usize) -> (World, Asked) {
    let asked = Asked::default();
    let into = Arc::clone(&asked);
    let ask = AskSettings::new(move |request| {
        let mut list = into.lock().unwrap();
        let has_room = list.len() < room;
        if has_room {
            list.push(request);
        }
        has_room
    });
    (World::new(1, 2, |config| config.ask_settings = Some(ask)), asked)
}

/// The core is told of other settings. Returns who has taken them.
fn hand_out(world: &mut World, settings: NodeSettings) -> Vec<CoreId> {
    let taken = Arc::<Mutex<Vec<CoreId>>>::default();
    let into = Arc::clone(&taken);
    let change = SettingsChange::new(Arc::new(settings), move |core| into.lock().unwrap().push(core));
    world.host.push_mesh(CoreId(0), MeshMessage::Settings(change));
    world.turn();
    let taken = taken.lock().unwrap();
    taken.clone()
}

#[test]
fn a_client_goes_on_behind_its_change_and_finds_what_it_has_set() {
    let (mut world, asked) = asking(9);
    world.connect(2);
    world.send(conn(0), "CONFIG SET SlowLog_Len_Max 5 scrub_interval_s 7\r\nCONFIG GET slowlog_len_max\r\nPING\r\n");
    world.turns(3);
    world.send(conn(1), "PING\r\n");
    world.turns(2);
    assert_eq!(world.host.take_sent(conn(1)), "+PONG\r\n", "nobody else waits");
    assert_eq!(world.host.take_sent(conn(0)), "");
    let request = asked.lock().unwrap().pop().unwrap();
    let wanted = [("slowlog_len_max", "5"), ("scrub_interval_s", "7")];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!((&request.wish, request.core), (&SettingsWish::Set(wanted), CoreId(0)));
    let shown = vec![("slowlog_len_max".to_owned(), "5".to_owned())];
    let settings = NodeSettings { slow_log_len_max: 5, shown, ..NodeSettings::default() };
    assert_eq!(hand_out(&mut world, settings), [CoreId(0)]);
    assert_eq!(world.host.take_sent(conn(0)), "", "until all cores have it");
    world.host.push_mesh(CoreId(0), MeshMessage::SettingsAnswer(request.answer(Ok(()))));
    world.turns(3);
    let reply = "+OK\r\n*2\r\n$15\r\nslowlog_len_max\r\n$1\r\n5\r\n+PONG\r\n";
    assert_eq!(world.host.take_sent(conn(0)), reply);
}

#[test]
fn refusals_come_back_and_a_client_that_has_left_is_no_harm() {
    let (mut world, asked) = asking(1);
    world.connect(3);
    world.send(conn(0), "CONFIG SET a b\r\nPING\r\n");
    world.send(conn(1), "CONFIG SET a b\r\nPING\r\n");
    world.send(conn(2), "CONFIG SET a b c\r\nCONFIG SET a\r\n");
    world.turns(3);
    let busy = world.host.take_sent(conn(1));
    assert!(busy.starts_with("-ERR too many settings") && busy.ends_with("+PONG\r\n"), "{busy}");
    let wrong = world.host.take_sent(conn(2));
    assert_eq!(wrong.matches("-ERR wrong number of arguments for 'config|set' command\r\n").count(), 2, "{wrong}");
    let request = asked.lock().unwrap().pop().unwrap();
    let answer = request.answer(Err("`a` is\nunknown".to_owned()));
    world.host.push_mesh(CoreId(0), MeshMessage::SettingsAnswer(answer));
    world.turns(3);
    assert_eq!(world.host.take_sent(conn(0)), "-ERR `a` is unknown\r\n+PONG\r\n");
    // Another one leaves before its answer comes.
    world.send(conn(0), "CONFIG REWRITE\r\n");
    world.turn();
    world.host.push_event(NetEvent::Closed { conn: conn(0), error: None });
    world.turn();
    let request = asked.lock().unwrap().pop().unwrap();
    assert_eq!(request.wish, SettingsWish::Rewrite);
    world.host.push_mesh(CoreId(0), MeshMessage::SettingsAnswer(request.answer(Ok(()))));
    world.send(conn(1), "PING\r\n");
    world.turns(2);
    assert_eq!(world.host.take_sent(conn(1)), "+PONG\r\n");
}

#[test]
fn nobody_to_ask_is_an_error() {
    let mut world = World::new(1, 1, |_| {});
    world.connect(1);
    world.send(conn(0), "CONFIG SET a b\r\nCONFIG REWRITE\r\nPING\r\n");
    world.turns(2);
    let told = world.host.take_sent(conn(0));
    assert!(
        told.matches("-ERR nobody here can change settings").count() == 2 && told.ends_with("+PONG\r\n"),
        "{told}"
    );
}

#[test]
fn all_parts_do_as_they_are_told_from_then_on() {
    let (mut world, _) = asking(1);
    world.connect(1);
    let slow = |world: &mut World, text: &str| {
        world.send(conn(0), text);
        world.turns(4);
        world.host.take_sent(conn(0))
    };
    assert_eq!(slow(&mut world, "SLOWLOG LEN\r\n"), ":0\r\n");
    let all = NodeSettings { slow_log_min: Some(Duration::ZERO), slow_log_len_max: 2, ..NodeSettings::default() };
    hand_out(&mut world, all.clone());
    assert!(slow(&mut world, "PING\r\nPING\r\nPING\r\nPING\r\n").ends_with("+PONG\r\n"));
    assert_eq!(slow(&mut world, "SLOWLOG LEN\r\n"), ":2\r\n", "all are slow, and two are kept");
    let none = NodeSettings { slow_log_min: None, slow_log_len_max: 1, ..NodeSettings::default() };
    hand_out(&mut world, none.clone());
    slow(&mut world, "SLOWLOG RESET\r\nPING\r\n");
    assert_eq!(slow(&mut world, "SLOWLOG LEN\r\n"), ":0\r\n", "none is");
    let off = NodeSettings { scrub_bytes_per_s: 0, ..none.clone() };
    hand_out(&mut world, off);
    assert!(slow(&mut world, "CORACLE SCRUB\r\n").starts_with("-ERR the scrub is turned off"));
    hand_out(&mut world, none);
    assert!(slow(&mut world, "CORACLE SCRUB\r\n").starts_with("+OK"));
}
