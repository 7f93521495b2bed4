//! The highest rate at which a server still meets a service-level objective, such as a p99 of at most 2 ms.
//!
//! A closed loop shows what the server can do at most; below that, rates are tried in open loops, so that latencies
//! count from when commands were due. Read in this order: [`objective`], [`search`] (pure), then this page, which
//! measures.

pub mod objective;
pub mod search;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::Error;
use crate::load::progress::Progress;
use crate::load::report::Report;
use crate::load::stats::histogram;
use crate::load::timeline::{Point, View};
use crate::load::{self, Outcome, Spec};
use crate::text;
use objective::Slo;
use search::{Found, Miss, PRECISION, WindowResult, search};

/// A window has kept its rate if it answered this share of it.
const RATE_SHARE_MIN: f64 = 0.98;
/// How long the parts of a window are, which progress shows.
const PART: Duration = Duration::from_millis(250);

/// How to search.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is to be met.
    pub slo: Slo,
    /// How many windows each rate gets.
    pub windows_count: usize,
    /// How long a window is.
    pub window: Duration,
}

/// What a search has shown.
#[derive(Debug)]
pub struct Answer {
    /// What was to be met, and how it was measured.
    pub plan: Plan,
    /// The closed loop, which tells where to search.
    pub closed_loop: Report,
    /// The rates.
    pub found: Found,
    /// The last run at the rate that was found.
    pub outcome: Option<Outcome>,
}

/// Searches. `spec` says what is sent; its rate, its length and its windows are those of the plan.
///
/// # Errors
/// Those of [`load::run`].
pub fn run(spec: &Spec, plan: Plan, is_quiet: bool, stop: &AtomicBool) -> Result<Answer, Error> {
    let parts_count = (plan.window.as_secs_f64() / PART.as_secs_f64()).ceil().max(1.0) as u32;
    let base = Spec { requests: None, window: plan.window / parts_count, ..spec.clone() };
    let mut progress = Progress::new("closed loop", Some(plan.window), is_quiet).without_lines();
    let closed = Spec { rate: None, duration: Some(plan.window), ..base.clone() };
    let closed_loop = load::run(&closed, &mut |view| progress.observe(view), stop)?.report();
    progress.say(&format!("closed loop: {}/s; below that:", text::whole(closed_loop.ops_per_s)));
    drop(progress);
    if closed_loop.replies_ok == 0 {
        let example = closed_loop.errors.keys().next().cloned().unwrap_or_default();
        return Err(Error::Usage(format!(
            "no command was answered soundly, so there is nothing to search: {example}"
        )));
    }
    let mut outcomes: Vec<(f64, Outcome)> = Vec::new();
    let found = search(closed_loop.ops_per_s, |rate| {
        let (windows, outcome) = measure(&base, &plan, parts_count, rate, is_quiet, stop)?;
        outcomes.retain(|(other, _)| *other != rate);
        outcomes.push((rate, outcome));
        Ok::<_, Error>(windows)
    })?;
    let outcome = outcomes.into_iter().find(|(rate, _)| Some(*rate) == found.rate).map(|(_, outcome)| outcome);
    Ok(Answer { plan, closed_loop, found, outcome })
}

/// Tries one rate.
fn measure(
    base: &Spec,
    plan: &Plan,
    parts_count: u32,
    rate: f64,
    is_quiet: bool,
    stop: &AtomicBool,
) -> Result<(Vec<WindowResult>, Outcome), Error> {
    let span = plan.window * plan.windows_count as u32;
    // One part more, so that late answers to commands of the last window still fall into a window.
    let spec = Spec { rate: Some(rate), duration: Some(span + base.window), ..base.clone() };
    let label = format!("{}/s", text::whole(rate));
    let mut progress = Progress::new(&format!("{label:>11}"), Some(span), is_quiet).without_lines();
    let mut collector = Collector::new(plan, parts_count as usize, rate);
    let outcome = load::run(
        &spec,
        &mut |view| {
            progress.observe(view);
            collector.take(view);
        },
        stop,
    )?;
    let windows = collector.windows;
    progress.say(&row(plan, rate, &windows));
    Ok((windows, outcome))
}

/// Puts the parts of a run together to windows.
struct Collector<'a> {
    plan: &'a Plan,
    parts_count: usize,
    rate: f64,
    windows: Vec<WindowResult>,
    // Of the window that is not complete.
    parts: Vec<Point>,
    latencies: Histogram<u64>,
    sent_late: Histogram<u64>,
}

impl Collector<'_> {
    fn new(plan: &Plan, parts_count: usize, rate: f64) -> Collector<'_> {
        Collector {
            plan,
            parts_count,
            rate,
            windows: Vec::new(),
            parts: Vec::new(),
            latencies: histogram(),
            sent_late: histogram(),
        }
    }

    fn take(&mut self, view: &View<'_>) {
        let View { point, latencies, sent_late } = *view;
        if point.is_warmup || self.windows.len() >= self.plan.windows_count {
            return;
        }
        self.parts.push(point.clone());
        self.latencies.add(latencies).expect("all have the same bounds");
        if let Some(sent_late) = sent_late {
            self.sent_late.add(sent_late).expect("all have the same bounds");
        }
        if self.parts.len() < self.parts_count {
            return;
        }
        let sum = |read: fn(&Point) -> f64| self.parts.iter().map(read).sum::<f64>();
        let ops_per_s = sum(|part| part.replies_ok as f64) / sum(|part| part.seconds);
        let latency_us: Vec<f64> =
            self.plan.slo.objectives().iter().map(|objective| objective.read(&self.latencies)).collect();
        let is_late = self.plan.slo.objectives().iter().zip(&latency_us).any(|(one, us)| *us > one.bound_us);
        let missed = if sum(|part| part.errors_count as f64) > 0.0 {
            Some(Miss::Errors)
        } else if is_late {
            Some(Miss::Latency)
        } else {
            (ops_per_s < self.rate * RATE_SHARE_MIN).then_some(Miss::Rate)
        };
        let sent_late_p99_us = self.sent_late.value_at_quantile(0.99) as f64 / 1e3;
        self.windows.push(WindowResult { ops_per_s, latency_us, sent_late_p99_us, missed });
        self.parts.clear();
        self.latencies.reset();
        self.sent_late.reset();
    }
}

/// One rate on a line: the first quantile of each window, and what became of them.
fn row(plan: &Plan, rate: f64, windows: &[WindowResult]) -> String {
    let name = plan.slo.objectives().first().map_or("", |objective| &objective.name);
    let mut line = format!("{:>11}/s  {name}", text::whole(rate));
    for window in windows {
        let figure = window.latency_us.first().copied().unwrap_or_default();
        let mark = match window.missed {
            None => ' ',
            Some(Miss::Latency) => '!',
            Some(Miss::Errors) => 'E',
            Some(Miss::Rate) => 'R',
        };
        line.push_str(&format!(" {:>7}{mark}", text::time(figure)));
    }
    let met_count = windows.iter().filter(|window| window.missed.is_none()).count();
    line.push_str(&format!("  {met_count} of {} met", windows.len()));
    line
}

impl Answer {
    /// What the reader should know before believing the result.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let Answer { plan, found, outcome, .. } = self;
        if found.is_cut_short {
            remarks.push("the search was cut short: the machine is too noisy for a closer answer".to_owned());
        }
        if let Some(rate) = found.rate {
            let replies = rate * plan.window.as_secs_f64();
            for objective in plan.slo.objectives().iter().filter(|one| replies < one.replies_min() as f64) {
                let needed = objective.replies_min() as f64 / rate;
                let name = &objective.name;
                remarks.push(format!("a window holds too few answers for {name}: give -d {:.0}", needed.ceil()));
            }
        }
        let bound_us = plan.slo.objectives().iter().map(|one| one.bound_us).fold(f64::INFINITY, f64::min);
        let missed = found.trials.iter().flat_map(|trial| &trial.windows).filter(|window| window.missed.is_some());
        let (missed_count, late_count) = missed.fold((0, 0), |(missed, late), window| {
            (missed + 1, late + u32::from(window.sent_late_p99_us > bound_us / 2.0))
        });
        if late_count > 0 {
            remarks.push(format!(
                "in {late_count} of {missed_count} windows that missed, the generator itself sent 1 % of the commands \
                 late by\nhalf the bound or more: the server may do better (see --cpus and --threads)"
            ));
        }
        if outcome.as_ref().is_some_and(|outcome| outcome.stats.missing > 0) {
            remarks.push("reads found nothing: write the keys first with --fill".to_owned());
        }
        remarks
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { plan, closed_loop, found, outcome } = self;
        match found.rate {
            Some(rate) => writeln!(f, "{}: met up to {} commands/s", plan.slo, text::whole(rate))?,
            None => writeln!(f, "{}: met at no rate that was tried", plan.slo)?,
        }
        match (found.every_window_met_up_to, found.no_window_met_from) {
            (Some(sure), Some(hopeless)) => writeln!(
                f,
                "  every window met it up to {}/s, none from {}/s on",
                text::whole(sure),
                text::whole(hopeless)
            )?,
            (Some(sure), None) => writeln!(f, "  every window met it up to {}/s", text::whole(sure))?,
            (None, Some(hopeless)) => writeln!(f, "  no window met it from {}/s on", text::whole(hopeless))?,
            (None, None) => {}
        }
        writeln!(
            f,
            "  {} windows of {} s a rate, rates within {:.0} %; the closed loop reached {}/s\n",
            plan.windows_count,
            plan.window.as_secs_f64(),
            100.0 * PRECISION,
            text::whole(closed_loop.ops_per_s)
        )?;
        for trial in &found.trials {
            let mark = if Some(trial.rate) == found.rate { '>' } else { ' ' };
            writeln!(f, "{mark}{}", row(plan, trial.rate, &trial.windows))?;
        }
        let misses = found.trials.iter().flat_map(|trial| &trial.windows).any(|window| window.missed.is_some());
        if misses {
            writeln!(f, "  (! above the bound, E errors, R the rate was not kept)")?;
        }
        for remark in self.remarks() {
            writeln!(f, "{remark}")?;
        }
        match outcome {
            Some(outcome) => write!(f, "\nAt that rate:\n{}", outcome.report()),
            None => write!(f, "\nThe closed loop:\n{closed_loop}"),
        }
    }
}

/// An answer as JSON: bounds and figures in µs, rates in commands a second.
#[derive(Serialize)]
pub struct Document<'a> {
    objectives: Vec<ObjectiveDocument<'a>>,
    windows_per_rate: usize,
    window_s: f64,
    #[serde(flatten)]
    found: &'a Found,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct ObjectiveDocument<'a> {
    quantile: &'a str,
    bound_us: f64,
}

impl<'a> From<&'a Answer> for Document<'a> {
    fn from(answer: &'a Answer) -> Self {
        let objective =
            |one: &'a objective::Objective| ObjectiveDocument { quantile: &one.name, bound_us: one.bound_us };
        Document {
            objectives: answer.plan.slo.objectives().iter().map(objective).collect(),
            windows_per_rate: answer.plan.windows_count,
            window_s: answer.plan.window.as_secs_f64(),
            found: &answer.found,
            remarks: answer.remarks(),
        }
    }
}
