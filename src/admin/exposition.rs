//! Prometheus's text format, version 0.0.4: families of samples, each with its type and a help text.

use std::collections::HashMap;
use std::fmt::Write;

/// Labels of a sample, as (name, value).
pub type Labels<'a> = &'a [(&'a str, &'a str)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// Samples of one name.
#[derive(Debug)]
struct Family {
    name: String,
    kind: Kind,
    help: String,
    lines: String,
}

/// Figures that are being collected. Those of one name stand together, in whatever order they come.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
    // Invariant: the place of each family in `families`.
    places: HashMap<String, usize>,
}

impl Exposition {
    /// Adds what only grows.
    pub fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.family(name, Kind::Counter, help).sample(name, labels, None, value);
    }

    /// Adds what goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.family(name, Kind::Gauge, help).sample(name, labels, None, value);
    }

    /// Adds how something is distributed: how many there were up to each bound (ascending), in all, and their sum.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        (count, sum): (u64, f64),
    ) {
        let family = self.family(name, Kind::Histogram, help);
        let bucket = format!("{name}_bucket");
        for (bound, count_up_to) in buckets {
            family.sample(&bucket, labels, Some(("le", &bound.to_string())), count_up_to as f64);
        }
        family.sample(&bucket, labels, Some(("le", "+Inf")), count as f64);
        family.sample(&format!("{name}_sum"), labels, None, sum);
        family.sample(&format!("{name}_count"), labels, None, count as f64);
    }

    /// Adds quantiles of something, how many there were and their sum.
    pub fn summary<'q>(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
        quantiles: impl IntoIterator<Item = (&'q str, f64)>,
        (count, sum): (u64, f64),
    ) {
        let family = self.family(name, Kind::Summary, help);
        for (quantile, value) in quantiles {
            family.sample(name, labels, Some(("quantile", quantile)), value);
        }
        family.sample(&format!("{name}_sum"), labels, None, sum);
        family.sample(&format!("{name}_count"), labels, None, count as f64);
    }

    /// The text.
    pub fn into_text(self) -> String {
        let mut text = String::new();
        for family in &self.families {
            let help = escape(&family.help, false);
            let (name, kind) = (&family.name, family.kind.name());
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{}", family.lines));
        }
        text
    }

    fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Family {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.families.push(Family {
                    name: name.to_owned(),
                    kind,
                    help: help.to_owned(),
                    lines: String::new(),
                });
                self.places.insert(name.to_owned(), self.families.len() - 1);
                self.families.len() - 1
            }
        };
        let family = &mut self.families[place];
        assert_eq!(family.kind, kind, "all samples of {name} are of one type");
        family
    }
}

impl Family {
    fn sample(&mut self, name: &str, labels: Labels<'_>, last: Option<(&str, &str)>, value: f64) {
        self.lines.push_str(name);
        for (idx, (label, value)) in labels.iter().copied().chain(last).enumerate() {
            let begin = if idx == 0 { '{' } else { ',' };
            write!(self.lines, "{begin}{label}=\"{}\"", escape(value, true)).expect("a String takes everything");
        }
        let end = if labels.is_empty() && last.is_none() { "" } else { "}" };
        writeln!(self.lines, "{end} {value}").expect("a String takes everything");
    }
}

/// A text within the format; within quotes if it is a value of a label.
fn escape(text: &str, is_quoted: bool) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
    if is_quoted { escaped.replace('"', "\\\"") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_name_stand_together() {
        let mut out = Exposition::default();
        out.counter("a_total", "What\nis \"counted\".", &[("core", "0")], 1.0);
        out.gauge("b", "What there is.", &[], -0.5);
        out.counter("a_total", "What is counted.", &[("core", "1"), ("odd", "a\\b\"c\nd")], 1e15);
        assert_eq!(
            out.into_text(),
            "# HELP a_total What\\nis \"counted\".\n# TYPE a_total counter\na_total{core=\"0\"} 1\n\
             a_total{core=\"1\",odd=\"a\\\\b\\\"c\\nd\"} 1000000000000000\n\
             # HELP b What there is.\n# TYPE b gauge\nb -0.5\n"
        );
    }

    #[test]
    fn distributions_end_with_what_there_is_in_all() {
        let mut out = Exposition::default();
        out.histogram("h_seconds", "Times.", &[("core", "0")], [(0.001, 2), (0.1, 3)], (4, 1.5));
        out.summary("s", "Others.", &[], [("0.5", 7.0)], (2, 14.0));
        assert_eq!(
            out.into_text(),
            "# HELP h_seconds Times.\n# TYPE h_seconds histogram\nh_seconds_bucket{core=\"0\",le=\"0.001\"} 2\n\
             h_seconds_bucket{core=\"0\",le=\"0.1\"} 3\nh_seconds_bucket{core=\"0\",le=\"+Inf\"} 4\n\
             h_seconds_sum{core=\"0\"} 1.5\nh_seconds_count{core=\"0\"} 4\n\
             # HELP s Others.\n# TYPE s summary\ns{quantile=\"0.5\"} 7\ns_sum 14\ns_count 2\n"
        );
    }
}
