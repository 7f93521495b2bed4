//! Text for people: lines of at most 80 columns, tables, figures.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// How wide text is, in columns.
const COLUMNS_COUNT: usize = 80;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Text on its way to a terminal.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

/// How a column of a table is set: `>` before its name sets it to the right.
const RIGHT: char = '>';

impl Page {
    /// A heading, behind an empty line if something stands before it.
    pub(crate) fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.wrap(heading, 0, 0);
    }

    /// A line, which goes on in the next one where it is too long.
    pub(crate) fn line(&mut self, line: &str) {
        self.wrap(line, 2, 4);
    }

    /// A line that belongs to the one before.
    pub(crate) fn indented(&mut self, line: &str) {
        self.wrap(line, 6, 6);
    }

    /// A table that is made to fit. Nothing if it has no rows.
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>) {
        self.put_table(header, rows, ContentArrangement::Dynamic);
    }

    /// A table with one line a row, however long, so that other programs can search it.
    pub(crate) fn listing(&mut self, header: &[&str], rows: Vec<Vec<String>>) {
        self.put_table(header, rows, ContentArrangement::Disabled);
    }

    fn put_table(&mut self, header: &[&str], rows: Vec<Vec<String>>, arrangement: ContentArrangement) {
        if rows.is_empty() {
            return;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(arrangement).set_width(COLUMNS_COUNT as u16);
        if header.iter().any(|name| !name.is_empty()) {
            table.set_header(header.iter().map(|name| name.trim_start_matches(RIGHT)));
        }
        table.add_rows(rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>()));
        for (column, name) in table.column_iter_mut().zip(header) {
            // Of the last one it is cut off: so the indent has room.
            column.set_padding((0, 2));
            if name.starts_with(RIGHT) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            self.text.push_str(format!("  {line}").trim_end());
            self.text.push('\n');
        }
    }

    fn wrap(&mut self, line: &str, first_indent: usize, indent: usize) {
        let (line, mut column) = (plain(line), 0);
        for word in line.split(' ') {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > COLUMNS_COUNT {
                self.text.push('\n');
                self.text.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else if column == 0 {
                self.text.extend(std::iter::repeat_n(' ', first_indent));
                column = first_indent;
            } else {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(word);
            column += width;
        }
        self.text.push('\n');
    }

    /// All of it.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// A text without what a terminal may obey: names of files hold what they like.
fn plain(text: &str) -> String {
    let shown =
        |letter: char| if letter.is_control() { letter.escape_default().collect() } else { letter.to_string() };
    text.chars().map(shown).collect()
}

/// Bytes in the largest unit of which there is one, for example `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let unit = (bytes.ilog2() / 10) as usize;
    let tenths = (u128::from(bytes) * 10) >> (unit * 10);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS.get(unit - 1).copied().unwrap_or("EiB"))
}

/// A part of something in percent; `-` of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    }
}

/// A count with what is counted: `1 run`, `2 runs`.
pub(crate) fn count(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Unix time in milliseconds as UTC, for example `2026-11-29T18:20:10.123Z`; `-` for 0.
pub(crate) fn time(time_ms: u64) -> String {
    if time_ms == 0 {
        return "-".to_owned();
    }
    let (days, of_day) = (time_ms / DAY_MS, time_ms % DAY_MS);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1_000)
}

/// Unix time in milliseconds as [`time`] has it, without the milliseconds.
pub(crate) fn second(time_ms: u64) -> String {
    let text = time(time_ms);
    text.split_once('.').map(|(seconds, _)| format!("{seconds}Z")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units() {
        for (number, shown) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_535, "1.4 KiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(
            (percent(1, 3), percent(0, 0), percent(u64::MAX, u64::MAX)),
            ("33 %".into(), "-".into(), "100 %".into())
        );
        assert_eq!((count(1_u32, "run"), count(0_u32, "run")), ("1 run".into(), "0 runs".into()));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (time_ms, shown) in [
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_976_410_123, "2026-11-29T18:20:10.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(time(time_ms), shown, "{time_ms}, as `date -u` has it");
        }
        assert_eq!((second(1_999), second(0)), ("1970-01-01T00:00:01Z".to_owned(), "-".to_owned()));
        // Whatever bytes say.
        assert!(time(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn lines_and_tables_keep_to_the_width() {
        let mut page = Page::default();
        page.heading("Heading");
        page.line(&"word ".repeat(40));
        page.line("\x1b[31mred\n");
        page.table(&["name", ">figure"], vec![vec!["x".repeat(100), "1".into()], vec!["y".into(), "22".into()]]);
        let text = page.finish();
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_COUNT), "{text}");
        assert!(text.contains("  \\u{1b}[31mred\\n\n"), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.ends_with("22") && line.starts_with("  y")), "{text}");
    }
}
