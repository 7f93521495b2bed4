//! Which connections `CLIENT LIST` shows.

use crate::args::Args;
use crate::errors;
use crate::number::parse_i64;

/// The types of connections that Redis has and that do not exist here.
const ABSENT_TYPES: [&[u8]; 4] = [b"master", b"slave", b"replica", b"pubsub"];

/// The connections that a `CLIENT LIST [TYPE type] [ID id ...]` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFilter {
    /// The numbers of those to be shown, in growing order; all if `None`.
    ids: Option<Vec<i64>>,
}

impl ClientFilter {
    /// Reads the request. As in Redis, it names a type or numbers, not both.
    ///
    /// # Errors
    ///
    /// The text of the error reply, which may echo any bytes of the request.
    pub fn parse(args: Args<'_>) -> Result<ClientFilter, Vec<u8>> {
        let Some(option) = args.get(2) else { return Ok(ClientFilter { ids: None }) };
        if option.eq_ignore_ascii_case(b"type") && args.len() == 4 {
            let wanted = args.get(3).unwrap_or_default();
            if wanted.eq_ignore_ascii_case(b"normal") {
                return Ok(ClientFilter { ids: None });
            }
            let is_absent = ABSENT_TYPES.iter().any(|absent| absent.eq_ignore_ascii_case(wanted));
            return if is_absent {
                Ok(ClientFilter { ids: Some(Vec::new()) })
            } else {
                Err(errors::client_type(wanted))
            };
        }
        if option.eq_ignore_ascii_case(b"id") && args.len() > 3 {
            let ids: Option<Vec<i64>> = args.iter_from(3).map(parse_i64).collect();
            let mut ids = ids.ok_or(errors::CLIENT_ID)?;
            ids.sort_unstable();
            ids.dedup();
            return Ok(ClientFilter { ids: Some(ids) });
        }
        Err(errors::SYNTAX.into())
    }

    /// Whether the connection of that number is to be shown.
    pub fn shows(&self, id: u64) -> bool {
        let is_named = |ids: &Vec<i64>| i64::try_from(id).is_ok_and(|id| ids.binary_search(&id).is_ok());
        self.ids.as_ref().is_none_or(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ArgRange;

    fn parse(words: &[&str]) -> Result<ClientFilter, Vec<u8>> {
        let (mut buf, mut ranges) = (Vec::new(), Vec::new());
        for word in ["CLIENT", "LIST"].iter().chain(words) {
            let start = buf.len() as u32;
            buf.extend_from_slice(word.as_bytes());
            ranges.push(ArgRange { start, end: buf.len() as u32 });
        }
        ClientFilter::parse(Args::new(&buf, &ranges))
    }

    #[test]
    fn numbers_pick_their_connections() {
        let filter = parse(&["ID", "9", "3", "9", "-1"]).unwrap();
        let shown: Vec<u64> = (0..20).chain([u64::MAX]).filter(|id| filter.shows(*id)).collect();
        assert_eq!(shown, [3, 9]);
        let all = parse(&[]).unwrap();
        assert!(all.shows(0) && all.shows(u64::MAX) && parse(&["TYPE", "normal"]) == Ok(all));
    }

    #[test]
    fn an_unknown_type_is_echoed_as_far_as_an_error_goes() {
        assert_eq!(parse(&["TYPE", "foo\0bar"]), Err(b"ERR Unknown client type 'foo'".to_vec()));
        assert_eq!(parse(&["TYPE", &"x".repeat(1 << 20)]).unwrap_err().len(), 26 + 128);
    }
}
