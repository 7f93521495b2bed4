//! First ports for clusters that do not get into each other's way.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Clusters use PORT to PORT+8, and the same 1,000 and 2,000 higher. So first ports lie in every third
/// thousand below the range from which the kernel takes ports for outgoing connections.
const THOUSANDS: [u16; 6] = [12_000, 15_000, 18_000, 21_000, 24_000, 27_000];
/// Distance between two first ports.
const STEP: u16 = 10;
const STEPS_PER_THOUSAND: u32 = 99;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A first port, free on 127.0.0.1 to 127.0.0.`nodes` with everything that belongs to it.
///
/// # Panics
/// If there is none.
pub fn free(nodes: u8, cores: u16) -> u16 {
    let choices = THOUSANDS.len() as u32 * STEPS_PER_THOUSAND;
    // Programs that run at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(31);
    for _ in 0..choices {
        let choice = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % choices;
        let thousand = THOUSANDS[(choice / STEPS_PER_THOUSAND) as usize];
        let port = thousand + STEP * (choice % STEPS_PER_THOUSAND) as u16;
        if (1..=nodes).all(|node| is_free(Ipv4Addr::new(127, 0, 0, node), port, cores)) {
            return port;
        }
    }
    panic!("no port is free");
}

fn is_free(host: Ipv4Addr, port: u16, cores: u16) -> bool {
    let mut ports = (port..=port + cores).chain(port + 1_000..port + 1_000 + cores).chain([port + 2_000]);
    ports.all(|port| TcpListener::bind((host, port)).is_ok())
}
