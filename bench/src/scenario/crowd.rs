//! Clients who share rooms, and the positions that they hold.

use std::{collections::BTreeMap, sync::Arc};

use relay_proto::chat::v1::RoomPosition;

use crate::{
    error::Error,
    stamp,
    subject::{Cluster, Relay, TEXT, frames, relay::send_unary},
};

/// Members of a room. Each client is a member of two rooms.
const MEMBERS: usize = 50;
/// One client in so many stays where it is.
const STAYING: usize = 11;
/// Messages in each room.
const MESSAGES: usize = 5;

/// The clients.
pub(super) struct Crowd {
    coming: Vec<Arc<Client>>,
    staying: Vec<Arc<Client>>,
}

/// One client: its token, and what it holds.
pub(super) struct Client {
    pub(super) token: String,
    pub(super) positions: Vec<RoomPosition>,
}

impl Crowd {
    /// Makes users and rooms by way of node `number`: `size` users who come back, and a tenth of it who stay.
    pub(super) async fn gather(cluster: &Cluster, number: usize, size: usize) -> Result<Self, Error> {
        let all = size + size / (STAYING - 1);
        let mut rooms: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for client in 0..all {
            for room in rooms_of(client, all) {
                rooms.entry(room).or_default().push(client);
            }
        }
        let node = cluster.node(number)?;
        for (room, members) in &rooms {
            fill(node, room, members).await?;
        }
        let newest = newest(cluster).await?;
        let mut crowd = Self { coming: Vec::new(), staying: Vec::new() };
        for number in 0..all {
            let rooms = rooms_of(number, all).into_iter();
            let position = |room_id| RoomPosition { position: newest.get(&room_id).copied().unwrap_or(0), room_id };
            let client = Client { token: node.token(&user(number))?, positions: rooms.map(position).collect() };
            let list = if crowd.coming.len() < size && number % STAYING != STAYING - 1 {
                &mut crowd.coming
            } else {
                &mut crowd.staying
            };
            list.push(Arc::new(client));
        }
        Ok(crowd)
    }

    /// Those whose node is restarted.
    pub(super) fn coming(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.coming.iter()
    }

    /// How many these are.
    pub(super) fn size(&self) -> usize {
        self.coming.len()
    }

    /// Those whose node runs on.
    pub(super) fn staying(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.staying.iter()
    }
}

/// The rooms of a client: one with its neighbours, one with users from everywhere.
fn rooms_of(client: usize, all: usize) -> [String; 2] {
    let strides = all.div_ceil(MEMBERS);
    [format!("near-{}", client / MEMBERS), format!("far-{}", client % strides)]
}

/// Makes a room, and sends some messages to it.
async fn fill(node: &Relay, room: &str, members: &[usize]) -> Result<(), Error> {
    let (first, others) = members.split_first().ok_or_else(|| Error::unexpected("a room without members"))?;
    node.create_room(&user(*first), room, others.iter().map(|other| user(*other)).collect()).await?;
    let mut link = node.link().await?;
    let token = node.token(&user(*first))?;
    for _ in 0..MESSAGES {
        let message = frames::message(room, stamp::text(stamp::now(), TEXT));
        send_unary(&mut link, &token, &message).await?;
    }
    Ok(())
}

/// The newest position of each room, as the database says it.
async fn newest(cluster: &Cluster) -> Result<BTreeMap<String, u64>, Error> {
    let rows = cluster.database().run("SELECT room_id, last_position FROM rooms").await?;
    let row = |line: &str| {
        let (room, position) = line.split_once('|')?;
        Some((room.to_owned(), position.parse().ok()?))
    };
    Ok(rows.lines().filter_map(row).collect())
}

fn user(number: usize) -> String {
    format!("c{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_about_fifty_members() {
        let mut sizes = BTreeMap::new();
        for room in (0..5500).flat_map(|client| rooms_of(client, 5500)) {
            *sizes.entry(room).or_insert(0) += 1;
        }
        assert_eq!(sizes.len(), 220);
        assert!(sizes.values().all(|size| *size == MEMBERS));
    }
}
