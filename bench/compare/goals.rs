//! Coracle's figures against those of its peers and against its goals.

use serde::Serialize;

use crate::compare::measure::{Sample, Test};
use crate::compare::{coracle, etcd, redis, table};
use crate::load::mix::Kind;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// What is compared with what.
    pub what: String,
    /// Coracle's figure.
    pub ours: Option<f64>,
    /// The figure of the peer, where there is one.
    pub peer: Option<f64>,
    /// Their ratio, or Coracle's figure itself.
    pub value: Option<f64>,
    /// Where the value should stand.
    pub bound: Bound,
}

/// Where a value should stand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No lower.
    AtLeast(f64),
    /// No higher.
    AtMost(f64),
}

impl Goal {
    /// Whether the goal is reached; `None` if the figures are missing.
    pub fn is_met(&self) -> Option<bool> {
        let value = self.value?;
        Some(match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        })
    }
}

/// The goals, from the medians; `many` is the number of connections of the large runs.
pub fn weigh(samples: &[Sample], many: usize) -> Vec<Goal> {
    let find =
        |system: &str, test: &str| samples.iter().find(|sample| sample.system == system && sample.test == test);
    // A rate that was reached with errors is no rate.
    let rate = |system: &str, test: &str| find(system, test).filter(|s| s.errors_count == 0).map(|s| s.ops_per_s);
    let (one, three) = (coracle::system(1), coracle::system(3));
    let p50 = |system: &str, test: &str| find(system, test).map(|s| s.p50_us);
    let p99 = |system: &str, test: &str| find(system, test).map(|s| s.p99_us);
    let etcd_best = samples.iter().filter(|s| s.system == etcd::SYSTEM).map(|s| s.ops_per_s).reduce(f64::max);
    let raw = "overwrite 4 KiB";
    let ratio = |what: String, ours: Option<f64>, peer: Option<f64>, bound| Goal {
        what,
        ours,
        peer,
        value: ours.zip(peer).filter(|(_, peer)| *peer > 0.0).map(|(ours, peer)| ours / peer),
        bound,
    };
    let alone =
        |what: &str, ours: Option<f64>, bound| Goal { what: what.to_owned(), ours, peer: None, value: ours, bound };
    let many_p1 = rate(&three, &Test::closed(Kind::Set, many, 1).name());
    let shared = rate(&three, &Test::shared(many).name());
    let name = |what: &str| format!("SET/s, 3 replicas, {many} {what} : etcd's best");
    let mut goals = vec![
        ratio(name("connections"), many_p1, etcd_best, Bound::AtLeast(20.0)),
        ratio(name("clients sharing connections"), shared, etcd_best, Bound::AtLeast(20.0)),
    ];
    for pipeline in [1, 16] {
        let set = format!("SET c=50 P={pipeline}");
        let get = format!("GET c=50 P={pipeline}");
        let redis_set = rate(redis::SYSTEM, &set);
        let redis_get = rate(redis::SYSTEM, &get);
        let name = |what: &str| format!("{what} : Redis, P={pipeline}");
        goals.push(ratio(name("SET/s, 1 replica"), rate(&one, &set), redis_set, Bound::AtLeast(1.4)));
        goals.push(ratio(name("SET/s, 3 replicas"), rate(&three, &set), redis_set, Bound::AtLeast(0.8)));
        goals.push(ratio(name("GET/s, 1 core"), rate(&one, &get), redis_get, Bound::AtLeast(1.2)));
    }
    let (alone_test, busy_test) = ("SET c=1 P=1", "SET c=50, 70 % of P=1");
    let (raw_p50, raw_p99) = (p50("disk", raw), p99("disk", raw));
    goals.push(ratio(
        "unloaded SET p50, 3 replicas : raw sync".into(),
        p50(&three, alone_test),
        raw_p50,
        Bound::AtMost(2.0),
    ));
    goals.push(ratio(
        "SET p99 at 70 %, 1 replica : raw sync".into(),
        p99(&one, busy_test),
        raw_p99,
        Bound::AtMost(1.5),
    ));
    goals.push(ratio(
        "SET p99 at 70 %, 3 replicas : raw sync".into(),
        p99(&three, busy_test),
        raw_p99,
        Bound::AtMost(1.5),
    ));
    let saturated = find(&three, &Test::closed(Kind::Set, many, 16).name()).and_then(|s| s.ops_per_sync);
    goals.push(alone("SETs per sync at saturation, 3 replicas", saturated, Bound::AtLeast(200.0)));
    let user = find(&one, "SET c=50 P=16").and_then(|s| s.user_us_per_op);
    goals.push(alone("user CPU us per SET, 1 replica, P=16", user, Bound::AtMost(1.5)));
    goals
}

/// The goals as a table.
pub fn render(goals: &[Goal]) -> String {
    let heads = ["comparison", "coracle", "peer", "value", "goal", "met"].map(str::to_owned);
    let mut rows = vec![heads];
    let figure = |value: Option<f64>| match value {
        None => "-".to_owned(),
        Some(value) if value >= 1_000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    };
    for goal in goals {
        let bound = match goal.bound {
            Bound::AtLeast(bound) => format!(">= {bound}"),
            Bound::AtMost(bound) => format!("<= {bound}"),
        };
        let met = goal.is_met().map_or("-", |met| if met { "yes" } else { "no" });
        rows.push([
            goal.what.clone(),
            figure(goal.ours),
            figure(goal.peer),
            figure(goal.value),
            bound,
            met.to_owned(),
        ]);
    }
    table::align(&rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(system: &str, test: &str, ops_per_s: f64) -> Sample {
        Sample { system: system.into(), test: test.into(), ops_per_s, ..Sample::default() }
    }

    #[test]
    fn ratios_are_taken_against_the_right_peer() {
        let samples = [
            sample("redis", "SET c=50 P=1", 100.0),
            sample("etcd x3", "PUT clients=100 c=100", 4.0),
            sample("etcd x3", "PUT clients=1000 c=100", 5.0),
            sample("coracle x1", "SET c=50 P=1", 150.0),
            sample("coracle x3", "SET c=50 P=1", 70.0),
            sample("coracle x3", "SET c=1000 P=1", 110.0),
        ];
        let goals = weigh(&samples, 1_000);
        let of = |what: &str| goals.iter().find(|goal| goal.what.starts_with(what)).unwrap();
        assert_eq!(
            (of("SET/s, 3 replicas, 1000 conn").value, of("SET/s, 3 replicas, 1000 conn").is_met()),
            (Some(22.0), Some(true))
        );
        assert_eq!((of("SET/s, 1 replica ").value, of("SET/s, 1 replica ").is_met()), (Some(1.5), Some(true)));
        assert_eq!((of("SET/s, 3 replicas :").value, of("SET/s, 3 replicas :").is_met()), (Some(0.7), Some(false)));
        assert_eq!(of("GET/s").is_met(), None, "nothing was measured");
    }

    #[test]
    fn a_rate_with_errors_meets_no_goal() {
        let failed = Sample { errors_count: 1, ..sample("coracle x1", "SET c=50 P=1", 1_000.0) };
        let goals = weigh(&[sample("redis", "SET c=50 P=1", 1.0), failed], 1_000);
        assert!(goals.iter().all(|goal| goal.is_met().is_none()));
    }
}
