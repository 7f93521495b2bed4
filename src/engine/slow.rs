//! Commands that have taken long, on their way into the log of them.

use crate::context::Context;
use crate::observe::{LogKind, LoggedCommand, Way, shown_args};
use crate::replies::ReplySink;
use crate::request::Request;

/// Keeps a command for SLOWLOG if it has taken long. Called before its reply is written, and only where a look at something older than
/// it has shown that it may have. Commands of other cores are kept there.
#[cold]
pub(crate) fn log_if_slow(ctx: &mut Context, out: &impl ReplySink, request: Request<'_>, way: Way) {
    // Where all commands are slow, most end here.
    if !ctx.command_logs.takes(LogKind::Slow) {
        return;
    }
    let Some(asker) = out.asker(request.origin).filter(|asker| ctx.is_slow(asker.since)) else { return };
    let command = LoggedCommand {
        number: 0,
        core: ctx.addr(),
        unix_s: ctx.unix_ms / 1_000,
        measure: ctx.latest().since(asker.since).as_micros() as u64,
        args: shown_args(request.command, request.args),
        client_addr: asker.addr,
        client_name: asker.name,
        way,
    };
    ctx.log_command(LogKind::Slow, command);
}
