//! Callers that hang up: their message is whole and delivered, or absent.

use std::collections::HashMap;

use relay_proto::chat::v1::{
    ConnectRequest, RoomKind, SendMessageRequest, connect_request::Frame as Up, frame::Kind, room_event::Event,
};

use crate::support::{Clients, Proxy, RawStream, Server, Stream, Token, give_up_after, message, raw_stream};

const ROUNDS: usize = 240;

/// Sends by one of several ways, and hangs up at a random moment.
async fn send_and_hang_up(way: usize, server: &Server, request: SendMessageRequest, random: &mut fastrand::Rng) {
    let address = server.address();
    let frame = ConnectRequest { request_id: "r".into(), frame: Some(Up::Send(request.clone())) };
    match way {
        // The call is dropped: its HTTP/2 stream is reset.
        0 => {
            let mut clients = server.user("ben").await;
            give_up_after(random.usize(1..60), clients.chat.send_message(request)).await;
        }
        // The stream is reset in the middle of the request or after it.
        1 => {
            let mut call = RawStream::call(address, "ben", "SendMessage", raw_stream::WIDE).await;
            let bytes = raw_stream::framed(&request);
            call.send_bytes(bytes.slice(..random.usize(1..=bytes.len())));
            give_up_after(random.usize(..40), std::future::pending::<()>()).await;
            call.reset();
            give_up_after(20, std::future::pending::<()>()).await;
        }
        // The connection of a stream is closed right after a frame.
        2 => {
            let mut stream = RawStream::connect(address, "ben", &[], raw_stream::WIDE).await;
            stream.send(&frame);
            give_up_after(random.usize(1..200), std::future::pending::<()>()).await;
        }
        // The stream is reset after Hello and a frame.
        3 => {
            let mut stream = RawStream::connect(address, "ben", &[], raw_stream::WIDE).await;
            stream.next().await;
            stream.send(&frame);
            give_up_after(random.usize(1..60), std::future::pending::<()>()).await;
            stream.reset();
            give_up_after(20, std::future::pending::<()>()).await;
        }
        // The link breaks.
        _ => {
            let proxy = Proxy::to(address).await;
            let mut clients = Clients::lazy(&proxy.url(), Token::of("ben").sign());
            let call = tokio::spawn(async move { clients.chat.send_message(request).await });
            give_up_after(random.usize(1..200), std::future::pending::<()>()).await;
            proxy.cut();
            drop(call.await);
        }
    }
}

#[tokio::test]
async fn who_hangs_up_in_the_middle_of_a_send_leaves_a_whole_message_or_none() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("general", RoomKind::Private, &["ben"]).await;
    let (mut observer, _) = Stream::caught_up(&ana, &[]).await;
    let mut requests = Vec::new();
    for i in 0..ROUNDS {
        let request = message("general", &format!("{i} {}", "x".repeat(random.usize(..20_000))));
        requests.push(request.clone());
        send_and_hang_up(i % 5, &server, request, &mut random).await;
    }

    // Each is sent again, to the end: what was there already is answered as a duplicate.
    let mut ben = server.user("ben").await;
    let mut there_already = 0;
    let mut receipts = HashMap::new();
    for request in &requests {
        let receipt = ben.chat.send_message(request.clone()).await.unwrap().into_inner().receipt.unwrap();
        there_already += usize::from(receipt.duplicate);
        receipts.insert(request.client_message_id.clone(), receipt);
    }
    println!("{there_already} of {ROUNDS} were written before their callers hung up");
    assert!(there_already > ROUNDS / 20 && there_already < ROUNDS, "both kinds: {there_already}");
    let history = ana.history("general").await;
    assert_eq!(history.len(), ROUNDS);
    for (written, seq) in history.iter().zip(1..) {
        assert_eq!((written.seq, written.position), (seq, seq + 2), "without holes");
        let request = requests.iter().find(|r| r.client_message_id == written.client_message_id).unwrap();
        assert_eq!(written.text, request.text);
        assert_eq!(receipts[&written.client_message_id].seq, seq);
        // And its event has been delivered, in its place.
        let event = observer.event().await;
        assert_eq!(event.position, written.position);
        let Some(Event::MessageCreated(created)) = event.event else { panic!("no message") };
        assert_eq!(created.message.unwrap().client_message_id, written.client_message_id);
    }
    // Nothing of it is left over.
    let (_, frames) = Stream::caught_up(&ana, &[("general", history.last().unwrap().position)]).await;
    assert!(!frames.iter().any(|kind| matches!(kind, Kind::Event(_))));
}
