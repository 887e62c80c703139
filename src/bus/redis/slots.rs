//! Which server of a cluster has which slot.

use redis::Value;

use super::{fault::Fault, url::Place};

/// The slots of every cluster.
const SLOTS: usize = 16_384;

/// The servers that have slots, and which has which. One server that is no cluster has all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) masters: Vec<Place>,
    /// For each slot an index in `masters`; empty when there is one master only.
    owners: Vec<u16>,
}

impl Slots {
    pub(super) fn one(place: Place) -> Self {
        Self { masters: vec![place], owners: Vec::new() }
    }

    /// The index of the server that has the slot of `name`.
    pub(super) fn owner(&self, name: &str) -> usize {
        let slot = usize::from(crc16(name.as_bytes())) % SLOTS;
        self.owners.get(slot).map_or(0, |owner| usize::from(*owner))
    }

    /// Reads the answer of `asked` to `CLUSTER SLOTS`; answers the replicas' places as well.
    pub(super) fn read(answer: &Value, asked: &Place) -> Result<(Self, Vec<Place>), Fault> {
        const NOBODY: u16 = u16::MAX;
        let (mut masters, mut replicas): (Vec<Place>, Vec<Place>) = (Vec::new(), Vec::new());
        let mut owners = vec![NOBODY; SLOTS];
        for range in array(answer) {
            let [Value::Int(first), Value::Int(last), servers @ ..] = array(range) else { continue };
            let mut servers = servers.iter().filter_map(|server| place(server, asked));
            let Some(master) = servers.next() else { continue };
            replicas.extend(servers);
            let index = masters.iter().position(|known| *known == master).unwrap_or_else(|| {
                masters.push(master);
                masters.len() - 1
            });
            let (Ok(first), Ok(last)) = (usize::try_from(*first), usize::try_from(*last)) else { continue };
            let owner = u16::try_from(index).unwrap_or(NOBODY);
            for slot in owners.iter_mut().take(last.saturating_add(1)).skip(first) {
                *slot = owner;
            }
        }
        match owners.iter().filter(|owner| **owner == NOBODY).count() {
            0 => Ok((Self { masters, owners }, replicas)),
            uncovered => Err(Fault::Uncovered(uncovered)),
        }
    }
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

/// A server's place: host and port, then what nobody needs. Without a host it is that of the server that was asked.
fn place(server: &Value, asked: &Place) -> Option<Place> {
    let [host, Value::Int(port), ..] = array(server) else { return None };
    let host = match host {
        Value::BulkString(host) if host.as_slice() == b"?" => return None,
        Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
        _ => asked.host.clone(),
    };
    Some(Place { host, port: u16::try_from(*port).ok()? })
}

/// CRC-16/XMODEM, which the cluster's specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, hosts: &[(&str, i64)]) -> Value {
        let server = |(host, port): &(&str, i64)| {
            Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(*port)])
        };
        let mut items = vec![Value::Int(first), Value::Int(last)];
        items.extend(hosts.iter().map(server));
        Value::Array(items)
    }

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn slots_lead_to_their_servers() {
        let asked = Place { host: "seed".to_owned(), port: 1 };
        let answer = Value::Array(vec![
            range(0, 8_000, &[("a", 1), ("b", 2)]),
            range(8_001, 16_382, &[("", 3)]),
            range(16_383, 16_383, &[("a", 1)]),
        ]);
        let (slots, replicas) = Slots::read(&answer, &asked).unwrap();
        assert_eq!(slots.masters.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "seed:3"]);
        assert_eq!(replicas.len(), 1);
        // The slot of "foo" is 12182, as CLUSTER KEYSLOT says; that of "hello" is 866.
        assert_eq!((slots.owner("foo"), slots.owner("hello")), (1, 0));
    }

    #[test]
    fn slots_without_a_server_are_counted() {
        let asked = Place { host: "seed".to_owned(), port: 1 };
        let answer = Value::Array(vec![range(0, 16_380, &[("a", 1)])]);
        assert!(matches!(Slots::read(&answer, &asked), Err(Fault::Uncovered(3))));
    }
}
