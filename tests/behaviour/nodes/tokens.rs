//! What one node gives out another takes: page tokens, and tokens that `relay token` signs.

use relay_proto::chat::v1::{ListDirection, ListMembersRequest, ListMessagesRequest, ListRoomsRequest, RoomKind};

use super::Group;
use crate::support::{Clients, SIGNING_KEY, relay_with};

#[tokio::test]
async fn a_page_token_of_one_node_opens_on_every_other() {
    let group = Group::start(3, &[]);
    let mut ana = Vec::new();
    for n in 0..3 {
        ana.push(group.node(n).user("ana").await);
    }
    for n in 0..7 {
        ana[n % 3].create_room(&format!("room-{n}"), RoomKind::Private, &["b", "c", "d", "e", "f"]).await;
        ana[n % 3].say("room-0", &n.to_string()).await;
    }
    for direction in [ListDirection::Newer, ListDirection::Older] {
        let (mut seqs, mut token) = (Vec::new(), String::new());
        for n in 0.. {
            let (room_id, page_token) = ("room-0".to_owned(), token);
            let request =
                ListMessagesRequest { room_id, direction: direction.into(), start_seq: 0, page_size: 2, page_token };
            let page = ana[n % 3].chat.list_messages(request).await.unwrap().into_inner();
            seqs.extend(page.messages.iter().map(|message| message.seq));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        if direction == ListDirection::Older {
            seqs.reverse();
        }
        assert_eq!(seqs, (1..=7).collect::<Vec<_>>());
    }
    let (mut rooms, mut token) = (Vec::new(), String::new());
    for n in 0.. {
        let request = ListRoomsRequest { page_size: 3, page_token: token, ..Default::default() };
        let page = ana[n % 3].rooms.list_rooms(request).await.unwrap().into_inner();
        rooms.extend(page.rooms.into_iter().map(|summary| summary.room.unwrap().room_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    rooms.sort();
    assert_eq!(rooms, (0..7).map(|n| format!("room-{n}")).collect::<Vec<_>>());
    let (mut members, mut token) = (Vec::new(), String::new());
    for n in 0.. {
        let request = ListMembersRequest { room_id: "room-0".into(), page_size: 2, page_token: token };
        let page = ana[n % 3].rooms.list_members(request).await.unwrap().into_inner();
        members.extend(page.members.into_iter().map(|member| member.user_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(members, ["ana", "b", "c", "d", "e", "f"]);
}

#[tokio::test]
async fn a_token_that_was_signed_beside_one_node_is_taken_by_all() {
    let group = Group::start(2, &[]);
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["token", "--user", "ana", "--data-dir", folder.path().to_str().unwrap()];
    let output = relay_with(&arguments, &[("RELAY_AUTH_SIGNING_KEY", SIGNING_KEY)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    for n in 0..2 {
        let mut ana = Clients::connect(&group.node(n).url(), token.clone()).await;
        ana.create_room(&format!("room-{n}"), RoomKind::Private, &[]).await;
    }
}
