//! Relay's contract as Rust types: what `proto/relay/**` says, compiled.
//!
//! [`chat::v1`] has the messages and the clients; `server::chat::v1` (feature `server`) the traits of the unary methods.

/// Conversations: rooms, messages, streams.
pub mod chat {
    /// Version 1.
    #[allow(clippy::large_enum_variant, reason = "generated; a frame is short-lived")]
    pub mod v1 {
        tonic::include_proto!("relay.chat.v1");
    }
}

/// Errors that every service answers with.
pub mod error {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("relay.error.v1");
    }
}

/// The server's side of the unary methods.
#[cfg(feature = "server")]
pub mod server {
    /// Conversations.
    pub mod chat {
        /// Version 1.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/unary/relay.chat.v1.rs"));
        }
    }
}

/// The whole contract as a serialized `google.protobuf.FileDescriptorSet`, with comments: what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));
