//! Latency by percentile, on an axis on which each further nine takes as much room as the one before.

use hdrhistogram::Histogram;

use crate::plot::panel::{AXIS_INK, Entry, Frame, note, width};
use crate::plot::scale::Scale;
use crate::plot::svg::{Anchor, Stroke, Svg};
use crate::text;

/// How many points a curve has for each halving of the distance to 100 %.
const POINTS_PER_HALF: u32 = 16;
/// Room above the curves for what is written there, as a multiple of the longest latency.
const HEADROOM: f64 = 1.5;
/// Percentiles that the first curve is marked at.
const MARKED: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// A distribution to draw.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it is called.
    pub name: String,
    /// In ns. Not empty.
    pub latencies: Histogram<u64>,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Whether the axis must reach down to it.
    pub sets_scale: bool,
}

/// How many nines a quantile has: 1 for 90 %, 2 for 99 %.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-12).log10()
}

/// How many nines so many figures can tell of.
fn nines_of_count(count: u64) -> f64 {
    (count.max(10) as f64).log10()
}

/// The places of a curve: nines and µs.
fn points(curve: &Curve) -> Vec<(f64, f64)> {
    let last = nines_of_count(curve.latencies.len());
    let steps = curve.latencies.iter_quantiles(POINTS_PER_HALF);
    steps.map(|step| (nines(step.quantile()).min(last), step.value_iterated_to() as f64 / 1e3)).collect()
}

/// What is written below the axis, up to that many nines.
fn ticks(nines_max: f64) -> Vec<(f64, String)> {
    let name = |count: usize| match count {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        count => format!("99.{} %", "9".repeat(count - 2)),
    };
    let mut ticks: Vec<(f64, String)> = (0..=nines_max as usize).map(|count| (count as f64, name(count))).collect();
    ticks.insert(1, (nines(0.5), "50 %".to_owned()));
    ticks
}

/// Draws the panel. The first curve is drawn above the others and has its figures written beside it.
pub fn draw(svg: &mut Svg, frame: &Frame, curves: &[Curve]) {
    let drawn: Vec<Vec<(f64, f64)>> = curves.iter().map(points).collect();
    let nines_max = drawn.iter().flatten().map(|(nines, _)| *nines).fold(1.0, f64::max);
    let x = Scale::exact(0.0, nines_max, frame.left, frame.right);
    let of_scale = curves.iter().zip(&drawn).filter(|(curve, _)| curve.sets_scale).flat_map(|(_, points)| points);
    let us_max = drawn.iter().flatten().map(|(_, us)| *us).fold(1.0, f64::max);
    let y = Scale::fitting(of_scale.map(|(_, us)| *us).chain([us_max * HEADROOM]), frame.bottom, frame.top);
    let entries: Vec<Entry<'_>> =
        curves.iter().map(|curve| Entry { name: &curve.name, stroke: curve.stroke }).collect();
    frame.head(svg, "Latency by percentile", if entries.len() > 1 { &entries } else { &[] });
    frame.left_axis(svg, &y, AXIS_INK, text::tick_time);
    let ticks: Vec<(f64, String)> = ticks(nines_max).into_iter().map(|(nines, text)| (x.at(nines), text)).collect();
    frame.bottom_axis(svg, &ticks, "commands that took no longer");
    frame.border(svg);
    for (curve, points) in curves.iter().zip(&drawn).rev() {
        let shown = points.iter().filter(|(_, us)| *us >= y.min);
        let places: Vec<(f64, f64)> = shown.map(|(nines, us)| (x.at(*nines), y.at(*us))).collect();
        svg.polyline(&places, curve.stroke);
    }
    let Some(first) = curves.first() else { return };
    for (name, quantile) in MARKED.into_iter().filter(|(_, quantile)| nines(*quantile) < nines_max - 0.3) {
        let us = first.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let place = (x.at(nines(quantile)), y.at(us));
        svg.dot(place, 4.5, first.stroke.color);
        let label = format!("{name} {}", text::time(us));
        let font = note(first.stroke.color);
        // Not over the figures of the axis.
        if place.0 - 9.0 - width(&label, font.size * 1.1) < frame.left {
            svg.text((place.0 + 10.0, place.1 + 16.0), Anchor::Start, font, true, &label);
        } else {
            svg.text((place.0 - 9.0, place.1 - 9.0), Anchor::End, font, true, &label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::stats::histogram;

    #[test]
    fn each_nine_takes_the_same_room() {
        assert_eq!(nines(0.0), 0.0);
        assert!((nines(0.9) - 1.0).abs() < 1e-9 && (nines(0.999) - 3.0).abs() < 1e-9);
        let names: Vec<String> = ticks(4.7).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn a_curve_rises_and_ends_where_its_figures_do() {
        let mut latencies = histogram();
        (1..=1_000u64).for_each(|us| latencies.record(us * 1_000).unwrap());
        let stroke = Stroke { color: "#000000", width: 1.0, dashes: "" };
        let points = points(&Curve { name: "x".to_owned(), latencies, stroke, sets_scale: true });
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1), "{points:?}");
        let (last, longest) = points[points.len() - 1];
        assert!((last - 3.0).abs() < 1e-9, "a thousand figures tell of three nines");
        assert!((longest - 1_000.0).abs() < 2.0);
        let at_90 = points.iter().find(|(nines, _)| *nines >= 1.0).unwrap();
        assert!((at_90.1 - 900.0).abs() < 12.0, "{at_90:?}");
    }
}
