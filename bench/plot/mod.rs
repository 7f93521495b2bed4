//! Pictures of a run, as SVG or PNG.
//!
//! Every picture is drawn once, as SVG; a PNG is that SVG rendered at twice its size, with a font that is part of this
//! program, so that it looks the same on every machine. Read in this order: [`scale`], [`svg`], [`panel`], then
//! [`percentiles`], [`timeline`], [`rates`].

pub mod panel;
pub mod percentiles;
pub mod rates;
pub mod scale;
pub mod svg;
pub mod timeline;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, Tree, fontdb};

use crate::error::Error;
use crate::load::Outcome;
use crate::slo::Answer;
use panel::{BLUE, Frame, PAGE_SUBTITLE, PAGE_TITLE};
use percentiles::Curve;
use svg::{Anchor, Stroke, Svg};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 84.0;
/// Where the first panel begins.
const HEAD: f64 = 136.0;
/// What lies between two panels: the figures of the upper one and the head of the lower one.
const GAP: f64 = 104.0;
const FOOT: f64 = 58.0;
const PERCENTILES_HEIGHT: f64 = 320.0;
const PANEL_HEIGHT: f64 = 230.0;
/// How many pixels of a PNG a unit of the picture takes.
const PNG_SCALE: f32 = 2.0;
/// The colors of kinds of commands beside the curve of all.
const KIND_COLORS: [&str; 6] = ["#0d9488", "#9333ea", "#ca8a04", "#db2777", "#65a30d", "#0891b2"];
const SINCE_SENT_COLOR: &str = "#475569";
const SENT_LATE_COLOR: &str = "#94a3b8";

/// A file to draw to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

impl std::str::FromStr for Target {
    type Err = String;

    /// Reads the name of a file, whose end says what it becomes.
    fn from_str(text: &str) -> Result<Target, String> {
        let path = PathBuf::from(text);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let format = match extension.as_deref() {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err(format!("`{text}` ends neither in .svg nor in .png")),
        };
        Ok(Target { path, format })
    }
}

impl Target {
    /// Where the picture goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a picture.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, svg: &str) -> Result<(), Error> {
        let bytes = match self.format {
            Format::Svg => svg.as_bytes().to_vec(),
            Format::Png => render_png(svg)?,
        };
        std::fs::write(&self.path, bytes).map_err(Error::os(format!("writing {}", self.path.display())))
    }
}

/// The picture of a run, or of a search and the run at the rate that it found.
pub fn draw(title: &str, subtitle: &str, outcome: Option<&Outcome>, answer: Option<&Answer>) -> String {
    let curves = outcome.map(curves).unwrap_or_default();
    let mut heights = Vec::new();
    if answer.is_some() {
        heights.push(PANEL_HEIGHT);
    }
    if outcome.is_some() {
        heights.extend([PERCENTILES_HEIGHT, PANEL_HEIGHT]);
    }
    let height = HEAD + heights.iter().sum::<f64>() + GAP * heights.len().saturating_sub(1) as f64 + FOOT;
    let mut svg = Svg::new(WIDTH, height);
    svg.text((LEFT, 44.0), Anchor::Start, PAGE_TITLE, false, title);
    svg.text((LEFT, 68.0), Anchor::Start, PAGE_SUBTITLE, false, subtitle);
    let mut top = HEAD;
    let mut next_frame = |height: f64| {
        let frame = Frame { left: LEFT, right: RIGHT, top, bottom: top + height };
        top += height + GAP;
        frame
    };
    if let Some(answer) = answer {
        rates::draw(&mut svg, &next_frame(PANEL_HEIGHT), answer);
    }
    if let Some(outcome) = outcome {
        percentiles::draw(&mut svg, &next_frame(PERCENTILES_HEIGHT), &curves);
        timeline::draw(&mut svg, &next_frame(PANEL_HEIGHT), &outcome.timeline);
    }
    svg.finish()
}

/// The distributions of a run, that of all commands first.
fn curves(outcome: &Outcome) -> Vec<Curve> {
    let stats = &outcome.stats;
    let all = stats.all_latencies();
    if all.is_empty() {
        return Vec::new();
    }
    let stroke = |color, width, dashes| Stroke { color, width, dashes };
    let curve = |name: &str, latencies: &_, stroke, sets_scale| Curve {
        name: name.to_owned(),
        latencies: Clone::clone(latencies),
        stroke,
        sets_scale,
    };
    let is_open_loop = stats.since_sent().is_some();
    let name = if is_open_loop { "since due" } else { "all" };
    let mut curves = vec![curve(name, &all, stroke(BLUE, 2.6, ""), true)];
    if stats.latencies().count() > 1 {
        for ((kind, latencies), color) in stats.latencies().zip(KIND_COLORS) {
            curves.push(curve(kind.name(), latencies, stroke(color, 1.4, ""), true));
        }
    }
    if let Some(latencies) = stats.since_sent() {
        curves.push(curve("since sent", latencies, stroke(SINCE_SENT_COLOR, 1.6, "7 4"), true));
    }
    if let Some(latencies) = stats.sent_late() {
        curves.push(curve("sent late", latencies, stroke(SENT_LATE_COLOR, 1.6, "2 4"), false));
    }
    curves
}

fn render_png(svg: &str) -> Result<Vec<u8>, Error> {
    let failed =
        |what: String| Error::Os { doing: "drawing a picture".to_owned(), source: std::io::Error::other(what) };
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    let options = usvg::Options { fontdb: Arc::new(fonts), ..usvg::Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(PNG_SCALE).ok_or_else(|| failed("it is too large".to_owned()))?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or_else(|| failed("there is no memory for it".to_owned()))?;
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests;
