//! Client of Relay.
