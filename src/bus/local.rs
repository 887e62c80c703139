//! The bus of a node that is alone: there is nobody to tell.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Bus, Channel, Health};
use crate::error::Result;

/// Does nothing: what a node publishes reaches its own sessions without a bus.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalBus;

impl Bus for LocalBus {
    fn watch(&self, _: Channel) {}

    fn unwatch(&self, _: &Channel) {}

    fn publish(&self, _: &Channel, _: Bytes, _: bool) {}

    fn forget(&self, _: &Channel) {}

    fn recent<'a>(&'a self, _: &'a Channel) -> BoxFuture<'a, Result<Vec<Bytes>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn health(&self) -> Health {
        Health::Alone
    }
}
