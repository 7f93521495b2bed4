//! A schedule: faults and when they happen, as lines that can be kept and read again.

use serde::{Deserialize, Serialize};

use super::kinds::Fault;

/// A fault and when it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// True time since the start of the run, in milliseconds.
    pub at_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Everything that goes wrong in a run, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Timed>,
}

impl Schedule {
    /// One fault per line, as JSON.
    pub fn to_lines(&self) -> String {
        let line = |timed: &Timed| serde_json::to_string(timed).expect("plain data has a form in JSON") + "\n";
        self.faults.iter().map(line).collect()
    }

    /// Reads what [`Schedule::to_lines`] has written.
    ///
    /// # Errors
    /// Says which line is wrong and why.
    pub fn from_lines(text: &str) -> Result<Schedule, String> {
        let mut faults: Vec<Timed> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let timed = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            faults.push(timed);
        }
        faults.sort_by_key(|timed| timed.at_ms);
        Ok(Schedule { faults })
    }
}
