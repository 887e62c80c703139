//! Streams: what they carry, in which order, and how they resume.

mod frames;
mod replay;
mod seam;
mod verdicts;

use relay_proto::chat::v1::{self as wire, RoomKind, connect_request::Frame as Up, frame::Kind, room_event::Event};

use crate::support::{Server, Stream, message};

#[tokio::test]
async fn a_message_reaches_every_member_once_and_its_sender_gets_the_answer() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let ben = server.user("ben").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let (mut of_ana, _) = Stream::caught_up(&ana, &[]).await;
    let (mut of_ben, _) = Stream::caught_up(&ben, &[]).await;

    of_ana.send("r1", Up::Send(message("general", "hi"))).await;
    let wire::reply::Result::Sent(sent) = of_ana.reply("r1").await else { panic!("not sent") };
    assert_eq!((sent.seq, sent.position, sent.duplicate), (1, 3, false));
    let event = of_ben.event().await;
    assert_eq!((event.position, event.previous_position), (3, 2));
    let Some(Event::MessageCreated(created)) = event.event else { panic!("no message") };
    assert_eq!(created.message.unwrap().text, "hi");
}

#[tokio::test]
async fn a_stream_resumes_from_its_position_without_a_gap() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &[]).await;
    for i in 0..10 {
        ana.say("general", &i.to_string()).await;
    }
    let (mut stream, frames) = Stream::caught_up(&ana, &[("general", 4)]).await;
    let positions: Vec<u64> =
        frames.iter().filter_map(|kind| if let Kind::Event(e) = kind { Some(e.position) } else { None }).collect();
    assert_eq!(positions, (5..=11).collect::<Vec<_>>());
    ana.say("general", "live").await;
    assert_eq!(stream.event().await.position, 12);
}
