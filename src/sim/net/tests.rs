#![allow(clippy::unwrap_used, reason = "a test")]

use host::ConnId;

use super::*;

const MS: u64 = 1_000_000;

/// Sends something of one byte from side 0, with what arrives there until the time of it.
fn send(net: &mut Net, queue: &mut Queue, id: StreamId, at_ms: u64) -> usize {
    let arrived_count = run(net, queue, id, at_ms);
    net.push_bytes(id, 0, Bytes::from_static(b"x"), queue);
    arrived_count
}

/// How many bytes arrive at side 1 until a time.
fn run(net: &mut Net, queue: &mut Queue, id: StreamId, until_ms: u64) -> usize {
    let mut arrived_count = 0;
    while let Some(event) = queue.pop(until_ms * MS) {
        let Event::Deliver { .. } = event else { continue };
        for arrival in net.deliver(id, 0, true, queue) {
            match arrival {
                Arrival::Bytes(bytes) => arrived_count += bytes.len(),
                _ => panic!("nothing but bytes arrives"),
            }
        }
    }
    queue.pass(until_ms * MS);
    arrived_count
}

/// A network with a stream on which everything takes 50 ms.
fn connected() -> (Net, Queue, StreamId) {
    let way = Way {
        cuts: 0,
        delay_min: 50 * MS,
        delay_mean: 0,
        loss: 0,
        pieces: 0,
        drop: 0,
        repeat: 0,
        reorder: 0,
        alter: 0,
    };
    let mut queue = Queue::default();
    let mut net = Net::new(2, way, 15_000 * MS, Prng::stream(1, "net"));
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let id = net.connect(Owner::Client(0), 0, 1, addr, &mut queue);
    (net, queue, id)
}

#[test]
fn what_nobody_confirms_arrives_for_a_while() {
    let (mut net, mut queue, id) = connected();
    assert_eq!(send(&mut net, &mut queue, id, 10), 0);
    net.way(1, 0).cuts = 1;
    assert_eq!(send(&mut net, &mut queue, id, 100), 1, "it was on its way");
    assert_eq!(send(&mut net, &mut queue, id, 250), 1, "the first that nobody confirms");
    assert_eq!(send(&mut net, &mut queue, id, 400), 1, "the window is not full yet");
    assert_eq!(run(&mut net, &mut queue, id, 2_000), 0, "now it is");
    net.way(1, 0).cuts = 0;
    assert_eq!(run(&mut net, &mut queue, id, 8_000), 1, "it was kept");
    net.way(0, 1).cuts = 1;
    assert_eq!(send(&mut net, &mut queue, id, 9_000), 0);
    assert_eq!(run(&mut net, &mut queue, id, 10_000), 0, "nothing gets there at all");
}

#[test]
fn a_core_that_does_not_read_is_sent_no_more_than_its_window() {
    let (mut net, mut queue, id) = connected();
    let window = net.recv_window_bytes;
    let (len, half) = (3 * window, window / 2);
    let conn = ConnId { idx: 0, generation: 0 };
    net.stream(id).unwrap().sides[1].owner = Owner::Core { core: 0, conn };
    net.push_bytes(id, 0, Bytes::from(vec![b'x'; len]), &mut queue);
    assert_eq!(run(&mut net, &mut queue, id, 1_000), window);
    assert_eq!(net.stream(id).unwrap().sides[0].in_flight_bytes(), len - window);
    net.read(id, 1, half - 1, &mut queue);
    assert_eq!(run(&mut net, &mut queue, id, 2_000), 0, "less than half of the window is free");
    net.read(id, 1, 1, &mut queue);
    assert_eq!(run(&mut net, &mut queue, id, 3_000), half);
    // Its process dies: the rest comes to nobody, who takes all.
    net.die(id, 1, false, &mut queue);
    assert_eq!(run(&mut net, &mut queue, id, 4_000), len - window - half);
}
