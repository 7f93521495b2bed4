//! What was found, for people and for programs.

use serde::Serialize;

use crate::finding::{Finding, Level};
use crate::plan::{Plan, cores_in_words};

/// How wide text is, in columns.
const COLUMNS_COUNT: usize = 100;
/// Where what was found begins.
const FOUND_AT: usize = 27;
/// Where advice begins.
const ADVICE_AT: usize = 16;

/// All that was found on a host.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No acknowledged data is in danger.
    pub is_safe: bool,
    /// The data directory that was looked at.
    pub data_dir: String,
    /// How many cores the node is to have.
    pub cores: u32,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What was found for a node.
    pub fn new(plan: &Plan, findings: Vec<Finding>) -> Report {
        let is_safe = findings.iter().all(|finding| finding.level < Level::Danger);
        Report { is_safe, data_dir: plan.data_dir.display().to_string(), cores: plan.cores, findings }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts are JSON") + "\n"
    }

    /// As text: a line for each check, and advice below those that are not as they should be, or below all.
    pub fn text(&self, is_long: bool) -> String {
        let cores = cores_in_words(self.cores);
        let mut page = format!("this host for a node of {cores} with its data in {}\n", plain(&self.data_dir));
        let mut topic = "";
        for finding in &self.findings {
            if finding.topic != topic {
                topic = finding.topic;
                page.push_str(&format!("\n{topic}\n"));
            }
            let mark = match finding.level {
                Level::Ok => "ok",
                Level::Unknown => "?",
                Level::Warning => "WARN",
                Level::Danger => "DANGER",
            };
            let head = format!("  {mark:<8}{:<16} ", finding.check);
            wrap(&mut page, &head, FOUND_AT, &finding.found);
            if is_long || finding.level >= Level::Warning {
                wrap(&mut page, &format!("{:10}why   ", ""), ADVICE_AT, finding.why);
                wrap(&mut page, &format!("{:10}look  ", ""), ADVICE_AT, &finding.look);
                wrap(&mut page, &format!("{:10}set   ", ""), ADVICE_AT, &finding.set);
            }
        }
        page.push('\n');
        page.push_str(&self.summary());
        page
    }

    fn summary(&self) -> String {
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (all, danger) = (self.findings.len(), count(Level::Danger));
        let counts =
            [(danger, "in danger"), (count(Level::Warning), "to look at"), (count(Level::Unknown), "unknown")];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
        let verdict = if danger > 0 {
            "DANGER: acknowledged data can be lost on this host; change that before a node runs here\n"
        } else {
            "nothing here puts acknowledged data in danger\n"
        };
        format!("{all} checks: {} ok{}\n{verdict}", count(Level::Ok), counts.collect::<String>())
    }
}

/// Adds a text behind a head, which goes on in the next line where it is too long.
fn wrap(page: &mut String, head: &str, indent: usize, text: &str) {
    page.push_str(head);
    let mut column = head.chars().count();
    for (at, word) in plain(text).split(' ').enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > COLUMNS_COUNT {
            page.push('\n');
            page.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if at > 0 {
            page.push(' ');
            column += 1;
        }
        page.push_str(word);
        column += width;
    }
    page.push('\n');
}

/// A text without what a terminal may obey: names of devices hold what they like.
fn plain(text: &str) -> String {
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Check;

    fn check() -> Check {
        Check::new("disk", "barriers", "why not", "findmnt", "mount")
    }

    #[test]
    fn danger_alone_makes_a_host_unsafe() {
        let of = |finding: Finding| Report::new(&Plan::default(), vec![check().ok("on"), finding]);
        assert!(of(check().warn("slow")).is_safe && of(check().unknown("")).is_safe);
        let danger = of(check().danger("off"));
        assert!(
            !danger.is_safe && danger.text(false).contains("\n  DANGER  barriers         off\n"),
            "{}",
            danger.text(false)
        );
        assert!(danger.json().contains("\"level\": \"danger\"") && danger.json().contains("\"is_safe\": false"));
    }

    #[test]
    fn advice_stands_below_what_is_wrong_or_below_all() {
        let report = Report::new(&Plan::default(), vec![check().ok("on")]);
        assert!(!report.text(false).contains("findmnt") && report.text(true).contains("look  findmnt"));
        let wrong = Report::new(&Plan::default(), vec![check().warn("word ".repeat(60) + "\x1b[31m")]);
        let text = wrong.text(false);
        assert!(text.contains("why   why not") && text.contains("set   mount"), "{text}");
        assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= COLUMNS_COUNT), "{text}");
        assert!(text.contains("1 checks: 0 ok, 1 to look at\n"), "{text}");
    }
}
