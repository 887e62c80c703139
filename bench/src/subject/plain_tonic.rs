//! An ordinary tonic service: server streaming, fed by a tokio broadcast, encoded by tonic's own codec. No chat logic.

use std::pin::Pin;

use prost::Message as _;
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{BroadcastStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server as TonicServer};

pub(super) use self::wire::Event;
use self::wire::{
    PublishResponse, SubscribeRequest,
    plain_server::{Plain, PlainServer},
};
use super::{
    FanOut, Feed, Publisher, TEXT,
    server::{Server, own},
};
use crate::{error::Error, grpc::Link, process::Processes, report, stamp};

#[expect(unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod wire {
    tonic::include_proto!("plain.v1");
}

/// The word on the command line.
pub(super) const ROLE: &str = "plain-tonic";
/// Events that a subscriber may be behind: more than the generator has under way.
const BACKLOG: usize = 1024;

/// The running service.
pub(crate) struct PlainTonic {
    server: Server,
    event: usize,
}

impl PlainTonic {
    /// Starts it; its events will be `event` bytes long, without prefix and frame header.
    pub(crate) async fn start(event: usize) -> Result<Self, Error> {
        Ok(Self { server: Server::start(own(ROLE)?).await?, event })
    }
}

impl FanOut for PlainTonic {
    fn name(&self) -> &'static str {
        "plain_tonic"
    }

    fn processes(&self) -> Processes {
        Processes::one(self.server.pid)
    }

    async fn subscribe(&self, _number: usize) -> Result<Feed, Error> {
        let mut call = Link::connect(self.server.address).await?.open("/plain.v1.Plain/Subscribe", "").await?;
        call.send_last(&SubscribeRequest {})?;
        call.accepted().await?;
        Ok(Feed::Grpc(Box::new(call), |_| true))
    }

    async fn publish(&self) -> Result<Publisher, Error> {
        let call = Link::connect(self.server.address).await?.open("/plain.v1.Plain/Publish", "").await?;
        Ok(Publisher::PlainTonic(Box::new(call), self.event))
    }
}

/// Event `number`, sent at `at`, whose encoding has `length` bytes (if its text alone is not longer).
pub(super) fn event(number: u64, at: u64, length: usize) -> Event {
    let mut event = Event {
        room_id: "fanout".into(),
        position: number,
        sender_id: "pub".into(),
        message_id: "00000000-0000-4000-8000-000000000000".into(),
        text: stamp::text(at, TEXT),
    };
    // Longer text rather than more fields: the peer is not to pay for Relay's.
    while event.encoded_len() < length {
        event.text.push('.');
    }
    event
}

/// Is the service.
pub(super) fn serve() -> Result<(), Error> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        report::say(&format!("plain tonic listening on http://{}", listener.local_addr()?))?;
        let service = PlainServer::new(Broadcast(broadcast::Sender::new(BACKLOG)));
        let connections = TcpListenerStream::new(listener).map(|socket| {
            socket.and_then(|socket| {
                socket.set_nodelay(true)?;
                Ok(socket)
            })
        });
        let served = TonicServer::builder().add_service(service).serve_with_incoming(connections).await;
        served.map_err(|error| Error::unexpected(error.to_string()))
    })
}

struct Broadcast(broadcast::Sender<Event>);

#[tonic::async_trait]
impl Plain for Broadcast {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn publish(&self, request: Request<Streaming<Event>>) -> Result<Response<PublishResponse>, Status> {
        let mut events = request.into_inner();
        while let Some(event) = events.message().await? {
            // An error means that nobody listens.
            let _ = self.0.send(event);
        }
        Ok(Response::new(PublishResponse {}))
    }

    async fn subscribe(&self, _: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let events = BroadcastStream::new(self.0.subscribe());
        Ok(Response::new(Box::pin(events.map(|event| event.map_err(|late| Status::data_loss(late.to_string()))))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_has_the_length_asked_for() {
        assert_eq!(event(7, 1, 300).encoded_len(), 300);
    }
}
