//! What came out, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::compare::table::align;
use crate::disturb::Options;
use crate::disturb::background::{LongestTurn, Work};
use crate::disturb::scenes::Scene;
use crate::disturb::steady::Window;
use crate::load::report::Latency;
use crate::text;

/// What is aimed at: quantiles at most so many times as long, and no turn longer, in µs.
const RATIO_MAX: f64 = 1.5;
const TURN_US_MAX: u64 = 2_000;
/// A generator that sends 1 % later than this share of the p99 is worth a word.
const LATE_SHARE: f64 = 0.5;

/// One scene.
#[derive(Clone, Debug, Serialize)]
pub struct SceneReport {
    /// Which one.
    pub scene: Scene,
    /// Of how many nodes its cluster was.
    pub nodes_count: usize,
    /// What has disturbed.
    pub what: String,
    /// Windows without the disturbance.
    pub without: Vec<Window>,
    /// The window with it.
    pub with: Window,
    /// What the nodes did in the background meanwhile.
    pub work: Work,
    /// The longest turn meanwhile.
    pub turn: LongestTurn,
    /// The longest turn in the windows without.
    pub turn_without: LongestTurn,
}

impl SceneReport {
    /// How many commands failed.
    pub fn errors_count(&self) -> u64 {
        self.without.iter().chain([&self.with]).map(|window| window.errors_count).sum()
    }

    /// How many times as long a quantile is as without, by the mean of the windows without.
    fn ratio(&self, quantile: fn(&Latency) -> f64) -> f64 {
        let without = self.without.iter().map(|window| quantile(&window.latency)).sum::<f64>();
        let mean = without / self.without.len().max(1) as f64;
        if mean > 0.0 { quantile(&self.with.latency) / mean } else { 0.0 }
    }
}

/// The table of all scenes, and what to know of each.
pub fn render(options: &Options, reports: &[SceneReport]) -> String {
    let mut text = format!(
        "steady load: open loop at {:.0} % of a closed one, 50 % reads, {} connections, {} keys, values of {} bytes\n\n",
        100.0 * options.load_share,
        options.connections,
        text::whole(f64::from(options.keys_count)),
        options.value_bytes
    );
    let heads = ["scene", "window", "rate/s", "p50", "p99", "p99.9", "max", "p99 x", "p99.9 x", "longest turn"];
    let mut rows = vec![heads.map(str::to_owned)];
    for report in reports {
        let last = report.without.len().saturating_sub(1);
        for (idx, window) in report.without.iter().enumerate() {
            let turn = if idx == last { format!("{} us", report.turn_without.us) } else { String::new() };
            rows.push(row(report, "without", window, [String::new(), String::new(), turn]));
        }
        let ratios = [report.ratio(|latency| latency.p99_us), report.ratio(|latency| latency.p999_us)];
        let [p99, p999] = ratios.map(|ratio| format!("{ratio:.2}"));
        rows.push(row(report, "with", &report.with, [p99, p999, format!("{} us", report.turn.us)]));
    }
    text.push_str(&align(&rows, 2));
    writeln!(text, "latencies in us, from the time a command was due; x: with over the mean of without")
        .expect(TAKES);
    for report in reports {
        remarks(report, &mut text);
    }
    text
}

const TAKES: &str = "a String takes all";

fn row(report: &SceneReport, name: &str, window: &Window, tail: [String; 3]) -> [String; 10] {
    let Latency { p50_us, p99_us, p999_us, max_us, .. } = &window.latency;
    let us = |figure: &f64| format!("{figure:.0}");
    let [p99_ratio, p999_ratio, turn] = tail;
    [
        report.scene.to_string(),
        name.to_owned(),
        text::whole(window.rate),
        us(p50_us),
        us(p99_us),
        us(p999_us),
        us(max_us),
        p99_ratio,
        p999_ratio,
        turn,
    ]
}

fn remarks(report: &SceneReport, text: &mut String) {
    let SceneReport { scene, nodes_count, what, work, turn, turn_without, with, .. } = report;
    let nodes = if *nodes_count == 1 { "node" } else { "nodes" };
    writeln!(text, "\n{scene}: {nodes_count} {nodes}; {what}; in the background: {}", work.text()).expect(TAKES);
    writeln!(text, "  longest turn {} us ({})", turn.us, turn.busy_with).expect(TAKES);
    writeln!(text, "  without {} us ({})", turn_without.us, turn_without.busy_with).expect(TAKES);
    let is_met =
        report.ratio(|latency| latency.p99_us) <= RATIO_MAX && report.ratio(|latency| latency.p999_us) <= RATIO_MAX;
    let said = |is_met: bool| if is_met { "met" } else { "missed" };
    let (ratio, turns) = (said(is_met), said(turn.us <= TURN_US_MAX));
    writeln!(text, "  aim: p99 and p99.9 at most {RATIO_MAX} times: {ratio}; no turn above 2 ms: {turns}")
        .expect(TAKES);
    if with.sent_late_p99_us > LATE_SHARE * with.latency.p99_us {
        let late = text::time(with.sent_late_p99_us);
        writeln!(text, "  the generator itself sent 1 % of the commands {late} late or more").expect(TAKES);
    }
    for window in report.without.iter().chain([with]) {
        if window.unsent > 0 {
            writeln!(text, "  {} commands were due and never sent", window.unsent).expect(TAKES);
        }
        if let Some(error) = &window.error_text {
            writeln!(text, "  {} errors, such as: {error}", window.errors_count).expect(TAKES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn window(p99_us: f64, p999_us: f64) -> Window {
        Window {
            rate: 10_000.0,
            seconds: 1.0,
            latency: Latency { p99_us, p999_us, ..Latency::default() },
            sent_late_p99_us: 1.0,
            unsent: 0,
            errors_count: 0,
            error_text: None,
        }
    }

    #[test]
    fn ratios_are_to_the_mean_of_what_was_without() {
        let mut report = SceneReport {
            scene: Scene::Tag,
            nodes_count: 1,
            what: "as it is".to_owned(),
            without: vec![window(100.0, 150.0), window(300.0, 250.0)],
            with: window(280.0, 300.0),
            work: Work::default(),
            turn: LongestTurn { us: 900, busy_with: "input 800 us".to_owned() },
            turn_without: LongestTurn { us: 700, busy_with: "log 600 us".to_owned() },
        };
        let options = Options {
            coracle: PathBuf::new(),
            dir: PathBuf::new(),
            scenes: vec![Scene::Tag],
            seconds: 1.0,
            load_share: 0.5,
            connections: 50,
            keys_count: 1_000,
            value_bytes: 8,
            flushed_keys_count: 1,
            tag_keys_count: 1,
            tag_keys_per_s: 1,
            away_bytes: 1,
            client_cpu: None,
        };
        let text = render(&options, std::slice::from_ref(&report));
        for said in ["1.40", "1.50", "900 us", "700 us", "at most 1.5 times: met; no turn above 2 ms: met"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        (report.with, report.turn.us) = (window(310.0, 300.0), 2_001);
        (report.with.errors_count, report.with.error_text) = (2, Some("lost".to_owned()));
        let text = render(&options, std::slice::from_ref(&report));
        for said in ["at most 1.5 times: missed; no turn above 2 ms: missed", "2 errors, such as: lost"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert_eq!(report.errors_count(), 2);
    }
}
