//! What all panels have: a frame, axes, a title and a legend.

use crate::plot::scale::Scale;
use crate::plot::svg::{Anchor, Font, Stroke, Svg};

/// The color of what is measured first.
pub const BLUE: &str = "#2563eb";
/// The color of latencies beside a throughput.
pub const ORANGE: &str = "#ea580c";
/// The color of what went wrong.
pub const RED: &str = "#dc2626";
const INK: &str = "#1e293b";
const FAINT_INK: &str = "#64748b";
const GRID: &str = "#e2e8f0";
const FRAME: &str = "#94a3b8";

const TITLE: Font = Font { size: 15.0, color: INK, is_bold: true };
const LABEL: Font = Font { size: 12.0, color: INK, is_bold: false };
const TICK: Font = Font { size: 11.5, color: FAINT_INK, is_bold: false };
const GRID_LINE: Stroke = Stroke { color: GRID, width: 1.0, dashes: "" };
const FRAME_LINE: Stroke = Stroke { color: FRAME, width: 1.0, dashes: "" };
/// How far above the frame title and legend stand.
const HEAD_PX: f64 = 16.0;

/// Where a panel is.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The left end.
    pub left: f64,
    /// The right end.
    pub right: f64,
    /// The upper end.
    pub top: f64,
    /// The lower end.
    pub bottom: f64,
}

/// What a line of a legend stands for.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// How it is drawn.
    pub stroke: Stroke,
}

impl Frame {
    /// The title, and the legend on the other side.
    pub fn head(&self, svg: &mut Svg, title: &str, entries: &[Entry<'_>]) {
        svg.text((self.left, self.top - HEAD_PX), Anchor::Start, TITLE, false, title);
        let mut right = self.right;
        for Entry { name, stroke } in entries.iter().rev() {
            svg.text((right, self.top - HEAD_PX), Anchor::End, LABEL, false, name);
            right -= width(name, LABEL.size) + 8.0;
            let y = self.top - HEAD_PX - 4.0;
            svg.line((right - 22.0, y), (right, y), *stroke);
            right -= 22.0 + 18.0;
        }
    }

    /// The frame itself, above the grid.
    pub fn border(&self, svg: &mut Svg) {
        svg.line((self.left, self.bottom), (self.right, self.bottom), FRAME_LINE);
    }

    /// Horizontal lines, with figures on the left.
    pub fn left_axis(&self, svg: &mut Svg, scale: &Scale, color: &'static str, write: fn(f64) -> String) {
        for tick in scale.ticks() {
            let y = scale.at(tick);
            svg.line((self.left, y), (self.right, y), GRID_LINE);
            let font = Font { color, ..TICK };
            svg.text((self.left - 9.0, y + 4.0), Anchor::End, font, false, &write(tick));
        }
    }

    /// Figures on the right, without lines.
    pub fn right_axis(&self, svg: &mut Svg, scale: &Scale, color: &'static str, write: fn(f64) -> String) {
        for tick in scale.ticks() {
            let font = Font { color, ..TICK };
            svg.text((self.right + 9.0, scale.at(tick) + 4.0), Anchor::Start, font, false, &write(tick));
        }
    }

    /// Vertical lines at these places, each with what is written below it, and what the axis shows.
    pub fn bottom_axis(&self, svg: &mut Svg, ticks: &[(f64, String)], caption: &str) {
        for (x, text) in ticks {
            svg.line((*x, self.top), (*x, self.bottom), GRID_LINE);
            svg.text((*x, self.bottom + 18.0), Anchor::Middle, TICK, false, text);
        }
        let middle = (self.left + self.right) / 2.0;
        svg.text((middle, self.bottom + 38.0), Anchor::Middle, TICK, false, caption);
    }
}

/// About how wide a text is drawn. The font is not at hand where an SVG is shown, so a guess must do.
pub fn width(text: &str, size: f64) -> f64 {
    let of_letter = |letter: char| match letter {
        'i' | 'j' | 'l' => 0.28,
        'f' | 'r' | 't' | ' ' | '.' | '/' => 0.37,
        'm' | 'w' => 0.9,
        _ => 0.63,
    };
    text.chars().map(of_letter).sum::<f64>() * size
}

/// The color of figures beside an axis that belongs to no single line.
pub const AXIS_INK: &str = FAINT_INK;

/// The font of notes inside a panel.
pub fn note(color: &'static str) -> Font {
    Font { size: 12.0, color, is_bold: true }
}

/// The fonts of the page's own head.
pub const PAGE_TITLE: Font = Font { size: 21.0, color: INK, is_bold: true };
/// See [`PAGE_TITLE`].
pub const PAGE_SUBTITLE: Font = Font { size: 13.0, color: FAINT_INK, is_bold: false };
