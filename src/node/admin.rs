//! What the node tells over HTTP: its cores are asked, and their answers are kept for a moment.
//!
//! Cores hand out what INFO is made of, when they are asked and not more often than [`ASK_EVERY`]; all else happens on the threads
//! of the crate [`admin`](::admin). Nobody here waits for a core longer than [`ANSWER_WAIT_MAX`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ::admin::{
    Exposition, NoProfile, OtlpCounts, SlowCommand, Source, Telemetry, TelemetryHandle, Unavailable, redis_names,
    units,
};
use engine::{CoreReport, Figure, MeshMessage, ReportReceiver, STAGE_BOUNDS_US, TURN_BOUNDS_US};
use serde_json::{Map, Value, json};
use types::CoreId;

use crate::config::Config;
use crate::port_wait::PortWait;
use crate::signals::StopRequests;
use crate::telemetry;

/// How old answers may be before the cores are asked again.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long the answers of the cores are waited for.
const ANSWER_WAIT_MAX: Duration = Duration::from_millis(800);
/// A core that has not answered for so long does not do its work any more.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What the node tells, whatever it is at. Clones tell the same.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    stop: StopRequests,
    /// Whether profiles are taken for whoever asks.
    profiling: bool,
    /// What became of what a collector was to be sent; `None` if there is none.
    otlp: OnceLock<Arc<OtlpCounts>>,
    /// Whoever tells of its own accord, once anything is wanted.
    telemetry: OnceLock<TelemetryHandle>,
    cores: OnceLock<Cores>,
}

/// The cores, once they run.
struct Cores {
    remote: rt::Remote<MeshMessage>,
    config: engine::Config,
    state: Mutex<Asked>,
}

/// What the cores have answered so far.
struct Asked {
    asked_at: Option<Instant>,
    cores: Vec<Answer>,
}

/// What is known of a core.
#[derive(Clone, Default)]
struct Answer {
    /// What it told last, and when.
    told: Option<(CoreReport, Instant)>,
    /// Since when it has been asked and has not answered.
    silent_since: Option<Instant>,
}

impl Admin {
    /// Of a node that does not run yet. `profiling` says whether profiles are taken for whoever asks.
    pub fn new(stop: StopRequests, profiling: bool) -> Admin {
        Admin {
            shared: Arc::new(Shared {
                stop,
                profiling,
                otlp: OnceLock::new(),
                telemetry: OnceLock::new(),
                cores: OnceLock::new(),
            }),
        }
    }

    /// Serves from now on; a port that a former process still holds is waited for.
    ///
    /// # Errors
    /// That the address cannot be listened on.
    pub fn serve(&self, addr: SocketAddr) -> Result<(), ::admin::Error> {
        let wait = PortWait::begin();
        let listener = loop {
            match ::admin::bind(addr) {
                Ok(listener) => break listener,
                Err(error) => match &error {
                    ::admin::Error::Bind { source, .. } => std::thread::sleep(wait.pause(source).ok_or(error)?),
                    ::admin::Error::Thread(_) => return Err(error),
                },
            }
        };
        ::admin::serve(listener, Arc::clone(&self.shared) as Arc<dyn Source>)
    }

    /// Tells others of its own accord what the configuration wants, from now on: other things than before, if it was called before.
    ///
    /// # Errors
    /// That there is no thread for it.
    pub fn tell(&self, config: &Config) -> Result<(), ::admin::Error> {
        if let Some(handle) = self.shared.telemetry.get() {
            handle.change(telemetry::change(config));
            return Ok(());
        }
        if !telemetry::is_wanted(config) {
            return Ok(());
        }
        // As one that tells nothing of slow commands at first: then those that were kept before are not told.
        let telemetry = Telemetry { logs_slow_commands: false, ..telemetry::of(config) };
        let counts = Arc::<OtlpCounts>::default();
        if telemetry.otlp_endpoint.is_some() {
            let is_first = self.shared.otlp.set(Arc::clone(&counts)).is_ok();
            assert!(is_first, "a node has one collector");
        }
        let handle = ::admin::tell(telemetry, Arc::clone(&self.shared) as Arc<dyn Source>, counts)?;
        handle.change(telemetry::change(config));
        let is_first = self.shared.telemetry.set(handle).is_ok();
        assert!(is_first, "a node has one thread that tells of its own accord");
        Ok(())
    }

    /// The cores run from now on. `config` is that of any of them.
    pub fn attach(&self, remote: rt::Remote<MeshMessage>, cores_count: usize, config: engine::Config) {
        let cores = vec![Answer::default(); cores_count];
        let attached =
            self.shared.cores.set(Cores { remote, config, state: Mutex::new(Asked { asked_at: None, cores }) });
        assert!(attached.is_ok(), "the cores of a node are started once");
    }

    /// Whether all cores do their work, or do not run yet. May take about a second.
    pub fn is_alive(&self) -> bool {
        self.shared.live().is_ok()
    }
}

impl Cores {
    /// What the cores tell now, or told a moment ago. Those who ask at the same time share the answers.
    fn ask(&self) -> Vec<Answer> {
        let mut state = self.lock();
        if state.asked_at.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            let asked_at = Instant::now();
            let reports = self.reports(state.cores.len());
            state.take(reports, asked_at);
            // Whoever has waited for the lock meanwhile shares these answers.
            state.asked_at = Some(Instant::now());
        }
        state.cores.clone()
    }

    fn reports(&self, cores_count: usize) -> Vec<CoreReport> {
        let (sender, receiver) = sync_channel(cores_count);
        for core in 0..cores_count {
            let sender = sender.clone();
            // There is room for the answers of all cores, and one that comes too late is of no use.
            let take = ReportReceiver::new(move |report| drop(sender.try_send(report)));
            // A core whose queue is full does not answer, and is found silent if that lasts.
            let _ = self.remote.send(CoreId(core as u16), MeshMessage::ReportWanted(take));
        }
        drop(sender);
        receive(&receiver, cores_count)
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        // What a panicking thread leaves are answers that came before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// All cores were asked, and these have answered.
    fn take(&mut self, reports: Vec<CoreReport>, asked_at: Instant) {
        for core in &mut self.cores {
            core.silent_since.get_or_insert(asked_at);
        }
        for report in reports {
            if let Some(core) = self.cores.get_mut(usize::from(report.addr().core.0)) {
                *core = Answer { told: Some((report, Instant::now())), silent_since: None };
            }
        }
    }
}

fn receive(receiver: &Receiver<CoreReport>, count: usize) -> Vec<CoreReport> {
    let deadline = Instant::now() + ANSWER_WAIT_MAX;
    let next = || receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    std::iter::from_fn(next).take(count).collect()
}

impl Shared {
    fn cores(&self) -> Result<&Cores, Unavailable> {
        self.cores.get().ok_or_else(|| {
            Unavailable::new(
                "the cores do not run yet: the node waits for the others to form the cluster, as its log says",
            )
        })
    }

    /// What each core told last and how old that is, if all have told something since they were started.
    fn reports(&self) -> Result<(&Cores, Vec<CoreReport>, Vec<Duration>), Unavailable> {
        let cores = self.cores()?;
        let answers = cores.ask();
        let missing = answers.iter().enumerate().filter(|(_, answer)| answer.told.is_none());
        let missing: Vec<String> = missing.map(|(core, _)| format!("core {core} has not answered yet")).collect();
        if !missing.is_empty() {
            return Err(Unavailable(missing));
        }
        let told = answers.into_iter().filter_map(|answer| answer.told);
        let (reports, ages) = told.map(|(report, at)| (report, at.elapsed())).unzip();
        Ok((cores, reports, ages))
    }
}

impl Source for Shared {
    fn metrics(&self, per_group: bool) -> Result<Exposition, Unavailable> {
        let (cores, reports, ages) = self.reports()?;
        let unix = unix_time();
        let info = engine::node_info(&cores.config, &reports, unix.as_millis() as u64);
        let mut out = Exposition::default();
        let cluster_info = reports.first().map_or("", CoreReport::cluster_info);
        let shown = reports.first().map_or(&[][..], |report| &report.settings().shown);
        let settings = shown.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        redis_names::write((&info, cluster_info), settings, unix.as_secs_f64(), &mut out);
        for (report, age) in reports.iter().zip(ages) {
            write_core(report, age, per_group, &mut out);
        }
        if let Some(counts) = self.otlp.get() {
            counts.write(&[("node", &cores.config.place.node.to_string())], &mut out);
        }
        Ok(out)
    }

    fn slow_commands(&self) -> Result<Vec<SlowCommand>, Unavailable> {
        let (_, reports, _) = self.reports()?;
        Ok(reports.iter().flat_map(telemetry::slow_commands).collect())
    }

    fn state(&self) -> Result<String, Unavailable> {
        let (cores, reports, ages) = self.reports()?;
        let states: Vec<Value> = reports.iter().zip(ages).map(|(report, age)| core_state(report, age)).collect();
        let settings: Map<String, Value> = reports
            .iter()
            .take(1)
            .flat_map(|report| &report.settings().shown)
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let state = json!({
            "node": cores.config.place.node.0,
            "version": cores.config.version,
            "cluster_id": cores.config.map.cluster_id.to_string(),
            "is_stopping": self.stop.count() > 0,
            "cores": states,
            "settings": settings,
        });
        Ok(state.to_string())
    }

    fn live(&self) -> Result<String, Unavailable> {
        let Some(cores) = self.cores.get() else { return Ok("the cores do not run yet".to_owned()) };
        let answers = cores.ask();
        let since = answers.iter().enumerate().filter_map(|(core, answer)| Some((core, answer.silent_since?)));
        let silent: Vec<String> = since
            .map(|(core, since)| (core, since.elapsed()))
            .filter(|(_, silent_for)| *silent_for > SILENCE_MAX)
            .map(|(core, silent_for)| silence(core, silent_for))
            .collect();
        if silent.is_empty() { Ok("alive".to_owned()) } else { Err(Unavailable(silent)) }
    }

    fn ready(&self) -> Result<String, Unavailable> {
        let (cores, reports, ages) = self.reports()?;
        let groups_count = cores.config.map.groups.len();
        let leaderless_count = reports.iter().map(CoreReport::groups_without_leader).max().unwrap_or(0);
        let silent = ages.iter().enumerate().filter(|(_, age)| **age > ASK_EVERY + ANSWER_WAIT_MAX);
        let mut reasons: Vec<String> = silent.map(|(core, age)| silence(core, *age)).collect();
        if self.stop.count() > 0 {
            reasons.push("the node was asked to stop".to_owned());
        }
        if leaderless_count == groups_count {
            reasons.push("no group has a leader that is known here".to_owned());
        }
        if !reasons.is_empty() {
            return Err(Unavailable(reasons));
        }
        Ok(match leaderless_count {
            0 => "ready".to_owned(),
            count => format!("ready, but {count} of {groups_count} groups have no leader that is known here"),
        })
    }

    fn cpu_profile(&self, time: Duration, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProfile> {
        if !self.profiling {
            return Err(NoProfile::Off("no profiles are taken here: `profiling` is false".to_owned()));
        }
        tracing::info!(seconds = time.as_secs(), "a CPU profile is taken");
        profile::cpu(time, is_wanted).map_err(no_profile)
    }

    fn heap_profile(&self) -> Result<Vec<u8>, NoProfile> {
        if !self.profiling {
            return Err(NoProfile::Off("no profiles are taken here: `profiling` is false".to_owned()));
        }
        profile::heap().map_err(no_profile)
    }
}

/// Why there is no profile, as the server tells it.
fn no_profile(error: profile::Error) -> NoProfile {
    match error {
        profile::Error::Busy => NoProfile::Busy(error.to_string()),
        profile::Error::NotStarted => {
            NoProfile::Off("allocations are not sampled here: `heap_profile_bytes` is 0".to_owned())
        }
        profile::Error::Unwanted | profile::Error::SignalTaken | profile::Error::Os { .. } => {
            NoProfile::Failed(error.to_string())
        }
    }
}

fn silence(core: usize, silent_for: Duration) -> String {
    format!("core {core} has not answered for {:.1} s", silent_for.as_secs_f64())
}

fn write_core(report: &CoreReport, age: Duration, per_group: bool, out: &mut Exposition) {
    let (node, core) = (report.addr().node.to_string(), report.addr().core.to_string());
    let labels = [("node", node.as_str()), ("core", core.as_str())];
    let help = "How old the answer of the core is that its figures are from.";
    out.gauge("coracle_report_age_seconds", help, &labels, age.as_secs_f64());
    let of_groups = if per_group { report.group_figures() } else { Vec::new() };
    for figure in report.figures().iter().chain(&of_groups) {
        let (name, scale) = units::name_and_scale(&figure.name, figure.is_counter);
        let own = figure.label.as_ref().map(|(label, value)| (*label, value.as_ref()));
        let labels: Vec<(&str, &str)> = labels.into_iter().chain(own).collect();
        let value = figure.value as f64 * scale;
        match figure.is_counter {
            true => out.counter(&name, figure.help, &labels, value),
            false => out.gauge(&name, figure.help, &labels, value),
        }
    }
    let turns = report.turn_figures();
    let buckets = TURN_BOUNDS_US.iter().zip(turns.counts).map(|(us, count)| (*us as f64 / 1e6, count));
    let total = (turns.count, turns.took.as_secs_f64());
    out.histogram("coracle_turn_seconds", "How long passes of the core's loop take.", &labels, buckets, total);
    for stage in report.stage_figures() {
        let labels = [labels[0], labels[1], ("stage", stage.name)];
        let buckets = STAGE_BOUNDS_US.iter().zip(stage.counts).map(|(us, count)| (*us as f64 / 1e6, count));
        let total = (stage.count, stage.took.as_secs_f64());
        out.histogram("coracle_stage_seconds", "How long stages of commands take.", &labels, buckets, total);
    }
}

fn core_state(report: &CoreReport, age: Duration) -> Value {
    let mut groups: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for figure in report.group_figures() {
        let Some((_, group)) = figure.label else { continue };
        let name = figure.name.trim_start_matches("group_").to_owned();
        groups.entry(group.into_owned()).or_default().insert(name, json!(figure.value));
    }
    let turns = report.turn_figures();
    json!({
        "core": report.addr().core.0,
        "report_age_seconds": age.as_secs_f64(),
        "figures": report.figures().into_iter().map(named).collect::<Map<String, Value>>(),
        "turns": {
            "count": turns.count,
            "seconds": turns.took.as_secs_f64(),
            "up_to_us": TURN_BOUNDS_US.iter().zip(turns.counts).collect::<Vec<_>>(),
        },
        "groups": groups,
    })
}

/// A figure as a field: what tells it from others of its name stands behind that.
fn named(figure: Figure) -> (String, Value) {
    let name = match &figure.label {
        Some((_, value)) => format!("{}_{value}", figure.name),
        None => figure.name.into_owned(),
    };
    (name, json!(figure.value))
}

fn unix_time() -> Duration {
    // A clock before 1970 is as wrong as one in 1970.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_silent_since_it_was_first_asked_and_did_not_answer() {
        let begin = Instant::now();
        let mut asked = Asked { asked_at: None, cores: vec![Answer::default(); 2] };
        asked.take(vec![CoreReport::default()], begin);
        assert!(asked.cores[0].told.is_some() && asked.cores[0].silent_since.is_none());
        assert!(asked.cores[1].told.is_none());
        asked.take(Vec::new(), begin + Duration::from_secs(1));
        let since: Vec<_> = asked.cores.iter().map(|core| core.silent_since).collect();
        assert_eq!(since, [Some(begin + Duration::from_secs(1)), Some(begin)]);
        asked.take(vec![CoreReport::default()], begin + Duration::from_secs(2));
        assert_eq!(asked.cores[0].silent_since, None);
    }

    #[test]
    fn a_node_whose_cores_do_not_run_lives_and_is_not_ready() {
        let admin = Admin::new(StopRequests::default(), false);
        assert!(admin.shared.live().is_ok());
        let figures = admin.shared.metrics(false).map(|figures| figures.to_text());
        for answer in [admin.shared.ready(), admin.shared.state(), figures] {
            let reason = answer.expect_err("there is nothing to tell").to_string();
            assert!(reason.contains("waits for the others to form the cluster"), "{reason}");
        }
    }

    #[test]
    fn figures_of_a_core_are_labelled_and_in_base_units() {
        let mut out = Exposition::default();
        write_core(&CoreReport::default(), Duration::from_millis(1_500), true, &mut out);
        let text = out.to_text();
        for line in [
            "coracle_report_age_seconds{node=\"0\",core=\"0\"} 1.5",
            "coracle_turns_total{node=\"0\",core=\"0\"} 0",
            "coracle_flush_last_seconds{node=\"0\",core=\"0\"} 0",
            "coracle_memory_bytes{node=\"0\",core=\"0\",pool=\"keys\"} 0",
            "coracle_turn_seconds_bucket{node=\"0\",core=\"0\",le=\"0.00001\"} 0",
            "coracle_stage_seconds_bucket{node=\"0\",core=\"0\",stage=\"commit\",le=\"0.00002\"} 0",
            "coracle_stage_seconds_count{node=\"0\",core=\"0\",stage=\"log_write\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing:\n{text}");
        }
    }
}
