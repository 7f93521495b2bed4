//! Families of samples, each with its type and a help text, and how Prometheus's text format (version 0.0.4) writes them.

use std::collections::HashMap;
use std::fmt::Write;

/// Labels of a sample, as (name, value).
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// How a family is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How something is distributed, in buckets.
    Histogram,
    /// The same in quantiles.
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
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Their name.
    pub name: String,
    /// How they are to be read.
    pub kind: Kind,
    /// What they tell.
    pub help: String,
    /// The samples; each has the kind of value that the family's kind wants.
    pub samples: Vec<Sample>,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// What it tells.
    pub value: SampleValue,
}

/// What a sample tells.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Histogram {
        /// Bounds, ascending, and how many there were up to each.
        buckets: Vec<(f64, u64)>,
        /// How many there were in all.
        count: u64,
        /// Their sum.
        sum: f64,
    },
    /// Of a summary.
    Summary {
        /// Quantiles as they are written, from 0 to 1 or in percent, and their values.
        quantiles: Vec<(String, f64)>,
        /// How many there were.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

/// Figures that are being collected. Those of one name stand together, in whatever order they come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    families: Vec<Family>,
    // Invariant: the place of each family in `families`.
    places: HashMap<String, usize>,
}

impl Exposition {
    /// Adds what only grows.
    pub fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.add(name, Kind::Counter, help, labels, SampleValue::Number(value));
    }

    /// Adds what goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        self.add(name, Kind::Gauge, help, labels, SampleValue::Number(value));
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
        let buckets = buckets.into_iter().collect();
        self.add(name, Kind::Histogram, help, labels, SampleValue::Histogram { buckets, count, sum });
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
        let quantiles = quantiles.into_iter().map(|(quantile, value)| (quantile.to_owned(), value)).collect();
        self.add(name, Kind::Summary, help, labels, SampleValue::Summary { quantiles, count, sum });
    }

    /// All of it, in the order in which names first came.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            let help = escape(&family.help, false);
            let (name, kind) = (&family.name, family.kind.name());
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            family.samples.iter().for_each(|sample| write_sample(name, sample, &mut text));
        }
        text
    }

    fn add(&mut self, name: &str, kind: Kind, help: &str, labels: Labels<'_>, value: SampleValue) {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.families.push(Family {
                    name: name.to_owned(),
                    kind,
                    help: help.to_owned(),
                    samples: Vec::new(),
                });
                self.places.insert(name.to_owned(), self.families.len() - 1);
                self.families.len() - 1
            }
        };
        let family = &mut self.families[place];
        assert_eq!(family.kind, kind, "all samples of {name} are of one type");
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        family.samples.push(Sample { labels, value });
    }
}

fn write_sample(name: &str, sample: &Sample, text: &mut String) {
    let labels = &sample.labels;
    let (count, sum) = match &sample.value {
        SampleValue::Number(value) => return write_line(name, labels, None, *value, text),
        SampleValue::Histogram { buckets, count, sum } => {
            let bucket = format!("{name}_bucket");
            for (bound, count_up_to) in buckets {
                write_line(&bucket, labels, Some(("le", &bound.to_string())), *count_up_to as f64, text);
            }
            write_line(&bucket, labels, Some(("le", "+Inf")), *count as f64, text);
            (count, sum)
        }
        SampleValue::Summary { quantiles, count, sum } => {
            for (quantile, value) in quantiles {
                write_line(name, labels, Some(("quantile", quantile)), *value, text);
            }
            (count, sum)
        }
    };
    write_line(&format!("{name}_sum"), labels, None, *sum, text);
    write_line(&format!("{name}_count"), labels, None, *count as f64, text);
}

fn write_line(name: &str, labels: &[(String, String)], last: Option<(&str, &str)>, value: f64, text: &mut String) {
    text.push_str(name);
    let labels = labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).chain(last);
    let mut is_first = true;
    for (label, value) in labels {
        let begin = if std::mem::take(&mut is_first) { '{' } else { ',' };
        write!(text, "{begin}{label}=\"{}\"", escape(value, true)).expect("a String takes everything");
    }
    let end = if is_first { "" } else { "}" };
    writeln!(text, "{end} {value}").expect("a String takes everything");
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
            out.to_text(),
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
            out.to_text(),
            "# HELP h_seconds Times.\n# TYPE h_seconds histogram\nh_seconds_bucket{core=\"0\",le=\"0.001\"} 2\n\
             h_seconds_bucket{core=\"0\",le=\"0.1\"} 3\nh_seconds_bucket{core=\"0\",le=\"+Inf\"} 4\n\
             h_seconds_sum{core=\"0\"} 1.5\nh_seconds_count{core=\"0\"} 4\n\
             # HELP s Others.\n# TYPE s summary\ns{quantile=\"0.5\"} 7\ns_sum 14\ns_count 2\n"
        );
    }
}
