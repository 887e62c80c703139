//! What a member sets for a room: kept, versioned, told to their devices and to nobody else.

use prost_types::{FieldMask, Timestamp};
use relay_proto::chat::v1::{self as wire, MembershipState, RoomKind, RoomSettings, frame::Kind};

use super::{stands, state};
use crate::support::{Clients, Server, Stream, give_up_after};

async fn set(clients: &mut Clients, settings: RoomSettings, paths: &[&str]) -> MembershipState {
    let update_mask = Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
    let request = wire::UpdateRoomSettingsRequest { room_id: "r".into(), settings: Some(settings), update_mask };
    clients.rooms.update_room_settings(request).await.unwrap().into_inner().state.unwrap()
}

/// The end of the year 9999: for ever.
const FOREVER: Timestamp = Timestamp { seconds: 253_402_300_799, nanos: 999_999_000 };

#[tokio::test]
async fn settings_change_by_mask_and_reach_every_device_of_the_user_and_nobody_else() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let first = state(&mut ana, "r").await.settings_version;
    let (mut others, _) = Stream::caught_up(&ana, &[]).await;
    let mut devices = Vec::new();
    for _ in 0..3 {
        let clients = server.user("ben").await;
        let (stream, _) = Stream::caught_up(&clients, &[]).await;
        devices.push((clients, stream));
    }
    let all = RoomSettings { muted_until: Some(FOREVER), archived: true, favourite: true };
    for (by, settings, paths, expected) in [
        (0, all, &["archived"][..], RoomSettings { archived: true, ..Default::default() }),
        (1, all, &["muted_until", "favourite"], all),
        (2, RoomSettings::default(), &["archived"], RoomSettings { archived: false, ..all }),
        (0, RoomSettings::default(), &["muted_until"], RoomSettings { favourite: true, ..Default::default() }),
    ] {
        let before = state(&mut devices[by].0, "r").await.settings_version;
        let answered = set(&mut devices[by].0, settings, paths).await;
        assert_eq!((answered.settings, answered.settings_version), (Some(expected), before + 1));
        for (_, stream) in &mut devices {
            let told = stands(stream, "r", |state| state.settings_version == before + 1).await;
            assert_eq!(told.settings, Some(expected));
        }
        let again = set(&mut devices[by].0, settings, paths).await;
        assert_eq!(again.settings_version, before + 1, "the same again changes nothing");
        for (_, stream) in &mut devices {
            // And is told again: whoever calls again may not know how far the first call got.
            stands(stream, "r", |state| state.settings_version == before + 1).await;
        }
    }
    let theirs = state(&mut ana, "r").await;
    assert_eq!((theirs.settings, theirs.settings_version), (Some(RoomSettings::default()), first));
    let said = ana.say("r", "hello").await.seq;
    loop {
        match others.next_told().await {
            Kind::Memberships(frame) => {
                assert!(frame.memberships.iter().all(|state| state.settings_version == first), "{frame:?}");
                if frame.memberships[0].read_seq == said {
                    break;
                }
            }
            _ => continue,
        }
    }
}

#[tokio::test]
async fn what_a_caller_who_hung_up_has_set_is_told_to_their_devices() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let before = state(&mut ben, "r").await.settings_version;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let mut told = before;
    // Until one got through at least: the busier the machine, the more are given up before the server has heard of them.
    for round in 0.. {
        let mut clients = ben.clone();
        let settings = RoomSettings { favourite: round % 2 == 0, ..Default::default() };
        let call = async move { set(&mut clients, settings, &["favourite"]).await };
        give_up_after(fastrand::usize(1..60 + round), call).await;
        let now = state(&mut ben, "r").await.settings_version;
        if now > told {
            told = stands(&mut stream, "r", |state| state.settings_version >= now).await.settings_version;
        }
        if round >= 120 && told > before {
            break;
        }
    }
}

#[tokio::test]
async fn settings_end_with_the_membership_and_their_versions_go_on() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    let favourite = RoomSettings { favourite: true, ..Default::default() };
    let mut before = 0;
    for settings in [favourite, RoomSettings::default(), favourite] {
        before = set(&mut ben, settings, &["favourite"]).await.settings_version;
    }
    ben.rooms.leave_room(wire::LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    ana.say("r", "meanwhile").await;
    ben.join("r").await;
    let now = state(&mut ben, "r").await;
    assert_eq!((now.settings, now.read_seq, now.unread_count), (Some(RoomSettings::default()), 1, 0));
    // A device that was away holds the settings of the greatest version.
    assert!(now.settings_version > before, "{} after {before}", now.settings_version);
}
