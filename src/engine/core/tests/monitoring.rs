//! MONITOR: from the command of one client to the line of another.

use super::*;

#[test]
fn commands_that_are_taken_in_are_shown_and_refused_ones_are_not() {
    let mut world = World::new(2, 2, |_| {});
    world.connect(2);
    world.send(conn(1), "GET unseen\r\n");
    world.turns(2);
    world.send(conn(0), "MONITOR\r\nPING\r\n");
    world.turns(2);
    let shown = world.host.take_sent(conn(0));
    assert!(
        shown.starts_with("+OK\r\n") && shown.ends_with("\"PING\"\r\n"),
        "its own commands from then on: {shown}"
    );
    let (near, ..) = world.key(true);
    world.send(
        conn(1),
        &format!("SET {near} v\r\nNOSUCH\r\nGET\r\nMGET a b\r\nCONFIG GET *\r\nAUTH pw\r\nDBSIZE\r\n"),
    );
    world.turns(8);
    let shown = world.host.take_sent(conn(0));
    let commands: Vec<&str> = shown.lines().filter_map(|line| line.split_once("] ")).map(|(_, args)| args).collect();
    let set = format!("\"SET\" \"{near}\" \"v\"");
    assert_eq!(commands, [&set, "\"AUTH\" \"(redacted)\"", "\"DBSIZE\""]);
}

#[test]
fn a_monitor_on_the_gateway_makes_the_other_cores_hand_over_what_they_take_in() {
    let mut world = World::new(2, 2, |_| {});
    world.connect(2);
    let wanted = |world: &World| {
        let mesh = world.host.take_mesh();
        mesh.iter().filter(|(to, message)| *to == CoreId(1) && matches!(message, MeshMessage::MonitorWanted)).count()
    };
    world.turn();
    assert_eq!(wanted(&world), 0);
    world.send(conn(0), "MONITOR\r\n");
    world.turn();
    assert_eq!(wanted(&world), 1, "at once");
    for _ in 0..100 {
        world.host.disk.advance(Duration::from_millis(25));
        world.turn();
    }
    let count = wanted(&world);
    assert!((2..=3).contains(&count), "and every second: {count} times in 2.5 s");
    // The other way about: core 1 has a monitor.
    world.send(conn(0), "RESET\r\n");
    world.turn();
    world.host.push_mesh(CoreId(1), MeshMessage::MonitorWanted);
    world.turn();
    world.send(conn(1), "PING\r\nPING\r\n");
    world.turn();
    world.send(conn(1), "ECHO a\r\n");
    world.turn();
    let handed = |world: &World| -> Vec<MeshMessage> {
        let mesh = world.host.take_mesh();
        mesh.into_iter()
            .map(|(_, message)| message)
            .filter(|message| matches!(message, MeshMessage::Monitored(_)))
            .collect()
    };
    let messages = handed(&world);
    assert_eq!(messages.len(), 2, "one for each turn");
    for _ in 0..400 {
        world.host.disk.advance(Duration::from_millis(25));
        world.turn();
    }
    world.send(conn(1), "PING\r\n");
    world.turn();
    assert_eq!(handed(&world).len(), 0, "it has not said so for long");
    // What is handed over reaches the monitors here.
    world.send(conn(0), "MONITOR\r\n");
    world.turn();
    world.host.take_sent(conn(0));
    messages.into_iter().for_each(|message| world.host.push_mesh(CoreId(1), message));
    world.turns(2);
    let shown = world.host.take_sent(conn(0));
    assert_eq!((shown.matches("\"PING\"").count(), shown.matches("\"ECHO\" \"a\"").count()), (2, 1), "{shown}");
}
