//! Names and units as Prometheus wants them.

/// The name of a figure of INFO and by what its value is multiplied: times in seconds instead of smaller units, `_total` behind what
/// only grows, and `coracle_` before all.
pub fn name_and_scale(name: &str, is_counter: bool) -> (String, f64) {
    let (stem, scale) = match name {
        _ if name.ends_with("_us") => (name.strip_suffix("us"), 1e-6),
        _ if name.ends_with("_ms") => (name.strip_suffix("ms"), 1e-3),
        _ => (None, 1.0),
    };
    let base = stem.map_or_else(|| name.to_owned(), |stem| format!("{stem}seconds"));
    let total = if is_counter { "_total" } else { "" };
    (format!("coracle_{base}{total}"), scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_units_and_what_only_grows() {
        for (name, is_counter, expected, scale) in [
            ("turns", true, "coracle_turns_total", 1.0),
            ("log_write_mean_us", false, "coracle_log_write_mean_seconds", 1e-6),
            ("flush_last_ms", false, "coracle_flush_last_seconds", 1e-3),
            ("client_bytes_sent", true, "coracle_client_bytes_sent_total", 1.0),
        ] {
            assert_eq!(name_and_scale(name, is_counter), (expected.to_owned(), scale));
        }
    }
}
