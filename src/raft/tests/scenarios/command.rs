//! The command language.

use std::time::Duration;

use bytes::Bytes;
use raft::{Change, Config};
use types::{CoreAddr, GroupId, ReplicaId, Term};
use wire::{Entry, EntryKind, HardState, Member, Payload};

use crate::network::Selection;
use crate::replica::Replica;
use crate::show;
use crate::world::World;

/// Step of `run`.
const RUN_STEP: Duration = Duration::from_millis(50);

/// Runs the commands of a block, one a line. Returns what is to be shown.
pub(crate) fn run_block(world: &mut World, input: &str) -> Result<String, String> {
    let lines: Vec<&str> = input.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for line in &lines {
        if lines.len() > 1 {
            world.say(&format!("> {line}"));
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Err(error) = run(world, words[0], &words[1..]) {
            return Err(format!("`{line}`: {error}\n{}", std::mem::take(&mut world.out)));
        }
    }
    Ok(std::mem::take(&mut world.out))
}

fn run(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    match command {
        "cluster" => cluster(world, words),
        "disk" | "persist" | "answer" | "stored" | "crash" | "start" | "restart" => storage(world, command, words),
        "tick" | "sleep" | "wait" | "run" | "campaign" | "elect" => time(world, command, words),
        "snapshot" | "compact" | "restore" => snapshots(world, command, words),
        "change" => change(world, words),
        "propose" | "read-index" | "lease-read" | "transfer" | "unreachable" | "wake" => ask(world, command, words),
        "deliver" => world.deliver(&Selection::parse(words)?),
        "drop" | "copy" | "save" | "send" | "cut" | "isolate" | "heal" => network(world, command, words),
        "settle" => world.settle(),
        "status" | "progress" | "members" | "log" | "on-disk" | "counters" => look(world, command, words),
        other => Err(format!("`{other}` is no command")),
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

fn numbers(word: &str) -> Result<Vec<u64>, String> {
    word.split(',').filter(|part| !part.is_empty()).map(number).collect()
}

fn id(words: &[&str]) -> Result<ReplicaId, String> {
    number(words.first().ok_or("which replica?")?).map(ReplicaId)
}

fn duration(word: Option<&&str>) -> Result<Duration, String> {
    let word = word.ok_or("how long?")?;
    let millis = word.strip_suffix("ms").ok_or_else(|| format!("`{word}` is no time in ms"))?;
    number(millis).map(Duration::from_millis)
}

fn cluster(world: &mut World, words: &[&str]) -> Result<(), String> {
    let setting = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let voters: Vec<_> = numbers(setting("voters").ok_or("which voters?")?)?.into_iter().map(ReplicaId).collect();
    let joining: Vec<_> = numbers(setting("joining").unwrap_or(""))?.into_iter().map(ReplicaId).collect();
    *world = World { out: std::mem::take(&mut world.out), ..World::default() };
    for id in voters.iter().chain(&joining) {
        let first = if joining.contains(id) { Vec::new() } else { voters.clone() };
        let mut config = Config::new(GroupId(1), *id, first);
        for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
            configure(&mut config, name, value)?;
        }
        let mut replica = Replica::new(config);
        if !words.contains(&"down") {
            replica.start()?;
        }
        world.replicas.insert(*id, replica);
    }
    world.running().into_iter().try_for_each(|id| world.drain(id))?;
    Ok(())
}

fn configure(config: &mut Config, name: &str, value: &str) -> Result<(), String> {
    let millis = || number(value).map(Duration::from_millis);
    match name {
        "voters" | "joining" => {}
        "first-campaigner" => config.first_campaigner = config.id == ReplicaId(number(value)?),
        "heartbeat" => config.heartbeat_interval = millis()?,
        "election-min" => config.election_timeout_min = millis()?,
        "election-max" => config.election_timeout_max = millis()?,
        "drift-ppm" => config.clock_drift_ppm_max = number(value)?,
        "inflight-count" => config.inflight_count_max = number(value)?,
        "inflight-bytes" => config.inflight_bytes_max = number(value)?,
        "append-bytes" => config.append_bytes_max = number(value)?,
        "uncommitted-bytes" => config.uncommitted_bytes_max = number(value)?,
        "quiesce" => config.quiesce_intervals_count = number(value)?,
        own if own.starts_with("priority-") => {
            if own == format!("priority-{}", config.id) {
                config.priority = number(value)?;
            }
        }
        "cache-bytes" => config.cache_bytes_max = number(value)?,
        other => return Err(format!("`{other}` is no setting")),
    }
    Ok(())
}

fn storage(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    let id = id(words)?;
    let count = words.get(1).and_then(|word| word.parse().ok());
    match command {
        "disk" => {
            world.replica(id)?.manual = words.get(1) == Some(&"manual");
            world.drain(id)
        }
        "persist" => world.persist(id, count.unwrap_or(usize::MAX)),
        "answer" if words.get(1) == Some(&"failed") => {
            let reads: Vec<_> = world.replica(id)?.log_reads.drain(..).collect();
            for read in reads {
                world.raft(id)?.log_read_failed(read.purpose);
            }
            world.drain(id)
        }
        "answer" => world.answer(id),
        "stored" => stored(world.replica(id)?, &words[1..]),
        "crash" => {
            world.replica(id)?.crash(count.unwrap_or(0));
            Ok(())
        }
        "start" => {
            world.replica(id)?.start()?;
            world.drain(id)
        }
        _ => {
            world.replica(id)?.crash(count.unwrap_or(0));
            world.replica(id)?.start()?;
            world.drain(id)
        }
    }
}

fn snapshots(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    let id = id(words)?;
    match command {
        "snapshot" => world.snapshot(id),
        "compact" => world.compact(id, words.get(1).map(|word| number(word)).transpose()?),
        _ => {
            let source = ReplicaId(number(words.get(1).ok_or("from whom?")?)?);
            let meta = world.replica(source)?.disk.snapshot.clone().ok_or("it has no snapshot")?;
            world.restore(id, meta)
        }
    }
}

/// `change 1 add=4 promote=4 remove=3`
fn change(world: &mut World, words: &[&str]) -> Result<(), String> {
    let id = id(words)?;
    let mut changes = Vec::new();
    for word in &words[1..] {
        let (what, ids) = word.split_once('=').ok_or("add=4 promote=4 remove=3")?;
        for who in numbers(ids)?.into_iter().map(ReplicaId) {
            changes.push(match what {
                "add" => Change::AddLearner(Member { id: who, place: CoreAddr::default() }),
                "promote" => Change::Promote(who),
                "remove" => Change::Remove(who),
                other => return Err(format!("`{other}` is no change")),
            });
        }
    }
    let clock = world.replica(id)?.clock;
    if let Err(error) = world.raft(id)?.change_membership(&changes, clock) {
        world.say(&format!("refused: {error}"));
    }
    world.drain(id)
}

fn stored(replica: &mut Replica, words: &[&str]) -> Result<(), String> {
    if replica.raft.is_some() {
        return Err("a log is laid on the disk of a replica that is down".into());
    }
    let mut state = HardState::default();
    for word in words {
        let (name, value) = word.split_once('=').ok_or("KEY=VALUE is expected")?;
        match name {
            "term" => state.term = number(value)?,
            "vote" => state.vote = Some(ReplicaId(number(value)?)),
            "commit" => state.commit = number(value)?,
            "terms" => replica.disk.entries = numbers(value)?.into_iter().zip(1..).map(laid).collect(),
            other => return Err(format!("`{other}` is not stored")),
        }
    }
    replica.disk.hard_state = state;
    Ok(())
}

fn laid((term, index): (Term, u64)) -> Entry {
    Entry { term, index, kind: EntryKind::Empty, payload: Payload::EMPTY }
}

fn time(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    match command {
        "tick" => world.tick(id(words)?, duration(words.get(1))?),
        "sleep" => {
            world.replica(id(words)?)?.clock += duration(words.get(1))?;
            Ok(())
        }
        "wait" => {
            let by = duration(words.first())?;
            world.running().into_iter().try_for_each(|id| world.tick(id, by))
        }
        "run" => {
            let mut left = duration(words.first())?;
            while !left.is_zero() {
                let step = left.min(RUN_STEP);
                world.running().into_iter().try_for_each(|id| world.tick(id, step))?;
                world.settle()?;
                left -= step;
            }
            Ok(())
        }
        "campaign" => campaign(world, id(words)?),
        _ => {
            let id = id(words)?;
            campaign(world, id)?;
            world.settle()?;
            if world.raft(id)?.is_leader() { Ok(()) } else { Err(format!("{id} was not elected")) }
        }
    }
}

/// Moves the clock of a replica to its election deadline, and on to a multiple of the heartbeat interval.
fn campaign(world: &mut World, id: ReplicaId) -> Result<(), String> {
    let raft = world.raft(id)?;
    if raft.is_leader() {
        return Err(format!("{id} leads"));
    }
    let deadline = raft.next_wake().ok_or(format!("{id} has no timer"))?;
    let interval = raft.config().heartbeat_interval.as_nanos() as u64;
    let clock = world.replica(id)?.clock;
    let target = deadline.max(clock).as_nanos().div_ceil(interval) * interval;
    world.tick(id, Duration::from_nanos(target - clock.as_nanos()))
}

fn ask(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    let id = id(words)?;
    let clock = world.replica(id)?.clock;
    let said = match command {
        "propose" => {
            let payload = payload(words.get(1).ok_or("propose what?")?)?;
            world.raft(id)?.propose(payload, clock).map(|_| String::new()).map_err(|e| e.to_string())
        }
        "read-index" => {
            let count: u64 = words.get(1).map_or(Ok(1), |word| number(word))?;
            let first = world.reads_count + 1;
            world.reads_count += count;
            let asked =
                (first..first + count).map(|ctx| world.raft(id)?.read_index(ctx, clock).map_err(|e| e.to_string()));
            asked.collect::<Result<Vec<()>, _>>().map(|_| String::new())
        }
        "lease-read" => {
            let read = world.raft(id)?.lease_read(clock);
            read.map(|index| format!("{id} may serve at {index}")).map_err(|e| e.to_string())
        }
        "transfer" => {
            let to = words.get(1).map(|word| number(word).map(ReplicaId)).transpose()?;
            world.raft(id)?.transfer_leader(to, clock).map(|to| format!("to {to}")).map_err(|e| e.to_string())
        }
        "wake" => {
            world.raft(id)?.wake(clock);
            Ok(String::new())
        }
        _ => {
            let peer = ReplicaId(number(words.get(1).ok_or("unreachable by whom?")?)?);
            world.raft(id)?.peer_unreachable(peer);
            Ok(String::new())
        }
    };
    let line = said.unwrap_or_else(|error| format!("refused: {error}"));
    if !line.is_empty() {
        world.say(&line);
    }
    world.drain(id)
}

/// `x`, or `x*1000` for a thousand of them.
fn payload(word: &str) -> Result<Bytes, String> {
    match word.split_once('*') {
        Some((text, count)) => Ok(text.repeat(number(count)?).into()),
        None => Ok(Bytes::copy_from_slice(word.as_bytes())),
    }
}

fn network(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    match command {
        "drop" => {
            for message in world.network.take(&Selection::parse(words)?) {
                world.say(&format!("{} (lost)", show::message(&message)));
            }
        }
        "copy" => {
            for message in world.network.take(&Selection::parse(words)?) {
                world.network.flying.extend([message.clone(), message]);
            }
        }
        "save" => {
            let name = words.first().ok_or("under which name?")?;
            let taken = world.network.take(&Selection::parse(&words[1..])?);
            for message in &taken {
                world.say(&format!("{} (kept back)", show::message(message)));
            }
            world.network.saved.insert(name.to_string(), taken);
        }
        "send" => {
            let name = words.first().ok_or("what was saved?")?;
            let saved = world.network.saved.get(*name).ok_or("nothing was saved under this name")?;
            world.network.flying.extend_from_slice(saved);
        }
        "cut" => {
            let (one, other) = words.first().and_then(|word| word.split_once('-')).ok_or("cut 1-2")?;
            world.network.cut(ReplicaId(number(one)?), ReplicaId(number(other)?));
        }
        "isolate" => {
            let id = id(words)?;
            let others: Vec<_> = world.replicas.keys().copied().filter(|other| *other != id).collect();
            others.into_iter().for_each(|other| world.network.cut(id, other));
        }
        _ => world.network.cuts.clear(),
    }
    Ok(())
}

fn look(world: &mut World, command: &str, words: &[&str]) -> Result<(), String> {
    let ids: Vec<ReplicaId> = if words.is_empty() {
        world.replicas.keys().copied().collect()
    } else {
        words.iter().map(|word| number(word).map(ReplicaId)).collect::<Result<_, _>>()?
    };
    for id in ids {
        let replica = &*world.replica(id)?;
        let disk = &replica.disk;
        let lines: Vec<String> = match (command, &replica.raft) {
            ("on-disk", _) => {
                vec![format!("{id}: {}; {}", show::hard_state(&disk.hard_state), show::entries(&disk.entries))]
            }
            (_, None) => vec![format!("{id} is down")],
            ("status", Some(raft)) => vec![show::status(raft)],
            ("members", Some(raft)) => vec![format!("{id}: {}", show::members(raft.membership()))],
            ("progress", Some(raft)) => raft.peers().map(|peer| show::progress(&peer)).collect(),
            ("counters", Some(raft)) => vec![format!("{id}: {}", show::counters(raft.counters()))],
            (_, Some(raft)) => vec![format!("{id}: {}", show::log(raft, disk, &replica.writes))],
        };
        lines.iter().for_each(|line| world.say(line));
    }
    Ok(())
}
