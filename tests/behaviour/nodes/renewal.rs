//! A stream's token is renewed by a call to whichever node.

use relay_proto::chat::v1::{self as wire, RenewStreamRequest, RoomKind, SubscribeRequest, frame::Kind};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::Group;
use crate::support::{Clients, Redis, Token, error_of, eventually, within};

/// A stream without a way up: only a call renews it.
struct Subscribed {
    stream: Streaming<wire::SubscribeResponse>,
    session_id: String,
}

impl Subscribed {
    async fn open(clients: &Clients) -> Self {
        let request = SubscribeRequest { open: Some(wire::OpenStream::default()) };
        let mut stream = clients.chat.clone().subscribe(request).await.unwrap().into_inner();
        let first = within("hello", stream.message()).await.unwrap().unwrap();
        let Some(Kind::Hello(hello)) = first.frame.unwrap().kind else { panic!("no hello") };
        Self { stream, session_id: hello.session_id }
    }

    /// The next message of a room, or how the stream ended.
    async fn text(&mut self) -> Result<String, Status> {
        loop {
            let frame = within("a frame", self.stream.message()).await?.expect("the stream ends with an error");
            if let Some(Kind::Event(event)) = frame.frame.unwrap().kind
                && let Some(wire::room_event::Event::MessageCreated(created)) = event.event
            {
                return Ok(created.message.unwrap().text);
            }
        }
    }
}

async fn renew(caller: &Clients, session_id: &str) -> Result<i64, Status> {
    let request = RenewStreamRequest { session_id: session_id.into() };
    Ok(caller.chat.clone().renew_stream(request).await?.into_inner().expires_at.unwrap().seconds)
}

#[tokio::test]
async fn a_call_to_one_node_renews_its_callers_stream_on_another_and_no_one_elses() {
    let group = Group::start(3, &[("auth.leeway", "0s")]);
    let mut ben = group.node(0).user("ben").await;
    ben.create_room("r", RoomKind::Private, &["ana"]).await;
    let short = Clients::connect(&group.node(1).url(), Token::of("ana").for_seconds(4).sign()).await;
    let mut renewed = Subscribed::open(&short).await;
    let mut not_renewed = Subscribed::open(&short).await;

    let long = Token::of("ana").for_seconds(600);
    let ana = Clients::connect(&group.node(2).url(), long.sign()).await;
    let not_found = (Code::NotFound, "SESSION_NOT_FOUND".to_owned(), vec![]);
    for (caller, session) in [(&ben, not_renewed.session_id.clone()), (&ana, Uuid::new_v4().to_string())] {
        let refused = renew(caller, &session).await.unwrap_err();
        assert_eq!(error_of(&refused), not_found);
        assert!(refused.get_details_retry_info().is_none(), "there is nothing to try again: {refused:?}");
    }
    assert_eq!(Some(renew(&ana, &renewed.session_id).await.unwrap()), long.claims["exp"].as_i64());

    assert_eq!(error_of(&not_renewed.text().await.unwrap_err()).1, "TOKEN_EXPIRED");
    ben.say("r", "still there?").await;
    assert_eq!(renewed.text().await.unwrap(), "still there?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_a_renewal_on_another_node_is_to_be_tried_again() {
    let mut redis = tokio::task::block_in_place(Redis::start);
    let group = Group::on(2, redis.url(), &[]);
    let ana = [group.node(0).user("ana").await, group.node(1).user("ana").await];
    let stream = Subscribed::open(&ana[1]).await;
    tokio::task::block_in_place(|| redis.kill());
    eventually("the bus to be down", async || group.node(0).metric("relay_bus_up").await == 0.0).await;
    let refused = renew(&ana[0], &stream.session_id).await.unwrap_err();
    assert_eq!(error_of(&refused).1, "SESSION_NOT_FOUND");
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    renew(&ana[1], &stream.session_id).await.expect("its own node needs nobody");
    tokio::task::block_in_place(|| redis.restart());
    let (caller, session) = (&ana[0], stream.session_id.as_str());
    eventually("a renewal on the other node", async || renew(caller, session).await.is_ok()).await;
}
