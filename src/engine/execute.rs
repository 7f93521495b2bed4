//! What becomes of a client's command.

use host::ConnId;
use resp::command::{Command, Scope};
use resp::{Args, CommandId, Reply, errors};
use types::Slot;

use crate::client::Port;
use crate::core::{Core, CoreHost};
use crate::origin::Origin;
use crate::whole::Merge;

/// What a command is answered that can be sent again once there is room.
pub(crate) const OVERLOADED: &str = "TRYAGAIN The node is overloaded, try again";

impl<H: CoreHost> Core<H> {
    /// Takes in one command of a client. Its reply has its place in the client's order from here on.
    pub(crate) fn execute(&mut self, conn: ConnId, args: Args<'_>) {
        self.stats.commands_processed += 1;
        let Some(client) = self.out.conns.client(conn) else { return };
        client.commands_count += 1;
        let protocol = client.protocol;
        let command = match resp::resolve(args) {
            Ok(command) => command,
            Err(refusal) => {
                let message = refusal.message(args);
                client.replies.write_next(|out| Reply::new(out, protocol).error_bytes(&message));
                self.stats.error_replies += 1;
                return self.out.touch(conn);
            }
        };
        client.last_command = command.full_name;
        let port = client.port;
        match command.scope {
            Scope::Local => self.execute_local(conn, command, args),
            Scope::Read | Scope::Write => {
                let origin = Origin::Client { conn, seq: client.replies.open(), protocol };
                match slot_of_keys(command, args) {
                    Ok(slot) => self.route(port, origin, command, slot, self.routes.of_slot(slot), args),
                    Err(message) => self.out.fail(origin, message),
                }
            }
            Scope::Slot => {
                let origin = Origin::Client { conn, seq: client.replies.open(), protocol };
                self.execute_on_slot(port, origin, command, args);
            }
            Scope::Everywhere => {
                let origin = Origin::Client { conn, seq: client.replies.open(), protocol };
                self.execute_everywhere(port, origin, command, args);
            }
        }
    }

    /// Sends a command to the group of its slot: here, over a link, or back to the client.
    fn route(
        &mut self,
        port: Port,
        origin: Origin,
        command: &'static Command,
        slot: Slot,
        route: usize,
        args: Args<'_>,
    ) {
        let target = self.routes.get(route);
        if let Some(group) = target.local
            && self.groups[group].leads()
            && self.lanes[route].is_free_for_local()
        {
            return self.execute_here(group, origin, command, slot, args);
        }
        // Behind older commands that wait for something; or the leader is elsewhere.
        let leads = target.local.is_some_and(|group| self.groups[group].leads());
        match port {
            Port::Gateway => self.forward(route, origin, command, slot, args),
            Port::Core if leads => self.forward(route, origin, command, slot, args),
            Port::Core if !target.is_known || target.leader == self.place() => {
                self.out.fail(origin, errors::CLUSTERDOWN);
            }
            Port::Core => {
                self.stats.commands_redirected += 1;
                let addr = self.core_addr(target.leader);
                let message = errors::moved(slot.number(), &addr.ip().to_string(), addr.port());
                self.out.reply(origin, |reply| reply.error(&message));
            }
        }
    }

    /// Carries out a command on a group that is led here.
    pub(crate) fn execute_here(
        &mut self,
        group: usize,
        origin: Origin,
        command: &'static Command,
        slot: Slot,
        args: Args<'_>,
    ) {
        if command.is_write() {
            self.write(group, origin, command, slot, args);
        } else {
            self.read(group, origin, command, slot, args);
        }
    }

    /// COUNTKEYSINSLOT and GETKEYSINSLOT: a core port knows its own keys only, as a Redis node does.
    fn execute_on_slot(&mut self, port: Port, origin: Origin, command: &'static Command, args: Args<'_>) {
        let number = args.get(2).and_then(resp::number::parse_i64).and_then(|number| u16::try_from(number).ok());
        let Some(slot) = number.and_then(Slot::new) else {
            return self.out.fail(origin, errors::INVALID_SLOT);
        };
        if command.id == CommandId::ClusterGetKeysInSlot
            && args.get(3).and_then(resp::number::parse_i64).is_none_or(|count| count < 0)
        {
            return self.out.fail(origin, "ERR Invalid slot or number of keys");
        }
        let route = self.routes.of_slot(slot);
        let leads = self.routes.get(route).local.is_some_and(|group| self.groups[group].leads());
        if port == Port::Core && !leads {
            return match command.id {
                CommandId::ClusterGetKeysInSlot => self.out.reply(origin, |reply| reply.array(0)),
                _ => self.out.reply(origin, |reply| reply.integer(0)),
            };
        }
        self.route(port, origin, command, slot, route, args);
    }

    /// DBSIZE and FLUSHALL: on the gateway of the whole cluster, on a core port of what the core leads.
    fn execute_everywhere(&mut self, port: Port, origin: Origin, command: &'static Command, args: Args<'_>) {
        if command.is_write()
            && let Err(error) = data::check(command.id, args)
        {
            return self.out.fail(origin, error.message());
        }
        let merge = if command.is_write() { Merge::AllOk } else { Merge::Sum };
        let concerned: Vec<usize> = (0..self.routes.iter().len())
            .filter(|idx| {
                let route = self.routes.get(*idx);
                let leads = route.local.is_some_and(|group| self.groups[group].leads());
                route.owns_slots && (port == Port::Gateway || leads)
            })
            .collect();
        if concerned.is_empty() {
            return match merge {
                Merge::Sum => self.out.reply(origin, |reply| reply.integer(0)),
                Merge::AllOk => self.out.reply(origin, |reply| reply.ok()),
            };
        }
        let whole = self.out.wholes.begin(origin, merge, concerned.len());
        let slot = Slot::default();
        for route in concerned {
            self.route(Port::Gateway, Origin::Part { whole }, command, slot, route, args);
        }
    }

    /// Whether something that commands fill is full, so that clients must wait.
    pub(crate) fn is_backlogged(&self) -> bool {
        let limits = &self.config.limits;
        self.forwards.is_full(limits)
            || self.lanes.parked_count() >= limits.parked_count_max
            || self.forwards.bytes() + self.lanes.parked_bytes() >= limits.forwards_bytes_max
            || self.checkpoint_is_behind()
            || self.full_groups.iter().any(|group| self.is_full(*group))
    }
}

/// The slot that all keys of a command share.
fn slot_of_keys(command: &Command, args: Args<'_>) -> Result<Slot, &'static str> {
    let mut keys = command.keys(args);
    let Some(first) = keys.next() else { return Err(errors::GETKEYS_NO_KEYS) };
    let slot = Slot::of_key(first);
    if keys.all(|key| Slot::of_key(key) == slot) { Ok(slot) } else { Err(errors::CROSSSLOT) }
}
