//! LATENCY DOCTOR: which stages of commands take the time, in plain words. It says what was measured, and advises only where that
//! says enough.

use std::fmt::Write as _;
use std::time::Duration;

use crate::observe::distribution::Distribution;
use crate::observe::report::CoreReport;
use crate::observe::spikes::SpikeEvent;
use crate::observe::stages::Stage;

/// A stage is worth a remark if one in a hundred takes this long or longer, in microseconds.
const REMARKABLE_US: u64 = 10_000;
/// One stage is much slower than another if it takes so many times as long.
const MUCH_SLOWER: u64 = 3;
/// Fewer than so many say little of a stage.
const ENOUGH_COUNT: u64 = 20;

/// What LATENCY DOCTOR says of a core or a node. `threshold` is from when on something is an event.
pub(crate) fn report(report: &CoreReport, threshold: Option<Duration>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "What takes the time, of {} since the start or the last CONFIG RESETSTAT. Times are p50 / p99 / longest.",
        if report.cores_count == 1 { "this core".to_owned() } else { format!("{} cores", report.cores_count) },
    );
    writes(report, &mut text);
    reads(report, &mut text);
    turns(report, &mut text);
    events(report, threshold, &mut text);
    text.push_str("\nRemarks\n");
    let remarks: Vec<String> = REMARKS.iter().filter_map(|remark| remark(report)).collect();
    if remarks.is_empty() {
        text.push_str("  Nothing stands out.\n");
    }
    remarks.iter().for_each(|remark| {
        let _ = writeln!(text, "  - {remark}");
    });
    text
}

/// A time for people.
fn time(us: u64) -> String {
    match us {
        0..10_000 => format!("{us} us"),
        10_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn times(us: &Distribution) -> String {
    format!("{} / {} / {}", time(us.percentile(50.0)), time(us.percentile(99.0)), time(us.max()))
}

fn writes(report: &CoreReport, text: &mut String) {
    let stage = |stage| report.stages.stage(stage);
    let all = stage(Stage::Write);
    if all.count() == 0 {
        return text.push_str("\nWrites: none was led here.\n");
    }
    let _ = writeln!(text, "\nWrites: {} batches, {}", all.count(), times(all));
    let whole = all.mean().max(1);
    for (of, what) in [
        (Stage::Batch, "collecting until the log is free"),
        (Stage::Commit, "until a majority has it durable"),
        (Stage::Apply, "applying, and writing replies"),
    ] {
        let us = stage(of);
        let _ = writeln!(text, "  {:>3} %  {what}: {}", (100 * us.mean() / whole).min(100), times(us));
    }
    for (of, what) in [
        (Stage::LogQueue, "waiting for the block before it"),
        (Stage::LogWrite, "a write of the log on this disk"),
        (Stage::Durable, "durable here, after it was proposed"),
        (Stage::Quorum, "waiting for others, once durable here"),
    ] {
        let _ = writeln!(text, "         {what}: {}", times(stage(of)));
    }
}

fn reads(report: &CoreReport, text: &mut String) {
    let known: Vec<_> = [
        (Stage::ReadAtOnce, "at once, from memory"),
        (Stage::ReadIndex, "after a majority confirmed the leader"),
        (Stage::ReadBehind, "behind what came before them"),
        (Stage::ReadInBatch, "at their place in a batch"),
        (Stage::ReadRows, "once rows were read from the disk"),
        (Stage::Forwarded, "reads and writes by another core"),
    ]
    .into_iter()
    .map(|(stage, what)| (report.stages.stage(stage), what))
    .filter(|(us, _)| us.count() > 0)
    .collect();
    if known.is_empty() {
        return text.push_str("\nReads: none.\n");
    }
    text.push_str("\nReads, and what others answered\n");
    for (us, what) in known {
        let _ = writeln!(text, "  {what}: {} of them, {}", us.count(), times(us));
    }
}

fn turns(report: &CoreReport, text: &mut String) {
    let (turns, longest) = (&report.turns, report.turns.longest());
    let _ = writeln!(
        text,
        "\nTurns of the loop: {} / {} / {}; {} of the longest went to `{}`, with {} commands taken in and {} applied.",
        time(turns.us_percentile(50.0)),
        time(turns.us_percentile(99.0)),
        time(longest.took.as_micros() as u64),
        time(longest.phase_took.as_micros() as u64),
        longest.phase.name(),
        longest.work.commands,
        longest.work.applied,
    );
}

fn events(report: &CoreReport, threshold: Option<Duration>, text: &mut String) {
    let Some(threshold) = threshold else {
        return text.push_str("\nEvents are switched off (latency_threshold_ms = 0).\n");
    };
    let _ = writeln!(text, "\nWhat took {} ms or longer, since the last LATENCY RESET", threshold.as_millis());
    if report.spikes.list().next().is_none() {
        text.push_str("  Nothing.\n");
    }
    for (event, log) in report.spikes.list() {
        let (seconds, longest) = (log.samples().len(), log.max_ms());
        let _ = writeln!(text, "  {}: in {seconds} seconds, {longest} ms at most: {}.", event.name(), event.help());
    }
}

/// Each looks at one thing, and has something to say of it or not.
const REMARKS: [fn(&CoreReport) -> Option<String>; 6] = [slow_log, slow_peers, slow_turns, slow_rows, throttled, far];

/// The distribution of a stage, if enough of it was measured and one in a hundred takes long.
fn remarkable(report: &CoreReport, stage: Stage) -> Option<&Distribution> {
    let us = report.stages.stage(stage);
    (us.count() >= ENOUGH_COUNT && us.percentile(99.0) >= REMARKABLE_US).then_some(us)
}

fn slow_log(report: &CoreReport) -> Option<String> {
    let is_slow = report.fields.iter().any(|field| field.name == "log_is_slow" && field.value > 0);
    let us = remarkable(report, Stage::LogWrite);
    if is_slow {
        return Some(
            "The log's disk is so much slower than those of other nodes that others are to lead. Is it well?"
                .to_owned(),
        );
    }
    let p99 = time(us?.percentile(99.0));
    Some(format!("The disk is slow: one write of the log in a hundred takes {p99} or longer. Who else writes to it?"))
}

fn slow_peers(report: &CoreReport) -> Option<String> {
    let (durable, quorum) = (report.stages.stage(Stage::Durable), report.stages.stage(Stage::Quorum));
    let is_much = quorum.count() >= ENOUGH_COUNT && quorum.mean() >= MUCH_SLOWER * durable.mean().max(100);
    is_much.then(|| {
        format!(
            "Other replicas are slow: entries are durable here after {} and wait {} for a majority, on average. Look at the \
             network, and at this report of the other nodes.",
            time(durable.mean()),
            time(quorum.mean()),
        )
    })
}

fn slow_turns(report: &CoreReport) -> Option<String> {
    let p999 = report.turns.us_percentile(99.9);
    (p999 >= REMARKABLE_US).then(|| {
        let phase = report.turns.longest().phase.name();
        format!(
            "Turns are long: one in a thousand takes {} or longer, and everything on its core waits for it; the longest was \
             busy with `{phase}`. If CPU is short on the machine, turns are interrupted.",
            time(p999)
        )
    })
}

fn slow_rows(report: &CoreReport) -> Option<String> {
    let us = remarkable(report, Stage::ReadRows)?;
    let p99 = time(us.percentile(99.0));
    Some(format!(
        "Reads that need the disk are slow, p99 {p99}: more memory (memory_bytes_max) keeps more rows in it."
    ))
}

fn throttled(report: &CoreReport) -> Option<String> {
    let us = remarkable(report, Stage::Throttled)?;
    Some(format!(
        "Clients are kept waiting before their commands are taken in, {} times and p99 {}: they send more than is done, or do \
         not take their replies.",
        us.count(),
        time(us.percentile(99.0))
    ))
}

fn far(report: &CoreReport) -> Option<String> {
    let us = remarkable(report, Stage::Forwarded)?;
    let p99 = time(us.percentile(99.0));
    let event = SpikeEvent::Forward.name();
    Some(format!(
        "Commands that other cores carry out take {p99} at p99 (event `{event}`): this report of those cores tells why, and \
         cluster clients on the core ports save the way there."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::stages::Stages;

    fn report_of(stages: &[(Stage, u64)]) -> String {
        let mut measured = Stages::new(Duration::MAX);
        for (stage, us) in stages {
            (0..ENOUGH_COUNT).for_each(|_| measured.record(*stage, Duration::from_micros(*us)));
        }
        let core = CoreReport { cores_count: 1, stages: measured.stats().clone(), ..CoreReport::default() };
        report(&core, Some(Duration::from_millis(100)))
    }

    #[test]
    fn a_core_that_does_well_gets_no_remark() {
        let text = report_of(&[
            (Stage::Write, 400),
            (Stage::Batch, 100),
            (Stage::Commit, 200),
            (Stage::Apply, 100),
            (Stage::LogWrite, 80),
            (Stage::Durable, 100),
            (Stage::Quorum, 100),
        ]);
        assert!(text.contains("Nothing stands out."), "{text}");
        assert!(text.contains("25 %  collecting") && text.contains("50 %  until a majority"), "{text}");
        assert!(report_of(&[]).contains("Writes: none was led here."));
    }

    #[test]
    fn each_trouble_is_named_and_no_other() {
        let troubles = [
            (vec![(Stage::LogWrite, 30_000)], "The disk is slow"),
            (vec![(Stage::Durable, 200), (Stage::Quorum, 5_000)], "Other replicas are slow"),
            (vec![(Stage::ReadRows, 20_000)], "Reads that need the disk are slow"),
            (vec![(Stage::Throttled, 20_000)], "Clients are kept waiting"),
            (vec![(Stage::Forwarded, 20_000)], "Commands that other cores carry out"),
        ];
        for (stages, expected) in &troubles {
            let text = report_of(stages);
            for (_, remark) in &troubles {
                assert_eq!(text.contains(remark), remark == expected, "{remark}: {text}");
            }
        }
        let slow_together = report_of(&[(Stage::Durable, 5_000), (Stage::Quorum, 5_000)]);
        assert!(!slow_together.contains("Other replicas are slow"), "they are as slow as this one: {slow_together}");
    }

    #[test]
    fn events_are_told_unless_they_are_switched_off() {
        let mut core = CoreReport::default();
        core.spikes.note(SpikeEvent::Turn, Duration::from_millis(300), 1_000);
        let text = report(&core, Some(Duration::from_millis(100)));
        assert!(text.contains("turn: in 1 seconds, 300 ms at most"), "{text}");
        assert!(report(&core, None).contains("switched off"));
    }
}
