//! Logs damaged at random: never is a group served with a hole, and those that lost nothing are complete.

use coracle_fuzz::log_dir::Prng;

#[test]
fn random_damage_spares_or_quarantines_and_never_lies() {
    let count = std::env::var("DAMAGED_LOGS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let first = std::env::var("FIRST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + count {
        let mut prng = Prng(seed);
        let mut input: Vec<u8> = (0..80).flat_map(|_| prng.next_u64().to_le_bytes()).collect();
        input.truncate(3 + prng.next_u64() as usize % 300);
        // Most often one place, or a few.
        input[2] &= if seed % 3 == 0 { 7 } else { 1 };
        // The last of these lines names the input that fails.
        println!("seed {seed}");
        coracle_fuzz::log_dir::check(&input);
    }
}
