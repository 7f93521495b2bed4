//! Where output goes: at once, or drawn over and over while something is waited for.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::text::Page;

/// Output of a command.
pub(crate) struct Screen {
    /// Whether other programs read it.
    pub(crate) is_json: bool,
    is_terminal: bool,
    has_colours: bool,
    /// Lines on the terminal that the next picture takes the place of.
    drawn_lines: usize,
    /// What was said last where nothing can be drawn over.
    last_line: String,
    /// Whether whoever reads has gone away.
    is_closed: bool,
}

impl Screen {
    /// That of the process.
    pub(crate) fn of_process(is_json: bool) -> Screen {
        let is_terminal = io::stdout().is_terminal() && !is_json;
        // See https://no-color.org.
        let wants_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen {
            is_json,
            is_terminal,
            has_colours: is_terminal && wants_colours,
            drawn_lines: 0,
            last_line: String::new(),
            is_closed: false,
        }
    }

    /// An empty page.
    pub(crate) fn page(&self) -> Page {
        Page::new(self.has_colours)
    }

    /// Prints a page.
    pub(crate) fn print(&mut self, page: Page) {
        let clear = self.clear();
        self.put(&format!("{clear}{}", page.finish()));
    }

    /// Prints one JSON document on a line of its own.
    pub(crate) fn print_json(&mut self, document: &impl Serialize) {
        self.put(&format!("{}\n", json(document)));
    }

    /// Prints one JSON document if other programs read and it is another than the last that came this way.
    pub(crate) fn print_json_if_new(&mut self, document: &impl Serialize) {
        let line = json(document);
        if self.is_json && line != self.last_line {
            self.put(&format!("{line}\n"));
            self.last_line = line;
        }
    }

    /// Whether whoever reads has gone away.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Says something in one sentence, or as one JSON document.
    pub(crate) fn tell(&mut self, sentence: &str, document: &impl Serialize) {
        if self.is_json {
            return self.print_json(document);
        }
        let mut page = self.page();
        page.paragraph(sentence, 0);
        self.print(page);
    }

    /// Draws a picture of something that goes on, in the place of the last one; where there is no terminal, a line if it is another than
    /// before.
    pub(crate) fn draw(&mut self, page: Page, line: &str) {
        if self.is_json {
            return;
        }
        if self.is_terminal {
            let text = page.finish();
            let clear = self.clear();
            self.drawn_lines = text.lines().count();
            self.put(&format!("{clear}{text}"));
        } else if line != self.last_line {
            line.clone_into(&mut self.last_line);
            self.put(&format!("{line}\n"));
        }
    }

    /// Takes the last picture away.
    pub(crate) fn draw_nothing(&mut self) {
        let clear = self.clear();
        self.put(&clear);
    }

    /// What takes the last picture away.
    fn clear(&mut self) -> String {
        match std::mem::take(&mut self.drawn_lines) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    fn put(&mut self, text: &str) {
        let mut out = io::stdout().lock();
        // Whoever reads may have seen enough.
        self.is_closed |= out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err();
    }
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("numbers, texts and lists are JSON")
}
