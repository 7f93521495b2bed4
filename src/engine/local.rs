//! Commands that the core of the connection answers by itself.

use host::ConnId;
use resp::{Args, Command, CommandId, Greeting, HelloRequest, Protocol, Reply, errors};

use crate::client::Client;
use crate::core::{Core, CoreHost};

/// Longest name and library name a client may give itself, in bytes.
const CLIENT_NAME_BYTES_MAX: usize = 1_024;

impl<H: CoreHost> Core<H> {
    /// Answers a command that needs no group.
    pub(crate) fn execute_local(&mut self, conn: ConnId, command: &'static Command, args: Args<'_>) {
        let mut bytes = std::mem::take(&mut self.local_reply);
        bytes.clear();
        let Some(client) = self.out.conns.client(conn) else { return };
        let mut protocol = client.protocol;
        match command.id {
            CommandId::Hello => {
                protocol = hello(client, args, &mut bytes);
                client.protocol = protocol;
            }
            CommandId::Quit => {
                Reply::new(&mut bytes, protocol).ok();
                client.closes_when_sent = true;
            }
            CommandId::Reset => {
                client.protocol = Protocol::Resp2;
                client.name.clear();
                Reply::new(&mut bytes, Protocol::Resp2).simple("RESET");
            }
            CommandId::Command => self.topology.write_command_table(protocol, &mut bytes),
            _ => {
                let mut reply = Reply::new(&mut bytes, protocol);
                if !resp::answer(command, args, &mut reply) && !about_client(client, command.id, args, &mut reply) {
                    self.about_server(command, args, protocol, &mut bytes);
                }
            }
        }
        if bytes.first() == Some(&b'-') {
            self.stats.error_replies += 1;
        }
        if let Some(client) = self.out.conns.client(conn) {
            client.replies.write_next(|out| out.extend_from_slice(&bytes));
        }
        self.out.touch(conn);
        self.local_reply = bytes;
    }

    fn about_server(&mut self, command: &'static Command, args: Args<'_>, protocol: Protocol, bytes: &mut Vec<u8>) {
        let mut reply = Reply::new(bytes, protocol);
        match command.id {
            CommandId::Auth => resp::hello::auth_without_password(args, &mut reply),
            CommandId::Asking => reply.ok(),
            CommandId::Time => {
                let ms = self.host.unix_time_ms();
                reply.array(2);
                reply.bulk((ms / 1_000).to_string().as_bytes());
                reply.bulk((ms % 1_000 * 1_000).to_string().as_bytes());
            }
            CommandId::ClientList => self.client_list(args, &mut reply),
            CommandId::ConfigGet => self.config_get(args, &mut reply),
            CommandId::ConfigResetStat => {
                self.stats = crate::stats::Stats { started_at: self.stats.started_at, ..Default::default() };
                self.out.error_replies = 0;
                reply.ok();
            }
            CommandId::Info => {
                let text = self.info(args);
                reply.verbatim(&text);
            }
            _ => self.about_cluster(command, args, &mut reply),
        }
        assert!(!bytes.is_empty(), "the command table serves '{}', and nothing here answers it", command.full_name);
    }

    fn client_list(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        let ids = match client_list_filter(args) {
            Ok(ids) => ids,
            Err(message) => return reply.error(message),
        };
        let mut text = String::new();
        for client in self.out.conns.clients() {
            if ids.as_ref().is_none_or(|ids| ids.contains(&client.id)) {
                text.push_str(&client_line(client, self.now));
                text.push('\n');
            }
        }
        reply.verbatim(&text);
    }

    fn config_get(&self, args: Args<'_>, reply: &mut Reply<'_>) {
        let shown: Vec<&(String, String)> = self
            .config
            .shown_settings
            .iter()
            .filter(|(name, _)| args.iter_from(2).any(|pattern| resp::glob::matches(pattern, name.as_bytes(), true)))
            .collect();
        reply.map(shown.len());
        for (name, value) in shown {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

/// HELLO. Returns the protocol that the connection speaks from now on.
fn hello(client: &mut Client, args: Args<'_>, bytes: &mut Vec<u8>) -> Protocol {
    let request = match HelloRequest::parse(args) {
        Ok(request) => request,
        Err(message) => {
            Reply::new(bytes, client.protocol).error_bytes(&message);
            return client.protocol;
        }
    };
    if request.auth.is_some_and(|(user, _)| user != b"default") {
        Reply::new(bytes, client.protocol).error(errors::WRONGPASS);
        return client.protocol;
    }
    let protocol = request.protocol.unwrap_or(client.protocol);
    if let Some(name) = request.client_name {
        client.name = name.to_vec();
    }
    // Clients look at the version to know what the server can do: tell them the Redis we are like.
    let greeting = Greeting { server: "redis", version: resp::REDIS_VERSION_COMPATIBLE, id: client.id as i64 };
    greeting.write(&mut Reply::new(bytes, protocol));
    protocol
}

/// CLIENT and what it contains, as far as it concerns one connection. Returns whether it was that.
fn about_client(client: &mut Client, id: CommandId, args: Args<'_>, reply: &mut Reply<'_>) -> bool {
    match id {
        CommandId::ClientId => reply.integer(client.id as i64),
        CommandId::ClientGetName if client.name.is_empty() => reply.null(),
        CommandId::ClientGetName => reply.bulk(&client.name),
        CommandId::ClientSetName => {
            let name = args.get(2).unwrap_or_default();
            if !resp::hello::is_client_name(name) || name.len() > CLIENT_NAME_BYTES_MAX {
                reply.error(errors::CLIENT_NAME);
            } else {
                client.name = name.to_vec();
                reply.ok();
            }
        }
        CommandId::ClientSetInfo => set_info(client, args, reply),
        CommandId::ClientInfo => {
            let line = client_line(client, client.active_at);
            reply.verbatim(&format!("{line}\n"));
        }
        CommandId::ClientNoEvict | CommandId::ClientNoTouch => {
            let value = args.get(2).unwrap_or_default();
            if value.eq_ignore_ascii_case(b"on") || value.eq_ignore_ascii_case(b"off") {
                reply.ok();
            } else {
                reply.error(errors::SYNTAX);
            }
        }
        _ => return false,
    }
    true
}

fn set_info(client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
    let attribute = args.get(2).unwrap_or_default();
    let value = args.get(3).unwrap_or_default();
    let target = if attribute.eq_ignore_ascii_case(b"lib-name") {
        &mut client.library_name
    } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
        &mut client.library_version
    } else {
        let shown: String = attribute.escape_ascii().take(64).map(char::from).collect();
        return reply.error(&format!("ERR Unrecognized option '{shown}'"));
    };
    if value.len() > CLIENT_NAME_BYTES_MAX || value.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
        let shown = String::from_utf8_lossy(attribute).to_ascii_lowercase();
        return reply.error(&format!("ERR {shown} cannot contain spaces, newlines or special characters."));
    }
    *target = value.to_vec();
    reply.ok();
}

/// CLIENT LIST [TYPE type] [ID id ...]: the ids to show, all if `None`.
fn client_list_filter(args: Args<'_>) -> Result<Option<Vec<u64>>, &'static str> {
    let Some(option) = args.get(2) else { return Ok(None) };
    if option.eq_ignore_ascii_case(b"id") && args.len() > 3 {
        let ids = args.iter_from(3).map(|id| resp::number::parse_i64(id).and_then(|id| u64::try_from(id).ok()));
        return ids.collect::<Option<Vec<u64>>>().map(Some).ok_or("ERR Invalid client ID");
    }
    if option.eq_ignore_ascii_case(b"type") && args.len() == 4 {
        let kind = args.get(3).unwrap_or_default();
        let known: [&[u8]; 4] = [b"normal", b"master", b"replica", b"pubsub"];
        if kind.eq_ignore_ascii_case(b"normal") {
            return Ok(None);
        }
        return match known.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            true => Ok(Some(Vec::new())),
            false => Err("ERR Unknown client type"),
        };
    }
    Err(errors::SYNTAX)
}

/// One line of CLIENT LIST.
fn client_line(client: &Client, now: types::Instant) -> String {
    let name = String::from_utf8_lossy(&client.name);
    let library = String::from_utf8_lossy(&client.library_name);
    let version = String::from_utf8_lossy(&client.library_version);
    format!(
        "id={} addr={} name={name} age={} idle={} flags=N db=0 sub=0 psub=0 multi=-1 qbuf={} omem={} cmd={} user=default \
         resp={} lib-name={library} lib-ver={version} tot-cmds={}",
        client.id,
        client.addr,
        now.since(client.connected_at).as_secs(),
        now.since(client.active_at).as_secs(),
        client.input.as_ref().map_or(0, |input| input.rest.len()),
        client.replies.bytes() + client.sending_bytes,
        client.last_command,
        client.protocol.number(),
        client.commands_count,
    )
}
