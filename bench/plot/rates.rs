//! What a search has tried: the latency of every window at every rate.

use crate::plot::panel::{AXIS_INK, BLUE, Entry, Frame, RED, note};
use crate::plot::scale::Scale;
use crate::plot::svg::{Anchor, Stroke, Svg};
use crate::slo::Answer;
use crate::text;

const MET: Stroke = Stroke { color: BLUE, width: 5.0, dashes: "" };
const MISSED: Stroke = Stroke { color: RED, width: 2.0, dashes: "" };
const BOUND: Stroke = Stroke { color: RED, width: 1.5, dashes: "6 5" };
const FOUND: Stroke = Stroke { color: BLUE, width: 1.5, dashes: "6 5" };
const CROSS_PX: f64 = 4.0;

/// Draws the panel, for the first of the bounds.
pub fn draw(svg: &mut Svg, frame: &Frame, answer: &Answer) {
    let Some(objective) = answer.plan.slo.objectives().first() else { return };
    let windows = answer.found.trials.iter().flat_map(|trial| {
        trial.windows.iter().filter_map(|window| Some((trial.rate, *window.latency_us.first()?, window.missed)))
    });
    let windows: Vec<_> = windows.collect();
    // Rates are halved again and again, so that a linear axis would show few of them.
    let x = Scale::fitting(windows.iter().map(|(rate, ..)| *rate), frame.left, frame.right);
    let figures = windows.iter().map(|(_, us, _)| *us).chain([objective.bound_us]);
    let y = Scale::fitting(figures, frame.bottom, frame.top);
    let title = format!("{} at each rate that was tried", objective.name);
    let entries = [Entry { name: "window that met it", stroke: MET }, Entry { name: "missed", stroke: MISSED }];
    frame.head(svg, &title, &entries);
    frame.left_axis(svg, &y, AXIS_INK, text::tick_time);
    let ticks: Vec<(f64, String)> = x.ticks().into_iter().map(|tick| (x.at(tick), text::short(tick))).collect();
    frame.bottom_axis(svg, &ticks, "commands/s");
    frame.border(svg);
    let bound_y = y.at(objective.bound_us);
    svg.line((frame.left, bound_y), (frame.right, bound_y), BOUND);
    let label = objective.to_string();
    svg.text((frame.right - 8.0, bound_y - 7.0), Anchor::End, note(RED), true, &label);
    if let Some(rate) = answer.found.rate {
        svg.line((x.at(rate), frame.top), (x.at(rate), frame.bottom), FOUND);
    }
    for (rate, us, missed) in &windows {
        let (at_x, at_y) = (x.at(*rate), y.at(*us));
        if missed.is_none() {
            svg.dot((at_x, at_y), 5.0, BLUE);
        } else {
            for slope in [-CROSS_PX, CROSS_PX] {
                svg.line((at_x - CROSS_PX, at_y - slope), (at_x + CROSS_PX, at_y + slope), MISSED);
            }
        }
    }
    if let Some(rate) = answer.found.rate {
        let label = format!("{}/s", text::whole(rate));
        let is_left = x.at(rate) < (frame.left + frame.right) / 2.0;
        let (shift, anchor) = if is_left { (8.0, Anchor::Start) } else { (-8.0, Anchor::End) };
        svg.text((x.at(rate) + shift, frame.top + 14.0), anchor, note(BLUE), true, &label);
    }
}
