//! Drawing as SVG text.

use std::fmt::Write;

/// What pictures are written with: the font that PNG pictures are drawn with, and what comes near it elsewhere.
const FONTS: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

/// Which side of a text its place is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    /// In px.
    pub size: f64,
    /// As SVG names it.
    pub color: &'static str,
    /// Whether it is bold.
    pub is_bold: bool,
}

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    /// As SVG names it.
    pub color: &'static str,
    /// In px.
    pub width: f64,
    /// Lengths of dashes and gaps; empty for a whole line.
    pub dashes: &'static str,
}

/// A picture that grows.
#[derive(Debug)]
pub struct Svg {
    text: String,
}

impl Svg {
    /// An empty picture on white.
    pub fn new(width: f64, height: f64) -> Svg {
        let mut svg = Svg { text: String::new() };
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
             {height}\" font-family=\"{FONTS}\">"
        ));
        svg.rect(0.0, 0.0, width, height, "#ffffff");
        svg
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        self.put(format_args!("</svg>"));
        self.text
    }

    /// A filled rectangle.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, color: &str) {
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.polyline(&[from, to], stroke);
    }

    /// Lines from point to point.
    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let Stroke { color, width, dashes } = stroke;
        let path = path(points);
        let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
        self.put(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\"{dashes}/>"
        ));
    }

    /// The area between points and a base line.
    pub fn area(&mut self, points: &[(f64, f64)], base_y: f64, color: &str, opacity: f64) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let path = path(points);
        let (first, last) = (first.0, last.0);
        self.put(format_args!(
            "<path d=\"{path} L{last:.1} {base_y:.1} L{first:.1} {base_y:.1} Z\" fill=\"{color}\" \
             fill-opacity=\"{opacity}\"/>"
        ));
    }

    /// A filled circle with a white rim.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, color: &str) {
        let (x, y) = at;
        self.put(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{color}\" stroke=\"#ffffff\" \
             stroke-width=\"1.2\"/>"
        ));
    }

    /// A text; with `has_halo`, what lies behind it is kept off.
    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, font: Font, has_halo: bool, text: &str) {
        let (x, y) = at;
        let Font { size, color, is_bold } = font;
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
        let halo = if has_halo {
            " stroke=\"#ffffff\" stroke-width=\"3.5\" stroke-linejoin=\"round\" paint-order=\"stroke\""
        } else {
            ""
        };
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{color}\" \
             text-anchor=\"{anchor}\"{weight}{halo}>{text}</text>"
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{element}").expect("a String takes all");
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::with_capacity(points.len() * 14);
    for (idx, (x, y)) in points.iter().enumerate() {
        let command = if idx == 0 { 'M' } else { 'L' };
        write!(path, "{command}{x:.1} {y:.1}").expect("a String takes all");
    }
    path
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
