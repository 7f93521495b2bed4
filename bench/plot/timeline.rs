//! Throughput and p99 over time.

use crate::load::timeline::Point;
use crate::plot::panel::{BLUE, Entry, Frame, ORANGE, RED};
use crate::plot::scale::Scale;
use crate::plot::svg::{Stroke, Svg};
use crate::text;

const RATE: Stroke = Stroke { color: BLUE, width: 2.0, dashes: "" };
const P99: Stroke = Stroke { color: ORANGE, width: 2.0, dashes: "" };
const ERRORS: Stroke = Stroke { color: RED, width: 3.0, dashes: "" };
/// Windows up to this number get a dot each.
const DOTS_MAX: usize = 80;

/// Draws the panel.
pub fn draw(svg: &mut Svg, frame: &Frame, timeline: &[Point]) {
    let end_s = timeline.last().map_or(1.0, |point| point.start_s + point.seconds);
    let x = Scale::exact(0.0, end_s, frame.left, frame.right);
    let rate_max = timeline.iter().map(|point| point.ops_per_s).fold(0.0, f64::max);
    let rates = Scale::linear(rate_max, frame.bottom, frame.top);
    let p99s = Scale::fitting(timeline.iter().map(|point| point.p99_us), frame.bottom, frame.top);
    let has_errors = timeline.iter().any(|point| point.errors_count > 0);
    let mut entries = vec![Entry { name: "commands/s", stroke: RATE }, Entry { name: "p99", stroke: P99 }];
    if has_errors {
        entries.push(Entry { name: "errors", stroke: ERRORS });
    }
    frame.head(svg, "Throughput and p99 over time", &entries);
    frame.left_axis(svg, &rates, BLUE, text::short);
    frame.right_axis(svg, &p99s, ORANGE, text::tick_time);
    let ticks: Vec<(f64, String)> = x.ticks().into_iter().map(|tick| (x.at(tick), text::short(tick))).collect();
    frame.bottom_axis(svg, &ticks, "seconds");
    let middle = |point: &Point| x.at(point.start_s + point.seconds / 2.0);
    let of_rates: Vec<(f64, f64)> = timeline.iter().map(|point| (middle(point), rates.at(point.ops_per_s))).collect();
    svg.area(&of_rates, frame.bottom, BLUE, 0.10);
    svg.polyline(&of_rates, RATE);
    let of_p99s: Vec<(f64, f64)> = timeline.iter().map(|point| (middle(point), p99s.at(point.p99_us))).collect();
    svg.polyline(&of_p99s, P99);
    if of_p99s.len() <= DOTS_MAX {
        of_p99s.iter().for_each(|place| svg.dot(*place, 3.0, ORANGE));
    }
    frame.border(svg);
    for point in timeline.iter().filter(|point| point.errors_count > 0) {
        let (from, to) = (x.at(point.start_s), x.at(point.start_s + point.seconds));
        svg.line((from, frame.bottom), (to, frame.bottom), ERRORS);
    }
}
