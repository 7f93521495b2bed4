//! The checker is shown logs and answers that are right, and each thing that can be wrong with them.

use std::time::Duration;

use resp::CommandId;
use types::{CoreAddr, CoreId, GroupId, Index, Instant, NodeId, ReplicaId, Term};
use wire::BatchBuilder;

use super::Expiry;
use super::bounds::GONE_WITHIN;
use crate::checkers::Violation;
use crate::clock::{NodeClock, UNIX_START_MS};
use crate::history::{ExpiringCall, History, Life, Outcome, Text};
use crate::observation::{Observation, ObservationKind};

const KEY: &str = "expiring1";
const RECOVERY_MAX: Duration = Duration::from_secs(15);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// A group of a cluster whose two clocks are right at first. Times are true ones, in milliseconds.
struct Story {
    expiry: Expiry,
    history: History,
    clocks: Vec<NodeClock>,
    term: Term,
    index: Index,
    result: Result<(), Violation>,
}

impl Story {
    fn new() -> Story {
        let clocks = vec![NodeClock::new(0, 0), NodeClock::new(5, 0)];
        let (expiry, history) = (Expiry::default(), History::new());
        let mut story = Story { expiry, history, clocks, term: 1, index: 0, result: Ok(()) };
        story.see(0, ObservationKind::Clocks(story.clocks.clone()));
        story
    }

    fn see(&mut self, ms: u64, kind: ObservationKind) {
        let place = CoreAddr { node: NodeId(1), core: CoreId(0) };
        let seen = Observation { at: at(ms), place, group: GroupId(1), replica: ReplicaId(1), kind };
        if self.result.is_ok() {
            self.result = self.expiry.observe(&seen);
        }
    }

    fn jump(&mut self, ms: u64, by_ms: i64) {
        self.clocks[0].jump_unix(by_ms);
        self.see(ms, ObservationKind::Clocks(self.clocks.clone()));
    }

    /// A batch of a time, applied then.
    fn batch(&mut self, ms: u64, time_ms: u64, calls: &[ExpiringCall]) {
        let mut builder = BatchBuilder::default();
        for call in calls {
            let (name, rest) = call.words();
            let id = match name {
                "SET" => CommandId::Set,
                "PERSIST" => CommandId::Persist,
                "GETDEL" => CommandId::GetDel,
                other => panic!("{other} is not used here"),
            };
            let arguments = [KEY.as_bytes()].into_iter().chain(rest.iter().map(|text| &text[..]));
            builder.push(id.as_u16(), 0, arguments);
        }
        self.index += 1;
        let payload = builder.finish(UNIX_START_MS + time_ms);
        self.see(ms, ObservationKind::Batch { term: self.term, index: self.index, payload });
    }

    fn ask(&mut self, (begin, end): (u64, u64), call: ExpiringCall, outcome: Outcome) {
        let id = self.history.expiring.begin(1, at(begin), Text::from_static(KEY.as_bytes()), call);
        self.history.expiring.end(id, at(end), outcome);
    }

    /// A client sets the key for a while: the batch is applied half way.
    fn set(&mut self, (begin, end): (u64, u64), value: &'static str, life: Life) {
        let call = ExpiringCall::Set(Text::from_static(value.as_bytes()), life);
        self.batch((begin + end) / 2, (begin + end) / 2, std::slice::from_ref(&call));
        self.ask((begin, end), call, Outcome::Ok);
    }

    fn judge(&self) -> Result<u64, Violation> {
        self.result.clone()?;
        self.expiry.finish(&self.history, RECOVERY_MAX)
    }

    #[track_caller]
    fn assert_objects(&self, words: &str) {
        let violation = self.judge().expect_err("the checker must object");
        assert_eq!(violation.checker, "expiry");
        assert!(violation.message.contains(words), "{violation}");
    }
}

fn value(text: &'static str) -> Outcome {
    Outcome::Value(Some(Text::from_static(text.as_bytes())))
}

const NOTHING: Outcome = Outcome::Value(None);

#[test]
fn a_key_that_is_there_and_then_gone_is_sound() {
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Millis(50));
    story.ask((120, 130), ExpiringCall::Get, value("a"));
    story.ask((120, 130), ExpiringCall::PTtl, Outcome::Integer(30));
    story.ask((120, 130), ExpiringCall::PExpireTime, Outcome::Integer((UNIX_START_MS + 155) as i64));
    story.batch(160, 155, &[]);
    story.ask((160, 165), ExpiringCall::Get, NOTHING);
    story.ask((160, 165), ExpiringCall::Ttl, Outcome::Integer(-2));
    assert_eq!(story.judge(), Ok(6));
}

#[test]
fn a_read_may_see_each_side_of_a_write_under_way_and_nothing_older() {
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Forever);
    story.set((200, 300), "b", Life::Forever);
    story.ask((210, 260), ExpiringCall::Get, value("a"));
    story.ask((210, 260), ExpiringCall::Get, value("b"));
    assert_eq!(story.judge(), Ok(4));
    story.ask((260, 270), ExpiringCall::Get, value("a"));
    story.assert_objects("is not explained");
}

#[test]
fn a_key_that_is_gone_early_or_comes_back_is_noticed() {
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Millis(50));
    story.batch(150, 150, &[]);
    story.ask((151, 152), ExpiringCall::Get, NOTHING);
    story.assert_objects("is not explained");
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Millis(50));
    story.batch(160, 160, &[]);
    story.ask((161, 162), ExpiringCall::Get, value("a"));
    story.assert_objects("is not explained");
}

#[test]
fn a_time_left_beyond_what_clocks_allow_is_noticed() {
    for (left, is_sound) in [(50, true), (51, false), (15, true), (12, false)] {
        let mut story = Story::new();
        story.set((100, 110), "a", Life::Millis(50));
        story.ask((120, 140), ExpiringCall::PTtl, Outcome::Integer(left));
        assert_eq!(story.judge().is_ok(), is_sound, "{left}");
    }
}

#[test]
fn a_set_that_keeps_the_expiry_of_before_is_noticed() {
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Millis(50));
    story.set((120, 130), "b", Life::Forever);
    story.batch(200, 200, &[]);
    story.ask((201, 202), ExpiringCall::Get, NOTHING);
    story.assert_objects("is not explained");
}

#[test]
fn a_write_that_answers_wrongly_or_is_not_in_the_log_is_noticed() {
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Forever);
    story.batch(125, 125, &[ExpiringCall::Persist]);
    story.ask((120, 130), ExpiringCall::Persist, Outcome::Integer(1));
    story.assert_objects("should have answered Integer(0)");
    let mut story = Story::new();
    story.ask((120, 130), ExpiringCall::Persist, Outcome::Integer(0));
    story.assert_objects("in its place in the log stands None");
    let mut story = Story::new();
    story.batch(125, 125, &[ExpiringCall::GetDel]);
    story.ask((120, 130), ExpiringCall::GetDel, Outcome::NotApplied);
    story.assert_objects("stands in the log that was not sent");
}

#[test]
fn time_that_goes_back_is_noticed() {
    let mut story = Story::new();
    story.batch(100, 90, &[]);
    story.batch(110, 89, &[]);
    story.assert_objects("is before");
    // Another leader may not know yet what time it is, and it is that all the same.
    let mut story = Story::new();
    story.set((100, 110), "a", Life::Millis(50));
    story.batch(200, 200, &[]);
    story.term = 2;
    story.batch(220, 120, &[]);
    story.ask((230, 240), ExpiringCall::Get, NOTHING);
    assert_eq!(story.judge(), Ok(2));
}

#[test]
fn time_is_no_further_than_a_clock_can_have_led_it() {
    let mut story = Story::new();
    story.batch(100, 102, &[]);
    assert_eq!(story.judge(), Ok(0));
    story.batch(101, 110, &[]);
    story.assert_objects("beyond");
    // A clock that was set back long ago leaves a lead of half of the time since.
    for (time_ms, is_sound) in [(5_100 + 550, true), (5_100 + 560, false)] {
        let mut story = Story::new();
        story.jump(50, 5_000);
        story.jump(100, -5_000);
        story.batch(1_100, time_ms, &[]);
        assert_eq!(story.judge().is_ok(), is_sound, "{time_ms}");
    }
}

#[test]
fn too_many_batches_for_nothing_but_the_time_are_noticed() {
    for (every_ms, is_sound) in [(100, true), (50, false)] {
        let mut story = Story::new();
        story.batch(10, 10, &[]);
        for count in 1..=40 {
            story.see(count * every_ms, ObservationKind::TimeBatches(count));
        }
        assert_eq!(story.judge().is_ok(), is_sound, "{every_ms}");
    }
}

#[test]
fn a_key_that_is_due_must_go_though_nobody_asks() {
    let gone_ms = (RECOVERY_MAX + GONE_WITHIN).as_millis() as u64 + 1_000;
    for (goes_at, is_sound) in [(gone_ms - 10, true), (gone_ms + 10, false)] {
        let mut story = Story::new();
        story.set((100, 110), "a", Life::Millis(50));
        story.history.heal(at(1_000));
        story.batch(goes_at, goes_at, &[]);
        assert_eq!(story.judge().is_ok(), is_sound, "{goes_at}");
    }
}

#[test]
fn a_key_that_every_clock_says_is_due_is_not_answered_where_nothing_is_wrong() {
    for (read_at, is_sound) in [(7_000, true), (8_200, false)] {
        let mut story = Story::new();
        story.set((100, 110), "a", Life::Millis(7_000));
        story.history.heal(at(1_000));
        story.ask((read_at, read_at + 1), ExpiringCall::Get, value("a"));
        story.batch(9_000, 9_000, &[]);
        assert_eq!(story.judge().is_ok(), is_sound, "{read_at}");
    }
}

#[test]
fn what_fails_when_everything_should_work_is_noticed() {
    let mut story = Story::new();
    story.history.heal(at(1_000));
    story.ask((15_000, 15_001), ExpiringCall::Get, Outcome::NotApplied);
    assert_eq!(story.judge(), Ok(0));
    story.ask((16_000, 16_001), ExpiringCall::Get, Outcome::NotApplied);
    story.assert_objects("has failed");
}
