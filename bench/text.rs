//! Figures as people read them.

/// A time with a unit that fits it: `412 µs`, `1.92 ms`, `2.05 s`.
pub fn time(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{} µs", three_digits(us)),
        us if us < 999_500.0 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} s", three_digits(us / 1e6)),
    }
}

/// A time on an axis: `0`, `100 µs`, `2.5 ms`, `1 s`.
pub fn tick_time(us: f64) -> String {
    match us {
        0.0 => "0".to_owned(),
        us if us < 999.5 => format!("{} µs", trimmed(us)),
        us if us < 999_500.0 => format!("{} ms", trimmed(us / 1e3)),
        us => format!("{} s", trimmed(us / 1e6)),
    }
}

/// A whole number with its digits in groups of three: `83,120`.
pub fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in as many digits as an axis needs: `0`, `250`, `2.5k`, `1.5M`.
pub fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        size if size >= 1e6 => (number / 1e6, "M"),
        size if size >= 1e3 => (number / 1e3, "k"),
        _ => return trimmed(number),
    };
    format!("{}{unit}", trimmed(scaled))
}

/// A line of blocks, the highest for the largest value; each block is one value, of the last `width`.
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = values.get(values.len().saturating_sub(width)..).unwrap_or_default();
    let largest = shown.iter().copied().fold(0.0, f64::max);
    let block = |value: &f64| {
        let level = if largest > 0.0 { (value / largest * 7.0).round().clamp(0.0, 7.0) } else { 0.0 };
        BLOCKS[level as usize]
    };
    shown.iter().map(block).collect()
}

/// A number of at most three digits, unless it is larger than 999.
fn three_digits(number: f64) -> String {
    match number {
        number if number < 9.995 => format!("{number:.2}"),
        number if number < 99.95 => format!("{number:.1}"),
        number => format!("{number:.0}"),
    }
}

fn trimmed(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        assert_eq!(
            [0.0, 9.99, 412.4, 999.7, 1_924.0, 25_000.0, 2_050_000.0].map(time).join(", "),
            "0.00 µs, 9.99 µs, 412 µs, 1.00 ms, 1.92 ms, 25.0 ms, 2.05 s"
        );
        assert_eq!(
            [0.0, 0.5, 200.0, 1e3, 2.5e3, 1e6].map(tick_time).join(", "),
            "0, 0.5 µs, 200 µs, 1 ms, 2.5 ms, 1 s"
        );
        assert_eq!([0.0, 999.0, 1_000.0, 83_120.4, 1_234_567.0].map(whole).join(" "), "0 999 1,000 83,120 1,234,567");
        assert_eq!([0.0, 0.5, 250.0, 2_500.0, 1_500_000.0].map(short).join(" "), "0 0.5 250 2.5k 1.5M");
    }

    #[test]
    fn a_sparkline_shows_the_last_values_against_the_largest() {
        assert_eq!(sparkline(&[9.0, 0.0, 4.0, 8.0], 3), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0], 5), "▁▁");
        assert_eq!(sparkline(&[], 5), "");
    }
}
