//! Tells others of its own accord: a thread that looks at intervals what there is, sends figures and slow commands to a collector, and
//! writes lines about slow commands to the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender as ChangeSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::otlp::{self, Loss, Origin, OtlpCounts, Sender, Signal};
use crate::server::Error;
use crate::slow_command::SlowCommand;
use crate::source::Source;

/// Stack of the thread, in bytes.
const STACK_BYTES: usize = 1 << 20;

/// What is told, to whom.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318`; `None` for nowhere.
    pub otlp_endpoint: Option<String>,
    /// How often there is a look.
    pub interval: Duration,
    /// Whether slow commands are lines of the log.
    pub logs_slow_commands: bool,
    /// What is known of the node, by the names of OpenTelemetry's conventions.
    pub attributes: Vec<(String, String)>,
    /// The version of the program.
    pub version: String,
}

/// What of it may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelemetryChange {
    /// How often there is a look.
    pub interval: Duration,
    /// Whether slow commands are lines of the log.
    pub logs_slow_commands: bool,
}

/// Changes what is told.
#[derive(Clone, Debug)]
pub struct TelemetryHandle(ChangeSender<TelemetryChange>);

impl TelemetryHandle {
    /// From now on this holds. Slow commands of before are not written to the log.
    pub fn change(&self, change: TelemetryChange) {
        // The thread ends with the process, and not before.
        let _ = self.0.send(change);
    }
}

/// Tells from now on, on a thread of its own, until the process ends. What waits by then is lost.
///
/// # Errors
/// [`Error::Thread`].
pub fn tell(
    telemetry: Telemetry,
    source: Arc<dyn Source>,
    counts: Arc<OtlpCounts>,
) -> Result<TelemetryHandle, Error> {
    let (sender, changes) = mpsc::channel();
    let builder = thread::Builder::new().name("telemetry".to_owned()).stack_size(STACK_BYTES);
    let spawned = builder.spawn(move || Teller::new(telemetry, source, counts).run(&changes));
    spawned.map(|_| TelemetryHandle(sender)).map_err(Error::Thread)
}

struct Teller {
    source: Arc<dyn Source>,
    interval: Duration,
    logs_slow_commands: bool,
    origin: Origin,
    sender: Option<Sender>,
    counts: Arc<OtlpCounts>,
    seen: Seen,
}

impl Teller {
    fn new(telemetry: Telemetry, source: Arc<dyn Source>, counts: Arc<OtlpCounts>) -> Teller {
        let Telemetry { otlp_endpoint, interval, logs_slow_commands, attributes, version } = telemetry;
        Teller {
            source,
            interval,
            logs_slow_commands,
            origin: Origin { attributes, version, started: since_1970() },
            sender: otlp_endpoint.map(|endpoint| Sender::new(&endpoint, Arc::clone(&counts))),
            counts,
            seen: Seen::default(),
        }
    }

    fn run(mut self, changes: &Receiver<TelemetryChange>) {
        let mut next_look = Instant::now() + self.interval;
        loop {
            let attempt = self.sender.as_ref().and_then(Sender::next_attempt);
            let until = attempt.map_or(next_look, |attempt| attempt.min(next_look));
            match changes.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(change) => {
                    self.take(change);
                    next_look = Instant::now() + self.interval;
                }
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody can change anything any more.
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(until.saturating_duration_since(Instant::now()));
                }
            }
            if Instant::now() >= next_look {
                self.look();
                // A collector that is slow makes looks rarer, and does not make them come at once behind that.
                next_look = Instant::now() + self.interval;
            }
            if let Some(sender) = &mut self.sender {
                sender.send_waiting();
            }
        }
    }

    /// Takes a change in. Whoever was not told of slow commands before is told of those that come from now on.
    fn take(&mut self, change: TelemetryChange) {
        self.interval = change.interval;
        if !self.logs_slow_commands && change.logs_slow_commands && self.sender.is_none() {
            let _: (Vec<SlowCommand>, usize) = self.seen.take_new(self.source.slow_commands().unwrap_or_default());
        }
        self.logs_slow_commands = change.logs_slow_commands;
    }

    fn look(&mut self) {
        // Until the cores run there is nothing to tell.
        let Ok(kept) = self.source.slow_commands() else { return };
        let (new, missed_count) = self.seen.take_new(kept);
        self.counts.dropped(Signal::Traces, Loss::Overwritten, missed_count);
        if self.logs_slow_commands {
            new.iter().for_each(SlowCommand::log);
        }
        let Some(sender) = &mut self.sender else { return };
        if !new.is_empty() {
            sender.push(otlp::spans(&self.origin, &new));
        }
        if let Ok(figures) = self.source.metrics(false) {
            sender.push(otlp::metrics(&self.origin, &figures, since_1970()));
        }
    }
}

/// Up to which number the slow commands of each core were seen.
#[derive(Default)]
struct Seen {
    ends: HashMap<String, u64>,
}

impl Seen {
    /// The commands that were not seen before, and how many have come and gone since.
    fn take_new(&mut self, kept: Vec<SlowCommand>) -> (Vec<SlowCommand>, usize) {
        let (mut new, mut missed_count) = (Vec::new(), 0);
        let mut cores: HashMap<String, Vec<SlowCommand>> = HashMap::new();
        for command in kept {
            cores.entry(command.core.clone()).or_default().push(command);
        }
        for (core, mut commands) in cores {
            commands.sort_by_key(|command| command.sequence);
            let end = self.ends.entry(core).or_insert(0);
            commands.retain(|command| command.sequence >= *end);
            if let Some(last) = commands.last() {
                missed_count += usize::try_from(last.sequence + 1 - *end).unwrap_or(usize::MAX) - commands.len();
                *end = last.sequence + 1;
            }
            new.append(&mut commands);
        }
        (new, missed_count)
    }
}

fn since_1970() -> Duration {
    // A clock before 1970 is as wrong as one in 1970.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
