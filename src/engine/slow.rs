//! Commands that have taken long, on their way into the log of them.

use types::Instant;

use crate::context::Context;
use crate::observe::{AskedBy, LogKind, LoggedCommand, TraceIds, Way, shown_args};
use crate::origin::Origin;
use crate::replies::ReplySink;
use crate::request::Request;

/// Keeps a command for SLOWLOG if it has taken long. Called before its reply is written, and only where a look at something older than
/// it, which came at `since`, has shown that it may have. A command that another core has forwarded is kept there, and here what became of
/// it here.
#[cold]
pub(crate) fn log_if_slow(ctx: &mut Context, out: &impl ReplySink, request: Request<'_>, way: Way, since: Instant) {
    if let Origin::Peer { link, id, .. } = request.origin {
        if let Some(from) = out.peer(link).filter(|_| ctx.command_logs.takes(LogKind::Forwarded)) {
            let trace = TraceIds::received(from, ctx.addr(), id);
            let args = vec![request.command.name.as_bytes().to_vec()];
            log(ctx, LogKind::Forwarded, (AskedBy::Core(from), since), args, way, trace);
        }
        return;
    }
    // Where all commands are slow, most end here.
    if !ctx.command_logs.takes(LogKind::Slow) {
        return;
    }
    let Some(asker) = out.asker(request.origin).filter(|asker| ctx.is_slow(asker.since)) else { return };
    let trace = match way {
        Way::Forwarded { to, number } => TraceIds::sent(ctx.addr(), to, number),
        _ => TraceIds::default(),
    };
    let args = shown_args(request.command, request.args);
    let asked_by = AskedBy::Client { addr: asker.addr, name: asker.name };
    log(ctx, LogKind::Slow, (asked_by, asker.since), args, way, trace);
}

fn log(
    ctx: &mut Context,
    kind: LogKind,
    (asked_by, since): (AskedBy, Instant),
    args: Vec<Vec<u8>>,
    way: Way,
    trace: TraceIds,
) {
    let command = LoggedCommand {
        number: 0,
        sequence: 0,
        core: ctx.addr(),
        unix_us: ctx.unix_us_at(ctx.latest()),
        measure: ctx.latest().since(since).as_micros() as u64,
        args,
        asked_by,
        way,
        trace,
    };
    ctx.log_command(kind, command);
}
