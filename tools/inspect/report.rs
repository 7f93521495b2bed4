//! What a command has found, as text and as JSON.

use serde::Serialize;

use crate::finding::{Finding, Severity};
use crate::text::Page;

/// What a command has found.
pub(crate) trait Report: Serialize {
    /// Its name in JSON.
    const COMMAND: &'static str;

    /// Shows it to people.
    fn show(&self, page: &mut Page);
}

/// The JSON document.
#[derive(Serialize)]
struct Document<'a, R> {
    command: &'static str,
    path: &'a str,
    sound: bool,
    report: &'a R,
    findings: &'a [Finding],
}

/// Whether nothing among these is damage.
pub(crate) fn is_sound(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity == Severity::Note)
}

/// The output of a command: text, or one JSON document.
pub(crate) fn output<R: Report>(report: &R, path: &str, findings: &[Finding], as_json: bool) -> String {
    if as_json {
        let document = Document { command: R::COMMAND, path, sound: is_sound(findings), report, findings };
        let json = serde_json::to_string_pretty(&document).expect("numbers, texts and lists are JSON");
        return json + "\n";
    }
    let mut page = Page::default();
    report.show(&mut page);
    show_findings(&mut page, findings);
    page.finish()
}

fn show_findings(page: &mut Page, findings: &[Finding]) {
    for (severity, heading) in [(Severity::Damage, "Damage"), (Severity::Note, "Notes")] {
        let mut found = findings.iter().filter(|finding| finding.severity == severity).peekable();
        if found.peek().is_some() {
            page.heading(heading);
        }
        for Finding { file, offset, what, meaning, .. } in found {
            let place = offset.map(|offset| format!(", offset {offset}")).unwrap_or_default();
            page.line(&format!("{file}{place}: {what}"));
            page.indented(meaning);
        }
    }
}
