//! How far what is left to do behind flushes has come.

use crate::rows::cursor::Cursor;

/// What is under way.
#[derive(Debug, Default)]
pub(crate) struct Tidying {
    /// How far setting back has come.
    pub(crate) setting_back: Option<Cursor>,
    /// Whether all rows are set back, clean ones too.
    pub(crate) is_of_all: bool,
    /// How far dropping tombstones has come.
    pub(crate) dropping: Option<Cursor>,
}

impl Tidying {
    /// Whether what a flush has copied that was given up still counts as flushing.
    pub(crate) fn sets_back(&self) -> bool {
        self.setting_back.is_some()
    }

    pub(crate) fn begin_to_set_back(&mut self) {
        self.setting_back = Some(Cursor::default());
    }

    pub(crate) fn begin_to_set_all_back(&mut self) {
        (self.setting_back, self.is_of_all) = (Some(Cursor::default()), true);
    }

    pub(crate) fn begin_to_drop(&mut self) {
        self.dropping = Some(Cursor::default());
    }
}
