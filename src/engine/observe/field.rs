//! Figures that parts tell of themselves.

/// A figure of a part: its name in INFO, what it tells, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// A sentence.
    pub(crate) help: &'static str,
    pub(crate) value: u64,
    pub(crate) kind: FieldKind,
}

/// How the figures of several cores make the one of their node, and whether it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// Something was counted: the sum.
    Counter,
    /// There is so much now: the sum.
    Sum,
    /// The greatest counts: of means, maxima, and of what holds if it does for one core.
    Greatest,
    /// The least counts: of what holds if it does for all cores.
    Least,
}

impl Field {
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Field {
        Field { name, help, value, kind: FieldKind::Counter }
    }

    pub(crate) fn sum(name: &'static str, help: &'static str, value: u64) -> Field {
        Field { name, help, value, kind: FieldKind::Sum }
    }

    pub(crate) fn greatest(name: &'static str, help: &'static str, value: u64) -> Field {
        Field { name, help, value, kind: FieldKind::Greatest }
    }

    pub(crate) fn least(name: &'static str, help: &'static str, value: u64) -> Field {
        Field { name, help, value, kind: FieldKind::Least }
    }

    /// Takes in the figure of another core.
    pub(crate) fn merge(&mut self, other: &Field) {
        self.value = match self.kind {
            FieldKind::Counter | FieldKind::Sum => self.value + other.value,
            FieldKind::Greatest => self.value.max(other.value),
            FieldKind::Least => self.value.min(other.value),
        };
    }
}
