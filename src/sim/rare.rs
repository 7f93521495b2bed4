//! Rare paths: states that a campaign must have reached before its silence means anything.

use std::collections::BTreeMap;

/// Paths that a campaign with `--require-rare` must reach, by the names under which [`crate::report::Report::rare`]
/// counts them, with what each means.
pub const REQUIRED: &[(&str, &str)] = &[];

/// The required paths that `reached` lacks.
pub fn missing(reached: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let lacks = |name: &&str| reached.get(*name).is_none_or(|count| *count == 0);
    REQUIRED.iter().map(|(name, _)| *name).filter(lacks).collect()
}
