//! `decommission --plan`: what would move, and what would not.

use std::time::Duration;

use serde::Serialize;

use crate::connection::Connection;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{self, Plan};
use crate::screen::Screen;
use crate::text::{Page, Tone, bytes, count, duration};

/// Moves that are shown one by one.
const MOVES_COUNT_MAX: usize = 40;

#[derive(Serialize)]
struct Planned<'a> {
    node: i64,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// Shows what would be done if a node was to leave, and changes nothing.
///
/// # Errors
/// If the cluster refuses to plan that, or some of it would be refused.
pub(crate) fn run(gateway: &Gateway, screen: &mut Screen, id: i64) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    let plan = ask(gateway, &mut connection, id)?;
    if screen.is_json {
        screen.print_json(&Planned { node: id, plan: &plan });
    } else {
        let mut page = screen.page();
        show(id, &plan, &mut page);
        screen.print(page);
    }
    match plan.refusals.len() {
        0 => Ok(()),
        refused => Err(CtlError::Refused(format!(
            "node {id} could not leave: {} would wait until that has changed",
            count(refused, "step")
        ))),
    }
}

/// Sees that still the same would be done as when a plan was shown.
///
/// # Errors
/// [`CtlError::Refused`] that it would not.
pub(crate) fn expect(gateway: &Gateway, connection: &mut Connection, id: i64, digest: &str) -> Result<(), CtlError> {
    same(&ask(gateway, connection, id)?, id, digest)
}

fn ask(gateway: &Gateway, connection: &mut Connection, id: i64) -> Result<Plan, CtlError> {
    let plan = model::plan(&gateway.ask(connection, &["CORACLE", "PLAN", "DECOMMISSION", &id.to_string()])?);
    if plan.digest.is_empty() {
        return Err(CtlError::Refused(format!("{} sent no plan", connection.addr)));
    }
    Ok(plan)
}

fn same(plan: &Plan, id: i64, digest: &str) -> Result<(), CtlError> {
    if plan.digest == digest {
        return Ok(());
    }
    Err(CtlError::Refused(format!(
        "the plan is {} by now, not {digest}: nothing was changed; `coracle-ctl decommission {id} --plan` shows it",
        plan.digest
    )))
}

fn show(id: i64, plan: &Plan, page: &mut Page) {
    page.named("plan", &plan.digest, Tone::Strong);
    let moves = count(plan.moves.len(), "step");
    let takes = Duration::from_secs(u64::try_from(plan.seconds).unwrap_or(0));
    // Rows that are in no table yet are not counted.
    let sent = if plan.bytes > 0 { format!(", {} are sent", bytes(plan.bytes)) } else { String::new() };
    let does = format!("{moves}{sent}, in about {}", duration(takes));
    page.named("does", &does, Tone::Plain);
    if !plan.is_whole {
        page.named("", "and more: the plan was cut here", Tone::Doubtful);
    }
    if !plan.moves.is_empty() {
        page.gap();
        for step in plan.moves.iter().take(MOVES_COUNT_MAX) {
            page.paragraph(step, 2);
        }
        if plan.moves.len() > MOVES_COUNT_MAX {
            page.paragraph(&format!("and {} more; --json shows all", plan.moves.len() - MOVES_COUNT_MAX), 2);
        }
    }
    if !plan.refusals.is_empty() {
        page.heading(&format!("{} would wait", count(plan.refusals.len(), "step")));
        for refusal in &plan.refusals {
            page.paragraph(refusal, 2);
        }
    }
    page.gap();
    page.paragraph("Nothing was changed. Only if it is still this that would be done then, this does it:", 0);
    page.gap();
    page.verbatim(&format!("  coracle-ctl decommission {id} --if-plan {} --wait", plan.digest));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            digest: "0123456789abcdef".to_owned(),
            moves: vec![
                "g0: another replica on 4/0 for 3 (node 3 leaves)".to_owned(),
                "g1: replica 4 leads instead of 6 (node 3 leaves)".to_owned(),
            ],
            bytes: 3 << 20,
            seconds: 72,
            refusals: Vec::new(),
            is_whole: true,
        }
    }

    fn shown(plan: &Plan) -> String {
        let mut page = Page::new(false);
        show(3, plan, &mut page);
        page.finish()
    }

    #[test]
    fn a_plan_names_each_step_and_how_it_is_done() {
        let expected = "\
plan    0123456789abcdef
does    2 steps, 3.0 MiB are sent, in about 1m 12s

  g0: another replica on 4/0 for 3 (node 3 leaves)
  g1: replica 4 leads instead of 6 (node 3 leaves)

Nothing was changed. Only if it is still this that would be done then, this does
it:

  coracle-ctl decommission 3 --if-plan 0123456789abcdef --wait
";
        assert_eq!(shown(&plan()), expected);
        assert!(shown(&Plan { is_whole: false, ..plan() }).contains("\n        and more: the plan was cut here\n"));
        let many = Plan { moves: vec!["g0: a step".to_owned(); MOVES_COUNT_MAX + 2], ..plan() };
        assert!(shown(&many).contains("\n  and 2 more; --json shows all\n"), "{}", shown(&many));
    }

    #[test]
    fn what_would_be_refused_is_told_with_the_reason() {
        let refusal = "group 2: no node can take it: 3 have one already".to_owned();
        let text = shown(&Plan { refusals: vec![refusal], ..plan() });
        assert!(text.contains("\n1 step would wait\n  group 2: no node can take it: 3 have one already\n"), "{text}");
    }

    #[test]
    fn another_plan_is_refused() {
        assert!(same(&plan(), 3, "0123456789abcdef").is_ok());
        let refused = same(&plan(), 3, "0123456789abcde0").expect_err("another digest");
        assert_eq!(refused.exit_code(), 1);
        let text = refused.to_string();
        assert!(text.contains("is 0123456789abcdef by now, not 0123456789abcde0"), "{text}");
        assert!(text.contains("coracle-ctl decommission 3 --plan"), "{text}");
    }
}
