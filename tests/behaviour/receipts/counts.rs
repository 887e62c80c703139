//! What devices count from their frames is what the server says when it is asked anew: after every kind of event, on every
//! device of a user, at every node.

use prost_types::FieldMask;
use relay_proto::chat::v1::{
    self as wire, EditMessageRequest, MemberRole, Message, RemoveMemberRequest, RoomKind, RoomSettings,
    SendMessageRequest,
};

use super::{SOON, device::Device, get, mentioning, read, read_by_frame, send};
use crate::support::{Clients, Server};

const ROOM: &str = "r";

/// Ana, who does things, and two devices of Ben's, with Ben's clients at every node.
struct Scene {
    ana: Clients,
    devices: [Device; 2],
    nodes: Vec<Clients>,
}

impl Scene {
    async fn start(server: &Server) -> Self {
        let mut ana = server.user("ana").await;
        ana.create_room(ROOM, RoomKind::Public, &["ben", "cy"]).await;
        ana.say_all(ROOM, (0..3).map(|i| i.to_string())).await;
        send(&mut ana, mentioning(ROOM, &["ben"])).await;
        let mut nodes = Vec::new();
        for n in 0..server.count() {
            nodes.push(server.node(n).user("ben").await);
        }
        let first = Device::open(server.user("ben").await, "ben").await;
        let second = Device::open(server.user("ben").await, "ben").await;
        Self { ana, devices: [first, second], nodes }
    }

    async fn agree(&mut self, after: &str) {
        for device in &mut self.devices {
            device.agrees(ROOM, after, &self.nodes).await;
        }
    }

    /// Ben writes without having seen what comes after `read`, which he has read.
    async fn written_unseen(&mut self, read: u64) {
        let missed = send(&mut self.ana, mentioning(ROOM, &["ben"])).await;
        for after in [read, 0] {
            let late = SendMessageRequest { written_after_seq: Some(after), ..mentioning(ROOM, &["ben"]) };
            let late = send(&mut self.devices[0].clients, late).await;
            self.agree("a message that was written before others came").await;
            let state = super::state(&mut self.nodes[0].clone(), ROOM).await;
            assert_eq!((state.read_seq, state.last_seq), (read, late));
            assert_eq!(state.unread_mention_seqs, [missed], "nobody is mentioned by themselves");
            assert!(message_of(&mut self.nodes[0].clone(), late).await.keeps_unread);
        }
        let everyone = SendMessageRequest { written_after_seq: Some(0), ..mentioning(ROOM, &["", "ana"]) };
        send(&mut self.ana, everyone).await;
        self.agree("a mention of everyone that was written before others came").await;
        let state = super::state(&mut self.ana, ROOM).await;
        assert_eq!((state.unread_count, state.unread_mention_seqs), (3, vec![]), "not the sender's own");
        for after in [missed + 3, u64::MAX] {
            let seen = SendMessageRequest { written_after_seq: Some(after), ..mentioning(ROOM, &["cy"]) };
            let seen = send(&mut self.devices[0].clients, seen).await;
            self.agree("a message whose sender had seen all before it").await;
            let state = super::state(&mut self.nodes[0].clone(), ROOM).await;
            assert_eq!((state.read_seq, state.unread_count), (seen, 0));
            assert!(!message_of(&mut self.nodes[0].clone(), seen).await.keeps_unread);
        }
    }

    async fn edit(&mut self, seq: u64, users: &[&str]) {
        let wire::SendMessageRequest { text, mentions, .. } = mentioning(ROOM, users);
        let request = EditMessageRequest { room_id: ROOM.into(), seq, text, mentions, ..Default::default() };
        self.ana.chat.edit_message(request).await.unwrap();
    }

    async fn delete(&mut self, seq: u64) {
        let request = wire::DeleteMessageRequest { room_id: ROOM.into(), seq, reason: String::new() };
        self.ana.chat.delete_message(request).await.unwrap();
    }
}

async fn message_of(clients: &mut Clients, seq: u64) -> Message {
    let get = wire::GetMessageRequest { room_id: ROOM.into(), seq };
    clients.chat.get_message(get).await.unwrap().into_inner().message.unwrap()
}

#[tokio::test]
async fn every_device_counts_right_after_every_kind_of_event() {
    let server = Server::with(&[SOON]);
    let mut scene = Scene::start(&server).await;
    scene.agree("opening").await;
    messages(&mut scene).await;
    changes(&mut scene).await;
    memberships(&mut scene).await;
}

async fn messages(scene: &mut Scene) {
    scene.ana.say(ROOM, "by another").await;
    scene.agree("a message").await;
    send(&mut scene.ana, mentioning(ROOM, &["ben"])).await;
    scene.agree("a mention").await;
    send(&mut scene.ana, mentioning(ROOM, &[""])).await;
    scene.agree("a mention of everyone").await;
    send(&mut scene.ana, mentioning(ROOM, &["", "ben", "cy", "ben"])).await;
    scene.agree("several mentions in one message").await;
    send(&mut scene.ana, mentioning(ROOM, &["cy"])).await;
    scene.agree("a mention of somebody else").await;
    read(&mut scene.devices[1].clients, ROOM, 6).await;
    scene.agree("reading a part on another device").await;
    get(&mut scene.devices[0].clients, ROOM, 8).await;
    scene.agree("getting a part").await;
    let own = send(&mut scene.devices[0].clients, mentioning(ROOM, &["ben"])).await;
    scene.agree("a message of one's own, to oneself").await;
    assert_eq!(super::state(&mut scene.nodes[0].clone(), ROOM).await.read_seq, own);
    scene.written_unseen(own).await;
}

async fn changes(scene: &mut Scene) {
    let plain = scene.ana.say(ROOM, "plain").await.seq;
    let meant = send(&mut scene.ana, mentioning(ROOM, &["ben"])).await;
    scene.edit(plain, &["ben"]).await;
    scene.agree("an edit that adds a mention").await;
    scene.edit(meant, &["cy"]).await;
    scene.agree("an edit that takes a mention away").await;
    scene.edit(meant, &[""]).await;
    scene.agree("an edit that mentions everyone").await;
    scene.edit(1, &["ben"]).await;
    scene.agree("an edit of what was read").await;
    scene.delete(plain).await;
    scene.agree("a deletion of a message with a mention").await;
    let react = wire::AddReactionRequest { room_id: ROOM.into(), seq: meant, emoji: "x".into() };
    scene.ana.chat.add_reaction(react).await.unwrap();
    scene.agree("a reaction").await;
    let unreact = wire::RemoveReactionRequest { room_id: ROOM.into(), seq: meant, emoji: "x".into() };
    scene.ana.chat.remove_reaction(unreact).await.unwrap();
    scene.agree("a reaction taken back").await;
    let settings = RoomSettings { favourite: true, ..RoomSettings::default() };
    let update_mask = Some(FieldMask { paths: vec!["favourite".into()] });
    let request = wire::UpdateRoomSettingsRequest { room_id: ROOM.into(), settings: Some(settings), update_mask };
    scene.devices[0].clients.rooms.update_room_settings(request).await.unwrap();
    scene.agree("settings").await;
    let update_mask = Some(FieldMask { paths: vec!["title".into()] });
    let request =
        wire::UpdateRoomRequest { room_id: ROOM.into(), title: "new".into(), update_mask, ..Default::default() };
    scene.ana.rooms.update_room(request).await.unwrap();
    scene.agree("a change of the room").await;
    let request =
        wire::UpdateMemberRequest { room_id: ROOM.into(), user_id: "ben".into(), role: MemberRole::ReadOnly.into() };
    scene.ana.rooms.update_member(request).await.unwrap();
    scene.agree("a change of one's role").await;
    read_by_frame(&mut scene.devices[1].stream, ROOM, meant).await;
    scene.agree("reading everything by a frame").await;
}

async fn memberships(scene: &mut Scene) {
    send(&mut scene.ana, mentioning(ROOM, &["ben"])).await;
    scene.ana.add(ROOM, "dan", MemberRole::Member).await;
    scene.agree("a joining of another").await;
    let remove = |user: &str| RemoveMemberRequest { room_id: ROOM.into(), user_id: user.into() };
    scene.ana.rooms.remove_member(remove("dan")).await.unwrap();
    scene.agree("a leaving of another").await;
    scene.ana.rooms.remove_member(remove("ben")).await.unwrap();
    for device in &mut scene.devices {
        device.leaves(ROOM).await;
    }
    scene.ana.say(ROOM, "meanwhile").await;
    scene.ana.add(ROOM, "ben", MemberRole::Member).await;
    scene.agree("being added again").await;
    send(&mut scene.ana, mentioning(ROOM, &["ben"])).await;
    scene.agree("a mention after being added again").await;
    let leave = wire::LeaveRoomRequest { room_id: ROOM.into() };
    scene.devices[0].clients.rooms.leave_room(leave).await.unwrap();
    scene.ana.say(ROOM, "meanwhile").await;
    scene.devices[1].clients.join(ROOM).await;
    send(&mut scene.ana, mentioning(ROOM, &["ben"])).await;
    scene.agree("leaving and joining again").await;
    let last = scene.ana.say(ROOM, "the last").await.seq;
    read(&mut scene.devices[0].clients, ROOM, last).await;
    scene.agree("reading everything").await;
    assert_eq!(super::state(&mut scene.nodes[0].clone(), ROOM).await.unread_count, 0);
}

#[tokio::test]
async fn a_device_that_was_away_while_its_user_left_and_came_back_is_right_once_it_has_caught_up() {
    let server = Server::with(&[SOON]);
    let (mut ana, mut phone) = (server.user("ana").await, server.user("ben").await);
    ana.create_room(ROOM, RoomKind::Public, &["ben", "cy"]).await;
    for step in ["another leaves", "and ben", "and ben again"] {
        let mut leaves = if step == "another leaves" { server.user("cy").await } else { phone.clone() };
        leaves.rooms.leave_room(wire::LeaveRoomRequest { room_id: ROOM.into() }).await.unwrap();
        send(&mut ana, mentioning(ROOM, &[""])).await;
        leaves.join(ROOM).await;
        send(&mut ana, mentioning(ROOM, &[""])).await;
        for n in 0..server.count() {
            // With all that happened since the device went away, each time.
            let laptop = Device::back(server.node(n).user("ben").await, "ben", &[(ROOM, 3)]).await;
            let fresh = super::state(&mut phone, ROOM).await;
            assert_eq!(laptop.state(ROOM), Some(fresh), "{step}, at node {n}");
        }
    }
}

#[tokio::test]
async fn of_very_many_unread_mentions_the_newest_hundred_are_named() {
    let server = Server::with(&[SOON]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room(ROOM, RoomKind::Private, &["ben"]).await;
    for _ in 0..13 {
        let requests = (0..10).map(|i| mentioning(ROOM, if i % 2 == 0 { &["ben"] } else { &["", "ben"] })).collect();
        ana.chat.send_messages(wire::SendMessagesRequest { requests }).await.unwrap();
    }
    let now = super::state(&mut ben, ROOM).await;
    assert_eq!((now.unread_count, now.unread_mention_seqs), (130, (31..=130).collect::<Vec<u64>>()));
    let now = read(&mut ben, ROOM, 128).await;
    assert_eq!((now.unread_count, now.unread_mention_seqs), (2, vec![129, 130]));
}
