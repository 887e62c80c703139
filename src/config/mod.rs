//! Settings: typed, with `relay.default.toml` as both their defaults and their documentation.
//!
//! Layers, the later over the earlier: defaults, a file, `RELAY_*` variables, `--set`. See [`load`].

mod load;
mod sections;

pub use load::{DEFAULTS, LoadError, Overrides, load};
pub use sections::{
    AuthConfig, ChatConfig, Config, DatabaseConfig, KeyConfig, LogConfig, LogFormat, MAX_APPEND_BATCH, PresenceConfig,
    RedisConfig, ServerConfig, StreamConfig,
};
