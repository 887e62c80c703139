//! The bus of a node that is alone, or that has no Redis: there is nobody to tell, or no way to.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Bus, Channel, Health};
use crate::error::Result;

/// Does nothing: what a node publishes reaches its own sessions without a bus.
#[derive(Clone, Copy, Debug)]
pub enum LocalBus {
    /// There are no other nodes.
    Alone,
    /// Others may work on the same database.
    Shared,
}

impl Bus for LocalBus {
    fn watch(&self, _: Channel) {}

    fn unwatch(&self, _: &Channel) {}

    fn publish(&self, _: &Channel, _: Bytes, _: bool) {}

    fn forget(&self, _: &Channel) {}

    fn recent<'a>(&'a self, _: &'a Channel) -> BoxFuture<'a, Result<Vec<Bytes>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn health(&self) -> Health {
        match self {
            Self::Alone => Health::Alone,
            Self::Shared => Health::Silent,
        }
    }
}
