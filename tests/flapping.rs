//! A network that comes and goes: nothing acknowledged is lost and nothing happens twice.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::time::{Duration, Instant};

use coracle_tests::firewall::{Cut, Firewall};
use coracle_tests::load::{check, under_load};
use coracle_tests::{Cluster, Options, alone, replicas, skipped};

const LIMIT: Duration = Duration::from_secs(120);
const GROUPS_COUNT: usize = 9;
const FLAPS_FOR: Duration = Duration::from_secs(10);
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// Numbers that look random; the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn nothing_is_lost_on_a_network_that_comes_and_goes() {
    let _alone = alone(LIMIT);
    let firewall = match Firewall::open() {
        Ok(firewall) => firewall,
        Err(why) => return skipped(&why),
    };
    let cluster = Cluster::start(Options { set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() });
    let nodes = cluster.nodes();
    let mut numbers = Numbers(20_260_101);
    let mut cuts_count = 0;
    let known = under_load(&cluster, || {
        let begin = Instant::now();
        while begin.elapsed() < FLAPS_FOR {
            let a = numbers.below(3) as usize;
            let (b, c) = ((a + 1) % 3, (a + 2) % 3);
            let (a, b, c) = (&nodes[a], &nodes[b], &nodes[c]);
            match numbers.below(5) {
                0 => firewall.set(&[Cut::Both(a, b)]),
                1 => firewall.set(&[Cut::Both(a, b), Cut::Both(a, c)]),
                2 => firewall.set(&[Cut::OneWay(a, b)]),
                3 => firewall.set(&[Cut::OneWay(a, b), Cut::OneWay(a, c)]),
                _ => firewall.set(&[Cut::Both(a, b), Cut::Both(a, c), Cut::Both(b, c)]),
            }
            cuts_count += 1;
            std::thread::sleep(Duration::from_millis(50 + numbers.below(450)));
            firewall.heal();
            std::thread::sleep(Duration::from_millis(50 + numbers.below(250)));
        }
    });
    println!("{cuts_count} cuts in {FLAPS_FOR:?}, {} new leaders", replicas::leaderships(&cluster, &[1, 2, 3]));
    (1..=3).for_each(|id| cluster.wait_healthy(id, HEALED_WITHIN));
    check(&cluster, &known, "after a network that came and went");
    replicas::wait_equal(&cluster, &[1, 2, 3], GROUPS_COUNT, HEALED_WITHIN);
}
