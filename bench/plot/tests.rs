//! Pictures of runs that never were.

use std::time::Duration;

use super::*;
use crate::load::mix::Kind;
use crate::load::report::Report;
use crate::load::stats::Stats;
use crate::load::timeline::Point;
use crate::slo::search::{Found, Miss, Trial, WindowResult};
use crate::slo::{Answer, Plan};

fn outcome() -> Outcome {
    let mut stats = Stats::new();
    for idx in 1..=20_000u64 {
        // A tail that grows with each nine.
        let us = 100 + 20_000_000 / (20_100 - idx);
        stats.record(if idx % 3 == 0 { Kind::Set } else { Kind::Get }, us * 1_000);
        stats.record_since_sent(us * 500);
        stats.record_sent_late(20_000 + idx);
    }
    let point = |idx: u32| Point {
        start_s: f64::from(idx),
        seconds: 1.0,
        is_warmup: false,
        replies_ok: 1_000,
        ops_per_s: 1_000.0 + f64::from(idx % 5) * 10.0,
        errors_count: u64::from(idx == 4),
        p50_us: 1_000.0,
        p99_us: 2_000.0 * f64::from(1 + idx % 3),
        p999_us: 9_000.0,
        max_us: 10_000.0,
        sent_late_p99_us: None,
    };
    Outcome { stats, timeline: (0..20).map(point).collect() }
}

fn answer() -> Answer {
    let window = |us: f64| WindowResult {
        ops_per_s: 1_000.0,
        latency_us: vec![us],
        sent_late_p99_us: 0.0,
        missed: (us > 2_000.0).then_some(Miss::Latency),
    };
    let trial = |rate: f64, figures: [f64; 3]| Trial { rate, windows: figures.map(window).to_vec(), tries_count: 1 };
    let trials = vec![
        trial(500.0, [300.0, 350.0, 320.0]),
        trial(1_000.0, [900.0, 2_500.0, 800.0]),
        trial(1_050.0, [9e3, 8e3, 9e3]),
    ];
    let found = Found {
        rate: Some(1_000.0),
        every_window_met_up_to: Some(500.0),
        no_window_met_from: Some(1_050.0),
        is_cut_short: false,
        trials,
    };
    let plan = Plan { slo: "p99=2ms".parse().unwrap(), windows_count: 3, window: Duration::from_secs(2) };
    let closed_loop = Report::of(&Stats::new());
    Answer { plan, closed_loop, found, outcome: None }
}

/// The elements of a picture, by their names.
fn elements_count(svg: &str, name: &str) -> usize {
    svg.matches(&format!("<{name} ")).count()
}

#[test]
fn a_picture_shows_what_there_is() {
    let (outcome, answer) = (outcome(), answer());
    let run = draw("title & more", "subtitle", Some(&outcome), None);
    for text in ["title &amp; more", "99.99 %", "p99.9 ", "since sent", "sent late", "set", "errors", "seconds"] {
        assert!(run.contains(text), "{text}");
    }
    assert!(!run.contains("NaN") && !run.contains("inf"), "every place is a number");
    let search = draw("t", "s", Some(&outcome), Some(&answer));
    assert!(search.contains("p99 &lt;= 2.00 ms") && search.contains("1,000/s"));
    assert_eq!(elements_count(&search, "circle") - elements_count(&run, "circle"), 5, "a dot per window that met");
    let nothing = Outcome { stats: Stats::new(), timeline: Vec::new() };
    assert!(!draw("t", "s", Some(&nothing), None).contains("NaN"));
}

#[test]
fn every_place_lies_on_the_page() {
    let svg = draw("t", "s", Some(&outcome()), Some(&answer()));
    let height: f64 = svg.split("height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    let attribute = |name: &str, max: f64| {
        for number in svg.split(&format!(" {name}=\"")).skip(1) {
            let number: f64 = number.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=max).contains(&number), "{name} {number}");
        }
    };
    attribute("x", WIDTH);
    attribute("cx", WIDTH);
    attribute("y", height);
    attribute("cy", height);
}

#[test]
fn a_png_is_the_svg_with_its_text_drawn() {
    let png = render_png(&draw("title", "subtitle", Some(&outcome()), None)).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    let pixels = Pixmap::decode_png(&png).unwrap();
    assert_eq!(pixels.width(), 2_000);
    // Where the title stands, there is ink, and beside it there is none.
    let dark_in = |xs: std::ops::Range<u32>| {
        let dark = |x: u32, y: u32| pixels.pixel(x, y).is_some_and(|pixel| pixel.red() < 100);
        xs.flat_map(|x| (56..96).map(move |y| (x, y))).filter(|(x, y)| dark(*x, *y)).count()
    };
    assert!(dark_in(160..300) > 200, "{}", dark_in(160..300));
    assert_eq!(dark_in(1_000..1_900), 0);
}

#[test]
fn only_svg_and_png_are_drawn() {
    let target: Target = "a/b.PNG".parse().unwrap();
    assert_eq!((target.path(), target.format), (Path::new("a/b.PNG"), Format::Png));
    assert_eq!("b.svg".parse::<Target>().unwrap().format, Format::Svg);
    assert!("b.jpg".parse::<Target>().unwrap_err().contains(".svg"));
}
