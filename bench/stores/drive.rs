//! Threads that use a store within this process: each does one operation after the other (closed loop).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::load::keys::{KeyChooser, OwnedKeys, key_name};
use crate::load::mix::{Kind, Mix};
use crate::load::rng::{self, Rng};
use crate::load::values::Values;
use crate::stores::engine::{Engine, Nothing};
use crate::stores::measure::{Counted, Subject};
use crate::stores::plan::{Distribution, Phase, Plan, Shares};

/// How often whoever waits for the threads looks how far they are.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// How many operations a thread does between two looks at the clock's deadline and the signals.
const OPS_PER_LOOK: u64 = 16;
/// How many operations tell what the load itself costs.
const CALIBRATION_OPS: u64 = 20_000;

/// A store within this process, as it is measured.
pub struct InProcess<'a, E> {
    plan: &'a Plan,
    engine: E,
    stop: &'a AtomicBool,
    phases_run: u64,
}

impl<'a, E: Engine> InProcess<'a, E> {
    /// Of a store that is open.
    pub fn new(plan: &'a Plan, engine: E, stop: &'a AtomicBool) -> InProcess<'a, E> {
        InProcess { plan, engine, stop, phases_run: 0 }
    }
}

impl<E: Engine> Subject for InProcess<'_, E> {
    fn run(&mut self, phase: Phase, on_progress: &mut dyn FnMut(u64)) -> Result<Counted, Error> {
        // Each phase draws keys and tags of its own.
        self.phases_run += 1;
        run(self.plan, &self.engine, phase, self.phases_run, self.stop, on_progress)
    }

    fn pids(&self) -> Vec<u32> {
        vec![std::process::id()]
    }

    fn reads_from_disk(&self) -> Option<u64> {
        self.engine.reads_from_disk()
    }
}

/// Carries a phase out with one thread per client.
///
/// # Errors
/// Those of the store; [`Error::Interrupted`] if a signal arrives.
pub fn run<E: Engine>(
    plan: &Plan,
    engine: &E,
    phase: Phase,
    seed: u64,
    stop: &AtomicBool,
    on_progress: &mut dyn FnMut(u64),
) -> Result<Counted, Error> {
    let (done, failed, running) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU32::new(plan.clients as u32));
    // One for all: it takes several MiB.
    let values = plan.values();
    let ends_at = (phase != Phase::Load).then(|| Instant::now() + Duration::from_secs_f64(plan.seconds));
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..plan.clients)
            .map(|thread_idx| {
                let client = Client::new(plan, phase, values.clone(), thread_idx, seed);
                let (done, failed, running) = (&done, &failed, &running);
                scope.spawn(move || {
                    let is_over = || {
                        let is_late = ends_at.is_some_and(|end| Instant::now() >= end);
                        is_late || failed.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed)
                    };
                    let counted = client.run(engine, &is_over, done);
                    failed.fetch_or(counted.is_err(), Ordering::Relaxed);
                    running.fetch_sub(1, Ordering::Relaxed);
                    counted
                })
            })
            .collect();
        while running.load(Ordering::Relaxed) > 0 && !handles.iter().all(|handle| handle.is_finished()) {
            std::thread::sleep(WATCH_INTERVAL);
            on_progress(done.load(Ordering::Relaxed));
        }
        let mut all = Counted::new();
        for handle in handles {
            match handle.join() {
                Ok(counted) => all.merge(counted?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(all) }
    })
}

/// How long making keys and values and checking answers takes per operation, in µs: half reads, half writes, by one thread.
///
/// # Errors
/// None that a store which keeps nothing could give.
pub fn cost_of_load(plan: &Plan) -> Result<f64, Error> {
    // With one key every answer is the right one, and is looked at to its end.
    let plan = Plan { keys_count: 1, clients: 1, ..plan.clone() };
    let phase = Phase::Mix(Shares { reads: 50 }, Distribution::Zipfian);
    let mut value = Vec::new();
    let values = plan.values();
    values.append(0, 1, plan.value_bytes, &mut value);
    let (engine, done) = (Nothing { value }, AtomicU64::new(0));
    let client = Client::new(&plan, phase, values, 0, 0);
    let started = Instant::now();
    let counted = client.run(&engine, &|| done.load(Ordering::Relaxed) >= CALIBRATION_OPS, &done)?;
    let ops = counted.reads.len() + counted.writes.len();
    Ok(started.elapsed().as_secs_f64() * 1e6 / ops.max(1) as f64)
}

/// One thread.
struct Client {
    values: Values,
    mix: Mix,
    keys: KeyChooser,
    rng: Rng,
    value_bytes: usize,
}

impl Client {
    fn new(plan: &Plan, phase: Phase, values: Values, thread_idx: usize, seed: u64) -> Client {
        let keys = OwnedKeys::all(plan.keys_count);
        Client {
            values,
            mix: phase.mix(),
            keys: KeyChooser::new(keys, phase.key_order(), thread_idx as u32, plan.clients as u32),
            rng: Rng::new(rng::mix((seed << 32) + thread_idx as u64)),
            value_bytes: plan.value_bytes,
        }
    }

    fn run<E: Engine>(mut self, engine: &E, is_over: &dyn Fn() -> bool, done: &AtomicU64) -> Result<Counted, Error> {
        let (mut counted, mut value) = (Counted::new(), Vec::with_capacity(self.value_bytes));
        let begun = Instant::now();
        loop {
            for ops in 0..OPS_PER_LOOK {
                let kind = self.mix.choose(&mut self.rng);
                let Some(key) = self.keys.next(&mut self.rng) else {
                    done.fetch_add(ops, Ordering::Relaxed);
                    counted.took = begun.elapsed();
                    return Ok(counted);
                };
                self.step(engine, kind, key, &mut value, &mut counted)?;
            }
            done.fetch_add(OPS_PER_LOOK, Ordering::Relaxed);
            if is_over() {
                counted.took = begun.elapsed();
                return Ok(counted);
            }
        }
    }

    fn step<E: Engine>(
        &mut self,
        engine: &E,
        kind: Kind,
        key: u32,
        value: &mut Vec<u8>,
        counted: &mut Counted,
    ) -> Result<(), Error> {
        let name = key_name(key);
        if kind == Kind::Set {
            value.clear();
            self.values.append(key, self.rng.bits() as u32, self.value_bytes, value);
            let started = Instant::now();
            engine.write(&name, value)?;
            counted.writes.saturating_record(started.elapsed().as_nanos() as u64);
            return Ok(());
        }
        let started = Instant::now();
        let mut took = Duration::ZERO;
        let found = engine.read(&name, |value| {
            took = started.elapsed();
            self.values.check(key, value)
        })?;
        match found {
            Some(Ok(())) => counted.reads.saturating_record(took.as_nanos() as u64),
            Some(Err(what)) => counted.fail(what),
            None => counted.fail("a read found nothing, though every key was written"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;
    use crate::stores::plan::tests::plan;

    /// Keeps everything, and loses or mixes up what it is told to.
    #[derive(Default)]
    struct Map {
        rows: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
        lost: Option<Vec<u8>>,
    }

    impl Engine for Map {
        fn write(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
            self.rows.lock().unwrap().insert(key.to_vec(), value.to_vec());
            Ok(())
        }

        fn read<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
            let rows = self.rows.lock().unwrap();
            Ok(rows.get(key).filter(|_| self.lost.as_deref() != Some(key)).map(|value| look(value)))
        }

        fn reads_from_disk(&self) -> Option<u64> {
            None
        }
    }

    fn run_phase(engine: &Map, phase: Phase) -> Counted {
        let plan = Plan { seconds: 0.05, ..plan() };
        run(&plan, engine, phase, 1, &AtomicBool::new(false), &mut |_| {}).unwrap()
    }

    fn half() -> Phase {
        Phase::Mix(Shares { reads: 50 }, Distribution::Uniform)
    }

    #[test]
    fn a_load_writes_every_key_once_and_a_mix_finds_them() {
        let map = Map::default();
        let loaded = run_phase(&map, Phase::Load);
        assert_eq!((loaded.writes.len(), loaded.reads.len(), map.rows.lock().unwrap().len()), (1_000, 0, 1_000));
        let mixed = run_phase(&map, half());
        assert_eq!(mixed.errors_count, 0, "{:?}", mixed.error_text);
        let share = mixed.reads.len() as f64 / (mixed.reads.len() + mixed.writes.len()) as f64;
        assert!((0.4..0.6).contains(&share), "{share}");
        assert!(mixed.took >= Duration::from_millis(50));
    }

    #[test]
    fn what_is_lost_or_another_keys_is_an_error() {
        let mut map = Map::default();
        run_phase(&map, Phase::Load);
        map.lost = Some(key_name(7).to_vec());
        let reads = Phase::Mix(Shares { reads: 100 }, Distribution::Uniform);
        let counted = run_phase(&map, reads);
        assert!(counted.errors_count > 0 && counted.error_text.unwrap().contains("found nothing"));
        map.lost = None;
        let value = map.rows.lock().unwrap()[&key_name(8).to_vec()].clone();
        map.rows.lock().unwrap().insert(key_name(9).to_vec(), value);
        let counted = run_phase(&map, reads);
        assert!(counted.errors_count > 0 && counted.error_text.unwrap().contains("another key"));
    }

    #[test]
    fn a_signal_ends_a_phase() {
        let stop = AtomicBool::new(true);
        let result = run(&plan(), &Map::default(), half(), 1, &stop, &mut |_| {});
        assert!(matches!(result, Err(Error::Interrupted)));
    }

    #[test]
    fn the_load_itself_has_a_cost() {
        let cost = cost_of_load(&plan()).unwrap();
        assert!((0.01..1_000.0).contains(&cost), "{cost}");
    }
}
