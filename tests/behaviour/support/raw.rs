//! Calls below the generated clients: any method of the contract by name, with any bytes and any credentials.

use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use super::within;

/// Every method of the contract, as `Service/Method`.
pub(crate) fn methods() -> Vec<String> {
    let contract = prost_types::FileDescriptorSet::decode(relay_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = contract.file.iter().flat_map(|file| &file.service);
    services.flat_map(|s| s.method.iter().map(|m| format!("{}/{}", s.name(), m.name()))).collect()
}

/// A connection on which calls are bytes.
#[derive(Clone)]
pub(crate) struct Raw {
    channel: Channel,
    authorization: Option<String>,
}

impl Raw {
    /// Without credentials.
    pub(crate) async fn connect(url: &str) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        Self { channel, authorization: None }
    }

    /// The same connection with this `authorization`.
    pub(crate) fn authorized(&self, value: impl Into<String>) -> Self {
        Self { channel: self.channel.clone(), authorization: Some(value.into()) }
    }

    /// The same connection with this token.
    pub(crate) fn bearer(&self, token: &str) -> Self {
        self.authorized(format!("Bearer {token}"))
    }

    /// Calls `Service/Method` and answers with the first message, of a stream too.
    pub(crate) async fn call(&self, method: &str, request: impl Message) -> Result<Bytes, Status> {
        self.call_bytes(method, request.encode_to_vec().into()).await
    }

    /// The same with bytes that need not be a message.
    pub(crate) async fn call_bytes(&self, method: &str, request: Bytes) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/relay.chat.v1.{method}").parse().unwrap();
        let mut request = Request::new(tokio_stream::once(request));
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.parse().unwrap());
        }
        let answered = within(method, grpc.streaming(request, path, BytesCodec)).await?;
        let first = within(method, answered.into_inner().message()).await?;
        first.ok_or_else(|| Status::unknown("the call ended without an answer"))
    }
}

/// Hands messages through as they are.
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
