//! Breadth first through all states that a scenario can get to within its bounds.

use std::boxed::Box;
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::format;
use std::string::String;
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{eprintln, fs};

use super::hash::Quick;
use super::scenario::{Bounds, Scenario};
use super::show;
use super::state::{Action, State, World};

/// How often a long run says where it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);
/// Before the first state there is none.
const NONE: u32 = u32::MAX;

/// How a state was first met: the number of the state before it, and which of those behind that it is.
#[derive(Clone, Copy)]
struct Origin {
    before: u32,
    nth: u32,
}

/// What an exploration went through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) transitions: usize,
    /// Steps from the beginning to the furthest states.
    pub(super) depth: usize,
    /// Whether there is nothing more within the bounds.
    pub(super) is_complete: bool,
    pub(super) replicas: usize,
    /// Steps that the real code has run; all others were looked up.
    pub(super) steps_run: usize,
    elapsed: Duration,
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { states, transitions, depth, replicas, steps_run, elapsed, .. } = self;
        let end = if self.is_complete { "complete" } else { "to be continued" };
        let per_second = (*states as f64 / elapsed.as_secs_f64().max(0.001)) as usize;
        write!(
            f,
            "{states} states, {transitions} transitions, depth {depth}, {replicas} states of replicas, {steps_run} steps run, \
             {per_second} states/s, {} MiB, {:.1} s, {end}",
            resident_mib(),
            elapsed.as_secs_f64(),
        )
    }
}

/// Something that must hold and does not, and the shortest way there.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) what: String,
    pub(super) steps: Vec<String>,
    /// The state before the last step.
    pub(super) state: String,
    pub(super) report: Report,
}

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, after {} steps:", self.what, self.steps.len())?;
        for step in &self.steps {
            writeln!(f, "    \"{step}\",")?;
        }
        writeln!(f, "before the last step:\n{}{}", self.state, self.report)
    }
}

struct Search {
    world: World,
    seen: HashSet<u64, Quick>,
    origins: Vec<Origin>,
    report: Report,
    began: Instant,
    told: Instant,
}

/// Explores a scenario.
///
/// # Errors
/// What is broken, if something is.
pub(super) fn explore(scenario: Scenario, bounds: Bounds) -> Result<Report, Box<Broken>> {
    let mut world = World::new(scenario, bounds);
    let first = world.first();
    let began = Instant::now();
    let search = Search {
        world,
        seen: HashSet::default(),
        origins: Vec::new(),
        report: Report::default(),
        began,
        told: began,
    };
    match first {
        Ok(first) => search.run(first),
        Err(what) => Err(search.broken(what, String::new(), Vec::new())),
    }
}

impl Search {
    fn run(mut self, first: State) -> Result<Report, Box<Broken>> {
        self.seen.insert(first.digest());
        self.origins.push(Origin { before: NONE, nth: 0 });
        let (mut level, mut next) = (Vec::from([(first, 0)]), Vec::new());
        let (mut actions, mut behind) = (Vec::new(), Vec::new());
        while !level.is_empty() && self.report.depth < self.world.bounds.depth {
            for (state, number) in &level {
                actions.clear();
                behind.clear();
                self.world.actions(state, &mut actions);
                for action in &actions {
                    if let Err(what) = self.world.take(state, *action, &mut behind) {
                        return Err(self.trace(&first, *number, what, *action, behind.last()));
                    }
                }
                self.report.transitions += behind.len();
                for (state, nth) in behind.iter().zip(0..) {
                    if self.seen.insert(state.digest()) {
                        next.push((*state, self.origins.len() as u32));
                        self.origins.push(Origin { before: *number, nth });
                    }
                }
                if self.origins.len() >= self.world.bounds.states {
                    self.report.depth += 1;
                    return Ok(self.report());
                }
                self.tell(next.len());
            }
            self.report.depth += usize::from(!next.is_empty());
            core::mem::swap(&mut level, &mut next);
            next.clear();
        }
        self.report.is_complete = level.is_empty();
        Ok(self.report())
    }

    fn report(&self) -> Report {
        Report {
            states: self.origins.len(),
            replicas: self.world.space.replicas_count(),
            steps_run: self.world.space.steps_count(),
            elapsed: self.began.elapsed(),
            ..self.report
        }
    }

    fn tell(&mut self, next_len: usize) {
        if self.origins.len().is_multiple_of(64) && self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            eprintln!("{}: {}; {next_len} states at the next depth", self.world.space.scenario.name, self.report());
        }
    }

    /// The way to what is broken behind the state with this number.
    fn trace(
        &mut self,
        first: &State,
        number: u32,
        what: String,
        action: Action,
        next: Option<&State>,
    ) -> Box<Broken> {
        let mut nths = Vec::new();
        let mut at = self.origins[number as usize];
        while at.before != NONE {
            nths.push(at.nth);
            at = self.origins[at.before as usize];
        }
        let (mut state, mut steps) = (*first, Vec::new());
        for nth in nths.into_iter().rev() {
            let (name, next) = self.nth_behind(&state, nth);
            steps.push(name);
            state = next;
        }
        steps.push(show::step(&self.world.space, &state, action, next));
        let text = show::state(&self.world.space, &state);
        self.broken(what, text, steps)
    }

    fn broken(&self, what: String, state: String, steps: Vec<String>) -> Box<Broken> {
        let what = format!("{}: {what}", self.world.space.scenario.name);
        Box::new(Broken { what, steps, state, report: self.report() })
    }

    /// One of the states behind `state`, and the step that leads there.
    fn nth_behind(&mut self, state: &State, nth: u32) -> (String, State) {
        let (mut actions, mut behind) = (Vec::new(), Vec::new());
        self.world.actions(state, &mut actions);
        for action in actions {
            let taken = self.world.take(state, action, &mut behind);
            taken.expect("nothing is broken on the way to what is");
            if let Some(next) = behind.get(nth as usize) {
                return (show::step(&self.world.space, state, action, Some(next)), *next);
            }
        }
        unreachable!("the state was met on this way");
    }
}

/// Takes the steps of these names from the beginning of a scenario.
///
/// # Errors
/// What one of them breaks.
pub(super) fn replay(scenario: Scenario, bounds: Bounds, steps: &[&str]) -> Result<(), String> {
    let mut world = World::new(scenario, bounds);
    let mut state = world.first()?;
    for step in steps {
        state = world.follow(&state, step)?;
    }
    Ok(())
}

/// What the kernel says this process has in memory.
fn resident_mib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) / 1024
}
