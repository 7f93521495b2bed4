//! The table of all stores and phases.

use std::fmt::Write;

use crate::compare::table::align;
use crate::load::report::Latency;
use crate::stores::measure::{PhaseReport, StoreReport};
use crate::stores::plan::Plan;
use crate::text;

const HEADS: [&str; 15] = [
    "store",
    "phase",
    "ops/s",
    "read p50",
    "p99",
    "p99.9",
    "write p50",
    "p99",
    "p99.9",
    "hits",
    "write amp",
    "read amp",
    "space amp",
    "CPU us/op",
    "errors",
];

/// What was measured, one row per store and phase, and what to know of each store.
pub fn render(plan: &Plan, reports: &[StoreReport]) -> String {
    let gib = plan.live_bytes() as f64 / f64::from(1 << 30);
    let mut text = format!(
        "{gib:.2} GiB: {} keys of 16 bytes, values of {} bytes that do not compress; {} MiB of memory; {} clients, closed \
         loop; writes durable\n",
        text::whole(f64::from(plan.keys_count)),
        plan.value_bytes,
        plan.memory_bytes >> 20,
        plan.clients
    );
    text.push_str(&match plan.cpu {
        Some(cpu) => format!("each store on CPU {cpu}\n\n"),
        None => "stores may use every CPU\n\n".to_owned(),
    });
    let mut rows = vec![HEADS.map(str::to_owned)];
    for report in reports {
        rows.extend(report.phases.iter().map(|phase| row(report, phase)));
    }
    text.push_str(&align(&rows, 2));
    text.push_str("latencies in us; amplification in bytes per byte asked for, background work included\n");
    for StoreReport { store, version, notes, resident_bytes_max, phases } in reports {
        writeln!(text, "\n{store}: {version}, at most {} MiB resident", resident_bytes_max >> 20)
            .expect("a String takes all");
        for note in notes {
            writeln!(text, "  {note}").expect("a String takes all");
        }
        if let Some(seconds) = phases.iter().find_map(|phase| phase.settled_after_s) {
            writeln!(text, "  after the load it wrote in the background for {seconds:.1} s")
                .expect("a String takes all");
        }
        for PhaseReport { phase, errors_count, error_text, .. } in
            phases.iter().filter(|phase| phase.errors_count > 0)
        {
            let example = error_text.as_deref().unwrap_or_default();
            writeln!(text, "  {phase}: {errors_count} errors, such as: {example}").expect("a String takes all");
        }
    }
    text
}

fn row(report: &StoreReport, phase: &PhaseReport) -> [String; HEADS.len()] {
    let optional = |figure: Option<f64>| figure.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let us = |latency: &Option<Latency>, read: fn(&Latency) -> f64| {
        latency.as_ref().map_or("-".to_owned(), |latency| format!("{:.0}", read(latency)))
    };
    [
        report.store.to_string(),
        phase.phase.clone(),
        text::whole(phase.ops_per_s),
        us(&phase.reads, |latency| latency.p50_us),
        us(&phase.reads, |latency| latency.p99_us),
        us(&phase.reads, |latency| latency.p999_us),
        us(&phase.writes, |latency| latency.p50_us),
        us(&phase.writes, |latency| latency.p99_us),
        us(&phase.writes, |latency| latency.p999_us),
        phase.hit_rate.map_or("-".to_owned(), |rate| format!("{:.0} %", 100.0 * rate)),
        optional(phase.write_amplification),
        optional(phase.read_amplification),
        format!("{:.2}", phase.space_amplification),
        format!("{:.1}", phase.cpu_us_per_op),
        phase.errors_count.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::plan::Store;
    use crate::stores::plan::tests::plan;

    #[test]
    fn each_phase_of_each_store_is_a_row_and_errors_are_told() {
        let phase = |name: &str, errors_count| PhaseReport {
            phase: name.to_owned(),
            ops_per_s: 12_345.6,
            reads: Some(Latency { p999_us: 987.4, ..Latency::default() }),
            hit_rate: Some(0.876),
            errors_count,
            error_text: (errors_count > 0).then(|| "lost".to_owned()),
            ..PhaseReport::default()
        };
        let report = |store, phases| StoreReport {
            store,
            version: "1.2".to_owned(),
            notes: vec!["as it is".to_owned()],
            resident_bytes_max: 100 << 20,
            phases,
        };
        let reports = [
            report(Store::Coracle, vec![phase("load", 0), phase("95/5 uniform", 0)]),
            report(Store::Fjall, vec![phase("load", 3)]),
        ];
        let text = render(&plan(), &reports);
        let rows = text.lines().filter(|line| line.contains("12,346")).count();
        assert_eq!(rows, 3, "{text}");
        for said in ["987", "88 %", "fjall: 1.2, at most 100 MiB", "  as it is", "load: 3 errors, such as: lost"] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
