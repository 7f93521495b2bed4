//! Text for people: tables and lines of at most 80 columns, with colours if a terminal shows them.
//!
//! Tables are laid out here, since cells have colours, which take no room.

use std::time::Duration;

/// How wide text is, in columns.
pub(crate) const COLUMNS_COUNT: usize = 80;
/// What stands between the columns of a table.
const GAP: usize = 2;
/// The least room of a name before a sentence.
const NAME_WIDTH_MIN: usize = 8;
/// The least that is left to the last column of a table.
const LAST_COLUMN_MIN: usize = 16;

/// How something is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Doubtful,
    Bad,
    /// A heading.
    Strong,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Doubtful => Some("33"),
            Tone::Bad => Some("31"),
            Tone::Strong => Some("1"),
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// A cell with a tone.
pub(crate) fn toned(text: impl ToString, tone: Tone) -> Cell {
    Cell { text: plain(&text.to_string()), tone }
}

/// A cell without one.
pub(crate) fn cell(text: impl ToString) -> Cell {
    toned(text, Tone::Plain)
}

/// Text on its way to whoever reads it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    text: String,
    has_colours: bool,
}

impl Page {
    /// An empty one.
    pub(crate) fn new(has_colours: bool) -> Page {
        Page { text: String::new(), has_colours }
    }

    /// All of it.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// An empty line, if something stands before it.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A heading, behind an empty line if something stands before it.
    pub(crate) fn heading(&mut self, heading: &str) {
        self.gap();
        let heading = self.painted(&plain(heading), Tone::Strong);
        self.text.push_str(&heading);
        self.text.push('\n');
    }

    /// A sentence of a tone, behind a name; what is too long goes on below.
    pub(crate) fn named(&mut self, name: &str, sentence: &str, tone: Tone) {
        self.named_all(&[(name.to_owned(), sentence.to_owned())], tone);
    }

    /// Sentences of a tone, each behind its name, below each other.
    pub(crate) fn named_all(&mut self, sentences: &[(String, String)], tone: Tone) {
        let names = sentences.iter().map(|(name, _)| width(name) + 1);
        let name_width = names.chain([NAME_WIDTH_MIN]).max().unwrap_or(NAME_WIDTH_MIN);
        for (name, sentence) in sentences {
            let lines = wrapped(&plain(sentence), COLUMNS_COUNT.saturating_sub(name_width));
            for (at, line) in lines.iter().enumerate() {
                let name = if at == 0 { name } else { "" };
                let line = self.painted(line, tone);
                self.text.push_str(&format!("{name:name_width$}{line}"));
                self.text.push('\n');
            }
        }
    }

    /// A paragraph, each line behind so many spaces.
    pub(crate) fn paragraph(&mut self, text: &str, indent: usize) {
        for line in wrapped(&plain(text), COLUMNS_COUNT - indent) {
            self.text.push_str(&" ".repeat(indent));
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    /// A line as it is, however long: a command that is to be copied.
    pub(crate) fn verbatim(&mut self, line: &str) {
        self.text.push_str(&plain(line));
        self.text.push('\n');
    }

    /// A table. A name that begins with `>` sets its column to the right; what does not fit into the last column goes on below.
    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<Cell>]) {
        let names: Vec<&str> = header.iter().map(|name| name.trim_start_matches('>')).collect();
        let widths: Vec<usize> = (0..names.len())
            .map(|at| {
                let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| width(&cell.text));
                cells.chain([width(names[at])]).max().unwrap_or(0)
            })
            .collect();
        let last = names.len().saturating_sub(1);
        let before: usize = widths.iter().take(last).map(|width| width + GAP).sum();
        let last_width = COLUMNS_COUNT.saturating_sub(before).max(LAST_COLUMN_MIN);
        let head: Vec<Cell> = names.iter().map(|name| toned(name, Tone::Strong)).collect();
        for row in std::iter::once(&head).chain(rows) {
            let below = row.get(last).map(|cell| wrapped(&cell.text, last_width)).unwrap_or_default();
            let mut line = String::new();
            for (at, cell) in row.iter().take(last).enumerate() {
                let fill = " ".repeat(widths[at] - width(&cell.text));
                let text = self.painted(&cell.text, cell.tone);
                line += &if header[at].starts_with('>') { fill + &text } else { text + &fill };
                line += &" ".repeat(GAP);
            }
            for (at, part) in below.iter().enumerate() {
                let tone = row.get(last).map(|cell| cell.tone).unwrap_or_default();
                let is_right = header[last].starts_with('>') && part.len() < widths[last].min(last_width);
                let fill =
                    if is_right { " ".repeat(widths[last].min(last_width) - width(part)) } else { String::new() };
                if at > 0 {
                    line = " ".repeat(before);
                }
                line = format!("{line}{fill}{}", self.painted(part, tone));
                self.text.push_str(line.trim_end());
                self.text.push('\n');
            }
        }
    }

    fn painted(&self, text: &str, tone: Tone) -> String {
        match tone.code() {
            Some(code) if self.has_colours && !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// A text without what a terminal may obey: nodes say what they like.
fn plain(text: &str) -> String {
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most so many columns; a word that is longer has a line of its own. One line, empty, of an empty text.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && width(line) + 1 + width(word) > columns {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// A duration in its two largest units.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Bytes in the largest unit of which there is one.
pub(crate) fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let bytes = u64::try_from(bytes).unwrap_or(0);
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let unit = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (unit * 10);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit - 1).copied().unwrap_or("EiB"))
}

/// `1 node`, `2 nodes`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_no_wider_than_a_terminal_and_its_last_column_goes_on_below() {
        let mut page = Page::new(false);
        let long = "a word and then others ".repeat(8);
        let rows = vec![vec![cell("a"), cell(7), cell(long.trim_end())], vec![cell("bb"), cell(1_000), cell("")]];
        page.table(&["NAME", ">COUNT", "WHAT"], &rows);
        let text = page.finish();
        assert!(text.starts_with("NAME  COUNT  WHAT\na         7  a word and"), "{text}");
        assert!(text.lines().all(|line| width(line) <= COLUMNS_COUNT && line.trim_end() == line), "{text}");
        assert_eq!(text.lines().last(), Some("bb     1000"));
    }

    #[test]
    fn colours_take_no_room_and_control_characters_are_shown() {
        let rows = vec![vec![toned("down\x1b[2J", Tone::Bad), cell("x")], vec![cell("up"), cell("y")]];
        let (mut coloured, mut bare) = (Page::new(true), Page::new(false));
        coloured.table(&["STATE", "IT"], &rows);
        bare.table(&["STATE", "IT"], &rows);
        let coloured = coloured.finish();
        assert!(coloured.contains("\x1b[31mdown\\u{1b}[2J\x1b[0m"), "{coloured:?}");
        let without = ["\x1b[31m", "\x1b[1m", "\x1b[0m"].iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(without, bare.finish());
    }

    #[test]
    fn durations_and_bytes_are_short() {
        let shown = [7, 190, 7_400, 200_000].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["7s", "3m 10s", "2h 3m", "2d 7h"]);
        assert_eq!([0, 1_023, 1_536, 5 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!((count(1, "node"), count(2, "node")), ("1 node".to_owned(), "2 nodes".to_owned()));
    }
}
