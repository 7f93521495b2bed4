//! Lists of CPUs as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt::Write;

/// The numbers of a list; `None` if it is none.
pub fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in list.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // More CPUs than any kernel knows.
        if first > last || last > 1 << 16 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// A list as the kernel writes it.
pub fn show(numbers: &BTreeSet<u32>) -> String {
    let mut text = String::new();
    let mut rest = numbers.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        let comma = if text.is_empty() { "" } else { "," };
        let written =
            if first == last { write!(text, "{comma}{first}") } else { write!(text, "{comma}{first}-{last}") };
        written.expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written() {
        for list in ["0", "0-3", "0-1,4,6-7", ""] {
            assert_eq!(parse(list).map(|numbers| show(&numbers)).as_deref(), Some(list));
        }
        assert_eq!(parse("0,1,2\n").map(|numbers| show(&numbers)).as_deref(), Some("0-2"));
        for broken in ["a", "3-1", "0-99999999", "1-2-3", "-"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }
}
