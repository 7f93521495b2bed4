//! CONFIG SET and CONFIG REWRITE, and settings that have changed.

use std::sync::Arc;

use host::ConnId;
use resp::{Args, Command, CommandId, Reply};

use super::{Core, CoreHost};
use crate::settings::{SettingsAnswer, SettingsChange, SettingsRequest, SettingsWish};

/// Most settings of one CONFIG SET.
const PAIRS_COUNT_MAX: usize = 64;
/// Longest name and longest value, in bytes.
const WORD_BYTES_MAX: usize = 4_096;

impl<H: CoreHost> Core<H> {
    /// CONFIG SET name value [name value ...] and CONFIG REWRITE: asks whoever keeps the configuration. The reply comes with its answer; until
    /// then the client's next command waits, so that it finds what was set.
    pub(super) fn ask_settings(
        &mut self,
        conn: ConnId,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        let wish = match command.id {
            CommandId::ConfigRewrite => SettingsWish::Rewrite,
            _ => match pairs(args) {
                Ok(pairs) => SettingsWish::Set(pairs),
                Err(message) => return reply.error(message),
            },
        };
        let Some(asked) = self.ctx.config.ask_settings.clone() else {
            return reply.error("ERR nobody here can change settings while the core runs");
        };
        let Some(origin) = self.clients.await_settings(&self.ctx, conn, command) else { return };
        let request = SettingsRequest { wish, core: self.ctx.addr().core, origin };
        if !asked.ask(request) {
            let message = "ERR too many settings are being changed at this moment: try again";
            self.clients.end_settings(&mut self.ctx, origin, Err(message));
        }
    }

    /// The answer to a client's wish is here.
    pub(super) fn on_settings_answer(&mut self, answer: SettingsAnswer) {
        let result = answer.result.map_err(|reason| format!("ERR {reason}"));
        self.clients.end_settings(&mut self.ctx, answer.origin, result.as_ref().copied().map_err(String::as_str));
    }

    /// Takes other settings in.
    pub(super) fn take_settings(&mut self, change: &SettingsChange) {
        let before = std::mem::replace(&mut self.ctx.settings, Arc::clone(&change.settings));
        self.ctx.settings_changed();
        self.clients.settings_changed(&self.ctx);
        if before.compare_interval != self.ctx.settings.compare_interval {
            self.groups.compare_interval_changed(&self.ctx);
        }
        self.storage.settings_changed(&self.ctx, &before);
        self.begin_looking();
        change.taken(self.ctx.addr().core);
    }
}

/// The names and values of a CONFIG SET.
fn pairs(args: Args<'_>) -> Result<Vec<(String, String)>, &'static str> {
    let words = args.len() - 2;
    if !words.is_multiple_of(2) {
        return Err("ERR wrong number of arguments for 'config|set' command");
    }
    if words > 2 * PAIRS_COUNT_MAX {
        return Err("ERR more than 64 settings: set fewer at a time");
    }
    let text = |word: &[u8]| match std::str::from_utf8(word) {
        Ok(text) if word.len() <= WORD_BYTES_MAX => Ok(text.to_owned()),
        _ => Err("ERR names and values of settings are texts of at most 4096 bytes"),
    };
    let mut words = args.iter_from(2);
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        pairs.push((text(name)?.to_ascii_lowercase(), text(value)?));
    }
    Ok(pairs)
}
