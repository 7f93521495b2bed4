//! CORACLE SCRUB STATUS: how far the scrub is, and what it has found.

use resp::Reply;

use crate::scrub_report::{ScrubFinding, ScrubReport};

/// The scrub of each core: `core`, `state` (`off`, `under way` or `waiting`), `bytes_per_s`, `begun_unix_ms` and `read_bytes` (of the pass under
/// way), `passes`, `last_end_unix_ms`, `next_in_s` (-1 for never), and `damaged`: a line for each thing that the last pass has found, and
/// those found since.
pub(crate) fn status(scrubs: &[ScrubReport], reply: &mut Reply<'_>) {
    reply.array(scrubs.len());
    scrubs.iter().for_each(|scrub| write(scrub, reply));
}

fn write(scrub: &ScrubReport, reply: &mut Reply<'_>) {
    let state = match (scrub.bytes_per_s, scrub.under_way) {
        (0, _) => "off",
        (_, Some(_)) => "under way",
        (_, None) => "waiting",
    };
    reply.map(9);
    for (name, text) in [("core", scrub.core.to_string()), ("state", state.to_owned())] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    let (begun_unix_ms, read_bytes) = scrub.under_way.unwrap_or_default();
    let next_in_s = scrub.next_in.map_or(-1, |next_in| next_in.as_secs() as i64);
    for (name, number) in [
        ("bytes_per_s", scrub.bytes_per_s as i64),
        ("begun_unix_ms", begun_unix_ms as i64),
        ("read_bytes", read_bytes as i64),
        ("passes", scrub.passes as i64),
        ("last_end_unix_ms", scrub.last_end_unix_ms as i64),
        ("next_in_s", next_in_s),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(number);
    }
    reply.bulk(b"damaged");
    reply.array(scrub.findings.len());
    scrub.findings.iter().for_each(|finding| reply.bulk(shown(finding).as_bytes()));
}

fn shown(finding: &ScrubFinding) -> String {
    format!(
        "{} {} at offset {}, groups {}, found at {}: {}; {}",
        finding.part.name(),
        finding.file,
        finding.offset,
        finding.shown_groups(),
        finding.unix_ms,
        finding.reason,
        finding.remedy
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resp::Protocol;
    use types::{CoreAddr, CoreId, GroupId, NodeId};

    use super::*;
    use crate::scrub_report::ScrubbedPart;

    fn told(scrubs: &[ScrubReport]) -> String {
        let mut bytes = Vec::new();
        status(scrubs, &mut Reply::new(&mut bytes, Protocol::Resp3));
        String::from_utf8(bytes).expect("these replies are text")
    }

    #[test]
    fn each_core_tells_how_far_it_is_and_what_was_damaged() {
        let core = CoreAddr { node: NodeId(2), core: CoreId(1) };
        let off = told(&[ScrubReport { core, ..ScrubReport::default() }]);
        assert!(off.starts_with("*1\r\n%9\r\n$4\r\ncore\r\n$3\r\n2/1\r\n$5\r\nstate\r\n$3\r\noff\r\n"), "{off}");
        assert!(off.ends_with("next_in_s\r\n:-1\r\n$7\r\ndamaged\r\n*0\r\n"), "{off}");
        let finding = ScrubFinding {
            pass: 1,
            unix_ms: 7,
            part: ScrubbedPart::Log,
            file: "/d/1.seg".to_owned(),
            offset: 4_096,
            groups: vec![GroupId(3), GroupId(4)],
            reason: "a reason".to_owned(),
            remedy: "a remedy",
        };
        let scrub = ScrubReport {
            core,
            bytes_per_s: 10,
            under_way: Some((5, 6)),
            next_in: Some(Duration::from_secs(9)),
            findings: vec![finding],
            ..ScrubReport::default()
        };
        let told = told(&[scrub]);
        assert!(told.contains("under way") && told.contains("read_bytes\r\n:6\r\n"), "{told}");
        assert!(
            told.contains("log /d/1.seg at offset 4096, groups 3+4, found at 7: a reason; a remedy\r\n"),
            "{told}"
        );
    }
}
