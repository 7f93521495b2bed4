//! Clocks.

use crate::finding::{Check, Finding};
use crate::probe;
use crate::source::Source;

const TOPIC: &str = "clock";
/// Sources that a program reads without entering the kernel.
const FAST: &[&str] = &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
/// Programs that keep a clock in step.
const KEEPERS: &[&str] = &["chronyd", "ntpd", "systemd-timesyn", "openntpd", "ptp4l", "phc2sys"];
/// A clock that is further off than this many seconds is not in step.
const OFFSET_MAX_S: f64 = 0.1;

/// All checks of this topic.
pub fn run(source: &Source) -> Vec<Finding> {
    let current = source.text("sys/devices/system/clocksource/clocksource0/current_clocksource");
    let tracking = if source.is_this_host() { probe::chrony_tracking() } else { None };
    let processes = source.names("proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let commands = processes.filter_map(|id| source.text(&format!("proc/{id}/comm")));
    let keeper = commands.into_iter().find(|name| KEEPERS.contains(&name.as_str()));
    let timesync = source.has("run/systemd/timesync/synchronized");
    vec![clock_source(current.as_deref()), synchronized(tracking.as_deref(), timesync, keeper.as_deref())]
}

fn clock_source(current: Option<&str>) -> Finding {
    let why = "each turn reads the clock several times: tens of nanoseconds by tsc, a system call of a microsecond and more by hpet or acpi_pm";
    let look = "cat /sys/devices/system/clocksource/clocksource0/current_clocksource";
    let set = "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource, if dmesg does not call it unstable";
    let check = Check::new(TOPIC, "clock-source", why, look, set);
    match current {
        Some(current) if FAST.contains(&current) => check.ok(current),
        Some(current) => check.warn(format!("{current}: read by a system call")),
        None => check.unknown("the kernel does not tell"),
    }
}

/// `tracking` is what `chronyc -c tracking` prints; `timesync` whether systemd-timesyncd has set the clock.
fn synchronized(tracking: Option<&str>, timesync: bool, keeper: Option<&str>) -> Finding {
    let why =
        "keys expire by the leader's clock; leases rest on its rate alone, which may be off by clock_drift_ppm_max";
    let set = "apt-get install chrony, and the time servers of your network in /etc/chrony/chrony.conf";
    let check = Check::new(TOPIC, "ntp", why, "chronyc tracking, or timedatectl", set);
    let fields: Vec<&str> = tracking.unwrap_or_default().trim().split(',').collect();
    if let (Some(offset), Some(leap)) = (fields.get(4).and_then(|text| text.parse::<f64>().ok()), fields.get(13)) {
        let found = format!("chrony: {leap}, off by {:.6} s", offset.abs());
        let is_in_step = *leap != "Not synchronised" && offset.abs() <= OFFSET_MAX_S;
        return if is_in_step { check.ok(found) } else { check.warn(found) };
    }
    match keeper {
        _ if timesync => check.ok("systemd-timesyncd has set it"),
        Some(keeper) => check.ok(format!("{keeper} runs; whether it has set the clock is not told")),
        None => check.warn("nothing keeps it in step"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn clocks_that_cost_a_system_call_are_told() {
        let level = |name| clock_source(Some(name)).level;
        assert_eq!(["tsc", "kvm-clock", "arch_sys_counter"].map(level), [Level::Ok; 3]);
        assert_eq!(["hpet", "acpi_pm", "xen"].map(level), [Level::Warning; 3]);
        assert_eq!(clock_source(None).level, Level::Unknown);
    }

    #[test]
    fn a_clock_is_in_step_if_its_keeper_says_so() {
        let tracking = "C0A80001,ntp.example,3,1700000000.1,0.000012345,-0.00001,0.00002,-12.3,0.001,0.05,0.01,0.001,64.4,Normal\n";
        assert_eq!(synchronized(Some(tracking), false, None).level, Level::Ok);
        assert_eq!(synchronized(Some(&tracking.replace("0.000012345", "-4.5")), false, None).level, Level::Warning);
        let lost = tracking.replace("Normal", "Not synchronised");
        assert_eq!(synchronized(Some(&lost), true, Some("chronyd")).level, Level::Warning);
        assert_eq!(synchronized(None, true, None).level, Level::Ok);
        assert_eq!(synchronized(None, false, Some("ntpd")).level, Level::Ok);
        assert_eq!(synchronized(None, false, None).level, Level::Warning);
        assert_eq!(synchronized(Some("506 Cannot talk to daemon"), false, None).level, Level::Warning);
    }
}
