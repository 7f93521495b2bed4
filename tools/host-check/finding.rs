//! What a check says.

use serde::Serialize;

/// How a host stands in one respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be read.
    Unknown,
    /// It costs speed, or a node may not start.
    Warning,
    /// Data that was acknowledged may be lost.
    Danger,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The topic that it belongs to.
    pub topic: &'static str,
    /// The name of the check; stable, for scripts.
    pub check: &'static str,
    /// How the host stands.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// How to look at it: a command.
    pub look: String,
    /// How to change it: commands or settings.
    pub set: String,
}

/// A check without its outcome.
#[derive(Clone, Debug)]
pub struct Check {
    /// The topic that it belongs to.
    pub topic: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// How to look at it.
    pub look: String,
    /// How to change it.
    pub set: String,
}

impl Check {
    /// A check whose commands are the same on all hosts.
    pub fn new(
        topic: &'static str,
        name: &'static str,
        why: &'static str,
        look: impl Into<String>,
        set: impl Into<String>,
    ) -> Check {
        Check { topic, name, why, look: look.into(), set: set.into() }
    }

    /// Its outcome.
    pub fn says(self, level: Level, found: impl Into<String>) -> Finding {
        let Check { topic, name, why, look, set } = self;
        Finding { topic, check: name, level, found: found.into(), why, look, set }
    }

    /// As it should be.
    pub fn ok(self, found: impl Into<String>) -> Finding {
        self.says(Level::Ok, found)
    }

    /// It could not be read.
    pub fn unknown(self, found: impl Into<String>) -> Finding {
        self.says(Level::Unknown, found)
    }

    /// It costs speed, or a node may not start.
    pub fn warn(self, found: impl Into<String>) -> Finding {
        self.says(Level::Warning, found)
    }

    /// Data that was acknowledged may be lost.
    pub fn danger(self, found: impl Into<String>) -> Finding {
        self.says(Level::Danger, found)
    }
}
