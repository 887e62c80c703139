//! Limits: each that a setting or the contract names is reached, said, and gives way again; tokens that run out.

use std::time::Duration;

use futures_util::future::join_all;
use relay_proto::chat::v1::{
    self as wire, CreateRoomRequest, DeleteMessageRequest, EditMessageRequest, LeaveRoomRequest, RenewToken,
    ResumeVerdict, RoomKind, RoomResume, SubscribeRequest, SubscribeResponse, connect_request::Frame as Up,
    frame::Kind, reply::Result as Outcome,
};
use tonic::{Code, Streaming};

use crate::support::{Clients, Http, Raw, Server, Stream, Token, error_of, eventually, message, within};

async fn subscribe(clients: &Clients) -> Streaming<SubscribeResponse> {
    clients.chat.clone().subscribe(SubscribeRequest::default()).await.unwrap().into_inner()
}

async fn kind(stream: &mut Streaming<SubscribeResponse>) -> Result<Kind, tonic::Status> {
    let response = within("a frame", stream.message()).await?.unwrap();
    Ok(response.frame.unwrap().kind.unwrap())
}

/// The first verdict on a room among frames.
fn verdict(frames: &[Kind], room: &str) -> RoomResume {
    let rooms = frames.iter().filter_map(|kind| if let Kind::Resumed(resumed) = kind { Some(resumed) } else { None });
    rooms.flat_map(|resumed| &resumed.rooms).find(|r| r.room_id == room).unwrap().clone()
}

fn positions(frames: &[Kind]) -> Vec<u64> {
    frames.iter().filter_map(|kind| if let Kind::Event(event) = kind { Some(event.position) } else { None }).collect()
}

#[tokio::test]
async fn a_user_is_in_so_many_rooms_and_no_more() {
    let server = Server::with(&[("chat.max_rooms_per_user", "3")]);
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    let too_many = (Code::ResourceExhausted, "TOO_MANY_ROOMS".to_owned(), vec![]);
    for room in ["a", "b", "c"] {
        ana.create_room(room, RoomKind::Private, &[]).await;
    }
    ben.create_room("open", RoomKind::Public, &[]).await;
    let create = CreateRoomRequest { room_id: "d".into(), ..CreateRoomRequest::default() };
    assert_eq!(error_of(&ana.rooms.create_room(create.clone()).await.unwrap_err()), too_many);
    let join = wire::JoinRoomRequest { room_id: "open".into() };
    assert_eq!(error_of(&ana.rooms.join_room(join.clone()).await.unwrap_err()), too_many);
    // Nobody else pushes her over the limit, and what fails for her fails whole.
    let members = ["cy", "ana"].map(|user| wire::NewMember { user_id: user.into(), role: 0 }).to_vec();
    let add = wire::AddMembersRequest { room_id: "open".into(), members };
    assert_eq!(error_of(&ben.rooms.add_members(add).await.unwrap_err()), too_many);
    let direct = wire::GetDirectRoomRequest { user_id: "ana".into() };
    assert_eq!(error_of(&ben.rooms.get_direct_room(direct.clone()).await.unwrap_err()), too_many);
    let with_ana = CreateRoomRequest {
        room_id: "e".into(),
        members: vec![wire::NewMember { user_id: "ana".into(), role: 0 }],
        ..CreateRoomRequest::default()
    };
    assert_eq!(error_of(&ben.rooms.create_room(with_ana.clone()).await.unwrap_err()), too_many);
    let rooms = ben.rooms.list_rooms(wire::ListRoomsRequest::default()).await.unwrap().into_inner().rooms;
    assert_eq!(rooms.len(), 1);
    assert_eq!(rooms[0].room.as_ref().unwrap().member_count, 1);

    ana.rooms.leave_room(LeaveRoomRequest { room_id: "a".into() }).await.unwrap();
    ben.rooms.create_room(with_ana).await.unwrap();
    assert_eq!(error_of(&ana.rooms.join_room(join).await.unwrap_err()), too_many);
    // A deleted room counts no more.
    ana.rooms.delete_room(wire::DeleteRoomRequest { room_id: "b".into() }).await.unwrap();
    assert!(ben.rooms.get_direct_room(direct).await.unwrap().into_inner().created);
}

#[tokio::test]
async fn a_room_has_so_many_members_and_no_more() {
    let server = Server::with(&[("chat.max_members_per_room", "3")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    let too_many = (Code::ResourceExhausted, "TOO_MANY_MEMBERS".to_owned(), vec![]);
    let members = ["cy", "di"].map(|user| wire::NewMember { user_id: user.into(), role: 0 }).to_vec();
    let add = wire::AddMembersRequest { room_id: "r".into(), members };
    assert_eq!(error_of(&ana.rooms.add_members(add).await.unwrap_err()), too_many);
    let joins = join_all((0..10).map(|i| {
        let server = &server;
        async move {
            let mut user = server.user(&format!("u{i}")).await;
            user.rooms.join_room(wire::JoinRoomRequest { room_id: "r".into() }).await
        }
    }));
    let (joined, refused): (Vec<_>, Vec<_>) = joins.await.into_iter().partition(Result::is_ok);
    assert_eq!((joined.len(), refused.len()), (1, 9));
    for status in refused {
        assert_eq!(error_of(&status.unwrap_err()), too_many);
    }
    let remove = wire::RemoveMemberRequest { room_id: "r".into(), user_id: "ben".into() };
    ana.rooms.remove_member(remove).await.unwrap();
    server.user("u1").await.join("r").await;
}

#[tokio::test]
async fn a_user_has_so_many_streams_and_no_more() {
    let server = Server::alone(&[("chat.max_streams_per_user", "2")]);
    let ana = server.user("ana").await;
    let first = Stream::open(&ana, &[]).await;
    let mut second = subscribe(&ana).await;
    kind(&mut second).await.unwrap();
    let raw = Raw::connect(&server.url()).await;
    let of_ana = raw.bearer(&Token::of("ana").sign());
    let open =
        || wire::ConnectRequest { request_id: String::new(), frame: Some(Up::Open(wire::OpenStream::default())) };
    for refused in [
        of_ana.call("ChatService/Subscribe", SubscribeRequest::default()).await,
        of_ana.call("ChatService/Connect", open()).await,
    ] {
        let expected = (Code::ResourceExhausted, "TOO_MANY_STREAMS".to_owned(), vec![]);
        assert_eq!(error_of(&refused.unwrap_err()), expected);
    }
    raw.bearer(&Token::of("ben").sign()).call("ChatService/Connect", open()).await.unwrap();
    drop(first);
    eventually("a place for another stream", || async {
        of_ana.call("ChatService/Subscribe", SubscribeRequest::default()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn more_sends_than_may_wait_are_all_answered() {
    let server = Server::with(&[("chat.max_sends_in_flight", "2"), ("chat.append_batch", "1")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    // Fewer than the test's own queue holds, many more than the server takes at once.
    for i in 0..60 {
        stream.send(&i.to_string(), Up::Send(message("r", &i.to_string()))).await;
    }
    let mut answered = Vec::new();
    while answered.len() < 60 {
        if let Kind::Reply(reply) = stream.next().await {
            let Some(Outcome::Sent(sent)) = reply.result else { panic!("{reply:?}") };
            answered.push((reply.request_id, sent.seq));
        }
    }
    let expected: Vec<_> = (0..60).map(|i: u64| (i.to_string(), i + 1)).collect();
    assert_eq!(answered, expected, "in the order of the frames");
}

#[tokio::test]
async fn a_stream_must_open_in_time() {
    let server = Server::with(&[("stream.open_timeout", "100ms")]);
    let ana = server.user("ana").await;
    let mut silent = Stream::silent(&ana).await;
    let status = silent.end().await.unwrap();
    assert_eq!(error_of(&status), (Code::FailedPrecondition, "STREAM_NOT_OPEN".into(), vec![]));
    // One that is open in time may be silent for longer.
    let (mut open, _) = Stream::caught_up(&ana, &[]).await;
    let mut late = Stream::silent(&ana).await;
    late.end().await.unwrap();
    open.send("1", Up::Send(message("nowhere", "x"))).await;
    assert!(matches!(open.reply("1").await, Outcome::Error(_)));
}

#[tokio::test]
async fn the_size_of_requests_can_be_set() {
    let server = Server::with(&[("server.max_request_bytes", "65536")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let batch = |n| wire::SendMessagesRequest { requests: vec![message("r", &"x".repeat(30_000)); n] };
    ana.chat.send_messages(batch(2)).await.unwrap();
    let status = ana.chat.send_messages(batch(3)).await.unwrap_err();
    assert_eq!(error_of(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".into(), vec![]));
}

#[tokio::test]
async fn what_is_refused_as_overloaded_is_not_written_and_can_be_sent_again() {
    let server = Server::with(&[("chat.append_queue_bytes", "131072")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut written = 0;
    let mut refused = 0;
    while refused == 0 {
        let mut requests: Vec<_> = (0..30).map(|_| message("r", &"x".repeat(32_768))).collect();
        written += requests.len();
        while !requests.is_empty() {
            let batch = wire::SendMessagesRequest { requests: requests.clone() };
            let results = ana.chat.send_messages(batch).await.unwrap().into_inner().results;
            let outcomes = requests.into_iter().zip(results);
            let again = outcomes.filter_map(|(request, result)| match result.result.unwrap() {
                wire::send_result::Result::Receipt(receipt) => {
                    assert!(!receipt.duplicate);
                    None
                }
                wire::send_result::Result::Error(error) => {
                    assert_eq!(error.reason().as_str_name(), "ERROR_REASON_OVERLOADED");
                    assert_eq!(Code::from(error.code), Code::ResourceExhausted);
                    assert!(error.retry_after.is_some());
                    Some(request)
                }
            });
            requests = again.collect();
            refused += requests.len();
        }
    }
    assert_eq!(ana.history("r").await.len(), written);
}

#[tokio::test]
async fn the_largest_message_fits_into_the_smallest_queue() {
    let smallest = Server::with(&[("chat.append_queue_bytes", "131072"), ("stream.queue_bytes", "4096")]);
    let mut ana = smallest.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let file = wire::Attachment {
        url: format!("https://a/{}", "x".repeat(2_038)),
        name: "n".repeat(255),
        mime_type: format!("a/{}", "b".repeat(125)),
        size_bytes: 0,
    };
    let largest = wire::SendMessageRequest {
        metadata: (0..16).map(|i| (format!("{i:064}"), "v".repeat(512))).collect(),
        attachments: vec![file; 10],
        ..message("r", &"x".repeat(32_768))
    };
    ana.chat.send_message(largest).await.unwrap();
    assert_eq!(stream.event().await.position, 2);
    ana.say("r", "next").await;
    assert_eq!(stream.event().await.position, 3);
}

#[tokio::test]
async fn a_connection_too_many_waits_until_one_ends() {
    let server = Server::alone(&[("server.max_connections", "2")]);
    let mut first = server.user("ana").await;
    let second = server.user("ben").await;
    let mut third = server.user("cy").await;
    let waiting = tokio::spawn(async move { third.chat.ping(wire::PingRequest {}).await.map(drop) });
    for _ in 0..50 {
        first.chat.ping(wire::PingRequest {}).await.unwrap();
    }
    assert!(!waiting.is_finished());
    drop(second);
    within("the third connection's answer", waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_too_many_on_a_connection_waits_until_one_ends() {
    let server = Server::with(&[("server.max_concurrent_streams", "2")]);
    let ana = server.user("ana").await;
    let first = Stream::open(&ana, &[]).await;
    let mut second = Stream::open(&ana, &[]).await;
    let mut caller = ana.clone();
    let waiting = tokio::spawn(async move { caller.chat.ping(wire::PingRequest {}).await.map(drop) });
    for i in 0..50 {
        second.send(&i.to_string(), Up::Send(message("nowhere", "x"))).await;
        second.reply(&i.to_string()).await;
    }
    assert!(!waiting.is_finished());
    drop(first);
    within("the third call's answer", waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_ends_at_its_own_deadline_or_at_the_servers() {
    let server = Server::with(&[("server.request_timeout", "300ms")]);
    // By hand, because the generated clients watch the time themselves.
    let call = |timeout: &str| {
        Http::post(&server, "/relay.chat.v1.RoomService/ListRooms")
            .header("content-type", "application/grpc")
            .header("authorization", &format!("Bearer {}", Token::of("ana").sign()))
            .header("grpc-timeout", timeout)
    };
    for timeout in ["1m", "10H", "nonsense"] {
        let status = call(timeout).send_head_h2().await.grpc_status().await;
        let expected = (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned(), vec![]);
        assert_eq!(error_of(&status), expected, "{timeout}");
        let in_time = call("10S").send_h2(vec![0; 5]).await.grpc_status().await;
        assert_eq!(in_time.code(), Code::Ok);
    }
}

#[tokio::test]
async fn pages_have_a_default_and_a_largest_size() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for _ in 0..3 {
        let requests = (0..70).map(|i| message("r", &i.to_string())).collect();
        ana.chat.send_messages(wire::SendMessagesRequest { requests }).await.unwrap();
    }
    for batch in 0..6 {
        let user = |i| wire::NewMember { user_id: format!("u{}", batch * 100 + i), role: 0 };
        let members = (0..100).map(user).collect();
        ana.rooms.add_members(wire::AddMembersRequest { room_id: "r".into(), members }).await.unwrap();
    }
    for i in 0..205 {
        ana.create_room(&format!("room-{i}"), RoomKind::Private, &[]).await;
    }
    for (page_size, expected) in [(0, 50), (200, 200)] {
        let request = wire::ListMessagesRequest { room_id: "r".into(), page_size, ..Default::default() };
        assert_eq!(ana.chat.list_messages(request).await.unwrap().into_inner().messages.len(), expected);
        let request = wire::ListRoomsRequest { page_size, ..Default::default() };
        assert_eq!(ana.rooms.list_rooms(request).await.unwrap().into_inner().rooms.len(), expected);
    }
    for (page_size, expected) in [(0, 100), (500, 500)] {
        let request = wire::ListMembersRequest { room_id: "r".into(), page_size, ..Default::default() };
        assert_eq!(ana.rooms.list_members(request).await.unwrap().into_inner().members.len(), expected);
    }
}

#[tokio::test]
async fn who_missed_more_than_is_replayed_is_told_of_the_gap() {
    let server = Server::with(&[("chat.max_replay_events", "5")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for i in 0..9 {
        ana.say("r", &i.to_string()).await;
    }
    let (_, frames) = Stream::caught_up(&ana, &[("r", 5)]).await;
    assert_eq!(verdict(&frames, "r").verdict(), ResumeVerdict::Complete);
    assert_eq!(positions(&frames), [6, 7, 8, 9, 10]);
    for beyond in [0, 4, 100, u64::MAX] {
        let (mut stream, frames) = Stream::caught_up(&ana, &[("r", beyond)]).await;
        let resume = verdict(&frames, "r");
        let last = resume.last_position;
        assert_eq!((resume.verdict(), resume.position), (ResumeVerdict::Gap, last), "from {beyond}");
        assert!(positions(&frames).is_empty());
        // It goes on from there without a hole.
        ana.say("r", "next").await;
        let event = stream.event().await;
        assert_eq!((event.previous_position, event.position), (last, last + 1));
    }
}

#[tokio::test]
async fn events_that_were_forgotten_are_a_gap_and_their_messages_stay() {
    let server = Server::with(&[("chat.event_retention", "1ms"), ("chat.retention_interval", "20ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.say("r", "one").await;
    ana.say("r", "two").await;
    let edit = EditMessageRequest { room_id: "r".into(), seq: 1, text: "edited".into(), ..Default::default() };
    ana.chat.edit_message(edit).await.unwrap();
    let watcher = server.user("ana").await;
    let probe = |held: u64| {
        let ana = watcher.clone();
        async move { verdict(&Stream::caught_up(&ana, &[("r", held)]).await.1, "r").verdict() == ResumeVerdict::Gap }
    };
    // The edit, at position 4, is forgotten; who has not seen it must list anew.
    eventually("the edit to be forgotten", || probe(3)).await;
    assert!(probe(0).await);
    let (_, frames) = Stream::caught_up(&ana, &[("r", 4)]).await;
    assert_eq!(verdict(&frames, "r").verdict(), ResumeVerdict::Complete);
    let texts: Vec<_> = ana.history("r").await.into_iter().map(|m| m.text).collect();
    assert_eq!(texts, ["edited", "two"]);
    let delete = DeleteMessageRequest { room_id: "r".into(), seq: 2, reason: String::new() };
    ana.chat.delete_message(delete).await.unwrap();
    eventually("the deletion to be forgotten", || probe(4)).await;
}

#[tokio::test]
async fn a_stream_is_warned_before_its_token_expires_and_ends_when_it_has() {
    let server = Server::with(&[("stream.renew_warning", "10m"), ("auth.leeway", "0s")]);
    let ana = Clients::connect(&server.url(), Token::of("ana").for_seconds(2).sign()).await;
    let mut connect = Stream::open(&ana, &[]).await;
    let mut subscribed = subscribe(&ana).await;
    let Kind::Hello(hello) = kind(&mut subscribed).await.unwrap() else { panic!("no hello") };
    let warned = connect.until(|kind| matches!(kind, Kind::TokenExpiring(_))).await;
    let Some(Kind::TokenExpiring(warning)) = warned.last() else { panic!("{warned:?}") };
    assert_eq!(warning.expires_at, hello.token_expires_at);
    let expired = (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned(), vec![]);
    assert_eq!(error_of(&connect.end().await.unwrap()), expired);
    let mut warnings = 0;
    let status = loop {
        match kind(&mut subscribed).await {
            Ok(Kind::TokenExpiring(_)) => warnings += 1,
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!((error_of(&status), warnings), (expired, 1));
}

#[tokio::test]
async fn a_renewed_stream_outlives_its_first_token() {
    let server = Server::with(&[("auth.leeway", "0s")]);
    let short = Clients::connect(&server.url(), Token::of("ana").for_seconds(2).sign()).await;
    let mut of_ben = server.user("ben").await;
    of_ben.create_room("r", RoomKind::Private, &["ana"]).await;
    let (mut connect, _) = Stream::caught_up(&short, &[]).await;
    let (mut forgotten, _) = Stream::caught_up(&short, &[]).await;
    let mut subscribed = subscribe(&short).await;
    let Kind::Hello(hello) = kind(&mut subscribed).await.unwrap() else { panic!("no hello") };

    let long = Token::of("ana").for_seconds(600);
    connect.send("1", Up::Renew(RenewToken { token: long.sign() })).await;
    let Outcome::Renewed(renewed) = connect.reply("1").await else { panic!("not renewed") };
    assert_eq!(Some(renewed.expires_at.unwrap().seconds), long.claims["exp"].as_i64());
    let mut later = Clients::connect(&server.url(), long.sign()).await;
    let request = wire::RenewStreamRequest { session_id: hello.session_id };
    let renewed = later.chat.renew_stream(request).await.unwrap().into_inner();
    assert_eq!(Some(renewed.expires_at.unwrap().seconds), long.claims["exp"].as_i64());

    assert_eq!(error_of(&forgotten.end().await.unwrap()).1, "TOKEN_EXPIRED");
    of_ben.say("r", "still there?").await;
    assert_eq!(connect.event().await.position, 3);
    while !matches!(kind(&mut subscribed).await.unwrap(), Kind::Event(event) if event.position == 3) {}
}

#[tokio::test]
async fn a_stream_carries_a_heartbeat_in_every_interval() {
    let server = Server::with(&[("stream.heartbeat_interval", "200ms")]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let mut stream = subscribe(&ana).await;
    let Kind::Hello(hello) = kind(&mut stream).await.unwrap() else { panic!("no hello") };
    let interval: Duration = hello.heartbeat_interval.unwrap().try_into().unwrap();
    assert_eq!(interval, Duration::from_millis(200));
    let mut beats = Vec::new();
    while beats.len() < 4 {
        if let Kind::Heartbeat(beat) = kind(&mut stream).await.unwrap() {
            let at = beat.server_time.unwrap();
            beats.push(at.seconds * 1_000 + i64::from(at.nanos) / 1_000_000);
        }
    }
    let apart = (beats[3] - beats[0]) / 3;
    assert!((100..=300).contains(&apart), "{beats:?}");
    ana.say("r", "hi").await;
    let moved = loop {
        match kind(&mut stream).await.unwrap() {
            Kind::Heartbeat(beat) if !beat.positions.is_empty() => break beat.positions,
            _ => {}
        }
    };
    assert_eq!(moved, [wire::RoomPosition { room_id: "r".into(), position: 2 }]);
}
