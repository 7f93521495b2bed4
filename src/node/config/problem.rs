//! What is wrong with a configuration, shown with the line it stands on.

use std::fmt;
use std::ops::Range;

use super::value::Origin;

/// A configuration file that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// Its path, as given.
    pub(crate) name: String,
    /// Its contents.
    pub(crate) text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) origin: Origin,
    pub(crate) help: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, origin: Origin) -> Problem {
        Problem { message: message.into(), origin, help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Everything that is wrong with a configuration. Its text shows each problem, and where it stands in the
/// file the line itself with a mark below.
#[derive(Debug)]
pub struct ConfigError {
    source: Option<Source>,
    // Invariant: not empty.
    problems: Vec<Problem>,
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    pub(crate) fn new(source: Option<Source>, mut problems: Vec<Problem>) -> ConfigError {
        // Stable: problems without a place in the file come first, the others in the order of the file.
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File(span) => span.start + 1,
            _ => 0,
        });
        ConfigError { source, problems }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, problem) in self.problems.iter().enumerate() {
            if idx > 0 {
                f.write_str("\nerror: ")?;
            }
            f.write_str(&problem.message)?;
            let mut margin = 0;
            if let (Some(source), Origin::File(span)) = (&self.source, &problem.origin) {
                margin = excerpt(f, source, span)?;
            }
            if let Some(help) = &problem.help {
                write!(f, "\n{:margin$} = help: {help}", "")?;
            }
        }
        Ok(())
    }
}

/// Shows the line where the span begins with a mark below the span. Returns the width of the line number.
fn excerpt(f: &mut fmt::Formatter<'_>, source: &Source, span: &Range<usize>) -> Result<usize, fmt::Error> {
    let text = source.text.as_str();
    let start = floor_char(text, span.start);
    let head = &text[..start];
    let line_start = head.rfind('\n').map_or(0, |newline| newline + 1);
    let line_number = head.matches('\n').count() + 1;
    let line = text[line_start..].lines().next().unwrap_or("");
    let column = text[line_start..start].chars().count();
    // Only what lies on this line is marked, at least one character.
    let end = floor_char(text, span.end.min(line_start + line.len()));
    let marks = text.get(start..end).map_or(0, |marked| marked.chars().count()).max(1);
    let number = line_number.to_string();
    let margin = number.len();
    write!(f, "\n{:margin$}--> {}:{line_number}:{}", "", source.name, column + 1)?;
    write!(f, "\n{:margin$} |\n{number} | {}", "", line.replace('\t', " "))?;
    write!(f, "\n{:margin$} | {:column$}{}", "", "", "^".repeat(marks))?;
    Ok(margin)
}

/// The last boundary between characters at or before `at`.
fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
