//! Who comes and goes by one node is told so on their open streams at another, by the bus alone.

use relay_proto::chat::v1::{
    DeleteRoomRequest, GetDirectRoomRequest, JoinRoomRequest, LeaveRoomRequest, MemberRole, RemoveMemberRequest,
    ResumeVerdict as Verdict, RoomKind, UpdateMemberRequest, frame::Kind, room_event::Event,
};
use tonic::Code;

use super::{BY_BUS_ALONE, Group, event, verdict};
use crate::support::{Clients, Stream, error_of, message};

/// Ana at one node, Ben at the other with an open stream.
async fn apart(group: &Group) -> (Clients, Clients, Stream) {
    let (ana, ben) = (group.node(0).user("ana").await, group.node(1).user("ben").await);
    let (stream, _) = Stream::caught_up(&ben, &[]).await;
    (ana, ben, stream)
}

/// Ben is told that he has joined `room`, next after `position`, gets the joining, and what is said after it.
async fn assert_enters(ana: &mut Clients, stream: &mut Stream, room: &str, position: u64) {
    assert_eq!(verdict(stream).await, (room.to_owned(), Verdict::Joined, position));
    let joined = event(stream, room, position + 1).await;
    assert!(matches!(joined, Event::MemberJoined(joined) if joined.member.as_ref().unwrap().user_id == "ben"));
    assert_eq!(ana.say(room, "welcome").await.position, position + 2);
    assert!(matches!(event(stream, room, position + 2).await, Event::MessageCreated(_)));
}

#[tokio::test]
async fn every_way_into_a_room_is_told_at_the_other_node() {
    let group = Group::start(2, &BY_BUS_ALONE);
    let (mut ana, ben, mut stream) = apart(&group).await;
    for round in 0..3 {
        let room = |kind: &str| format!("{kind}-{round}");
        for kind in ["old", "open"] {
            ana.create_room(&room(kind), if kind == "open" { RoomKind::Public } else { RoomKind::Private }, &[]).await;
        }
        group.quiet(1).await;
        ana.create_room(&room("new"), RoomKind::Private, &["ben"]).await;
        assert_enters(&mut ana, &mut stream, &room("new"), 1).await;

        group.quiet(1).await;
        ana.add(&room("old"), "ben", MemberRole::Member).await;
        assert_enters(&mut ana, &mut stream, &room("old"), 1).await;

        // By a device of his own, at the other node.
        group.quiet(1).await;
        group.node(0).user("ben").await.join(&room("open")).await;
        assert_enters(&mut ana, &mut stream, &room("open"), 1).await;

        group.quiet(1).await;
        let user = format!("user-{round}");
        let mut other = group.node(0).user(&user).await;
        let direct = GetDirectRoomRequest { user_id: "ben".into() };
        let found = other.rooms.get_direct_room(direct).await.unwrap().into_inner().room.unwrap();
        let direct = found.room.unwrap().room_id;
        let (name, told, position) = verdict(&mut stream).await;
        assert_eq!((name.as_str(), told), (direct.as_str(), Verdict::Joined));
        let joined = event(&mut stream, &direct, position + 1).await;
        assert!(matches!(joined, Event::MemberJoined(_)));
        let said = other.say(&direct, "hello").await.position;
        for at in position + 2..=said {
            event(&mut stream, &direct, at).await;
        }
    }
    drop(ben);
}

#[tokio::test]
async fn every_way_out_of_a_room_is_told_at_the_other_node_and_nothing_after_it() {
    let group = Group::start(2, &BY_BUS_ALONE);
    let mut ana = group.node(0).user("ana").await;
    let rooms = ["removed", "left", "deleted"];
    for room in rooms {
        ana.create_room(room, RoomKind::Public, &["ben", "cy"]).await;
    }
    ana.create_room("fence", RoomKind::Private, &["ben", "cy"]).await;
    let (_, _, mut stream) = apart(&group).await;
    let mut of_cy = Stream::caught_up(&group.node(1).user("cy").await, &[]).await.0;
    for (n, room) in rooms.into_iter().enumerate() {
        group.quiet(1).await;
        match room {
            "removed" => {
                let request = RemoveMemberRequest { room_id: room.into(), user_id: "ben".into() };
                ana.rooms.remove_member(request).await.unwrap();
            }
            "left" => {
                let mut ben = group.node(0).user("ben").await;
                ben.rooms.leave_room(LeaveRoomRequest { room_id: room.into() }).await.unwrap();
            }
            _ => drop(ana.rooms.delete_room(DeleteRoomRequest { room_id: room.into() }).await.unwrap()),
        }
        let ended = event(&mut stream, room, 4).await;
        match ended {
            Event::MemberLeft(left) => assert_eq!(left.user_id, "ben"),
            Event::RoomDeleted(_) => assert_eq!(room, "deleted"),
            other => panic!("{other:?}"),
        }
        assert_eq!(verdict(&mut stream).await, (room.to_owned(), Verdict::Left, 0));
        event(&mut of_cy, room, 4).await;
        if room == "deleted" {
            assert_eq!(verdict(&mut of_cy).await.1, Verdict::Left);
        } else {
            // Cy, at the same node, is still in it.
            ana.say(room, "not for ben").await;
            event(&mut of_cy, room, 5).await;
        }
        ana.say("fence", "for both").await;
        event(&mut stream, "fence", 4 + n as u64).await;
        event(&mut of_cy, "fence", 4 + n as u64).await;
    }
}

#[tokio::test]
async fn a_new_role_is_told_and_holds_at_the_other_node() {
    let group = Group::start(2, &BY_BUS_ALONE);
    let mut ana = group.node(0).user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let (_, mut ben, mut stream) = apart(&group).await;
    let roles = [MemberRole::ReadOnly, MemberRole::Admin, MemberRole::ReadOnly, MemberRole::Member];
    for (role, position) in roles.into_iter().zip((3..).step_by(2)) {
        let request = UpdateMemberRequest { room_id: "r".into(), user_id: "ben".into(), role: role.into() };
        ana.rooms.update_member(request).await.unwrap();
        let Event::MemberUpdated(updated) = event(&mut stream, "r", position).await else { panic!("no update") };
        assert_eq!(updated.member.unwrap().role(), role);
        let sent = ben.chat.send_message(message("r", "may I?")).await;
        if role == MemberRole::ReadOnly {
            let refused = error_of(&sent.unwrap_err());
            assert_eq!(refused, (Code::PermissionDenied, "ROLE_INSUFFICIENT".into(), vec![]));
            ana.say("r", "no").await;
        } else {
            sent.unwrap();
        }
        event(&mut stream, "r", position + 1).await;
    }
}

/// How a stream stands to the room "r": the last position it had there, if it is in it.
#[derive(Default)]
struct Standing(Option<u64>);

impl Standing {
    fn take(&mut self, kind: &Kind) {
        match kind {
            Kind::Resumed(resumed) => {
                let [room] = &resumed.rooms[..] else { panic!("{resumed:?}") };
                self.0 = match (room.verdict(), self.0) {
                    (Verdict::Joined, None) => Some(room.position),
                    (Verdict::Left, Some(_)) => None,
                    other => panic!("{other:?} in {resumed:?}"),
                }
            }
            Kind::Event(event) => {
                let held = self.0.unwrap_or_else(|| panic!("not in the room: {event:?}"));
                assert_eq!((event.previous_position, event.position), (held, held + 1));
                self.0 = Some(event.position);
            }
            other => panic!("{other:?}"),
        }
    }

    async fn read_until(&mut self, stream: &mut Stream, end: impl Fn(&Self) -> bool) {
        while !end(self) {
            self.take(&stream.next().await);
        }
    }
}

#[tokio::test]
async fn leaving_and_joining_in_turns_over_nodes_ends_as_the_log_does() {
    const ROUNDS: usize = 20;
    let group = Group::start(3, &[]);
    let mut ana = group.node(2).user("ana").await;
    ana.create_room("r", RoomKind::Public, &[]).await;
    let mut devices = Vec::new();
    for n in 0..2 {
        let ben = group.node(n).user("ben").await;
        let (stream, _) = Stream::caught_up(&ben, &[]).await;
        devices.push((ben, stream, Standing::default()));
    }
    // Somebody talks all the time.
    let talk = tokio::spawn({
        let mut ana = ana.clone();
        async move {
            for n in 0..2 * ROUNDS {
                ana.say("r", &n.to_string()).await;
            }
        }
    });
    for round in 0..ROUNDS {
        let (joins, leaves) = (round % 2, (round / 2) % 2);
        devices[joins].0.rooms.join_room(JoinRoomRequest { room_id: "r".into() }).await.unwrap();
        devices[leaves].0.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    }
    talk.await.unwrap();
    devices[1].0.join("r").await;
    let last = ana.say("r", "the end").await.position;
    for (_, stream, standing) in &mut devices {
        standing.read_until(stream, |standing| standing.0 == Some(last)).await;
    }
    devices[0].0.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    for (_, stream, standing) in &mut devices {
        standing.read_until(stream, |standing| standing.0.is_none()).await;
    }
}
