//! What is done without serving.

use std::{os::unix::fs::DirBuilderExt as _, sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;

use super::Failure;
use crate::{
    bus::RedisBus,
    clock::{Clock as _, SystemClock},
    config::{Config, DatabaseConfig},
    db::Db,
    id::{ProjectId, UserId, UserKey},
    identity::{self, KeyRing},
    rpc::cors,
    telemetry,
};

/// Makes the folder, if there is none, for the server's user alone: messages and keys lie in it.
pub(super) fn make_data_dir(config: &Config) -> Result<(), Failure> {
    let data_dir = &config.server.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    Ok(made.map_err(|e| format!("server.data_dir {}: {e}", data_dir.display()))?)
}

/// The database, whatever its replica does.
async fn open_alone(config: &Config) -> Result<Db, Failure> {
    let database = DatabaseConfig { replica_url: Default::default(), ..config.database.clone() };
    Ok(Db::open(&database, &config.server.data_dir, Arc::default()).await?)
}

/// Brings the schema of the database up to date. Several may do so at once: one does it, the others find it done.
pub async fn migrate(config: &Config) -> Result<(), Failure> {
    make_data_dir(config)?;
    open_alone(config).await?.close().await;
    Ok(())
}

/// Makes the signing key of `config` the one of all Relays on the database. Answers whether it was another before.
pub async fn adopt_key(config: &Config) -> Result<bool, Failure> {
    make_data_dir(config)?;
    let keys = KeyRing::load(&config.auth, &config.server.data_dir)?;
    let db = open_alone(config).await?;
    let adopted = identity::adopt_key(&db, &keys, SystemClock.now()).await?;
    db.close().await;
    Ok(adopted)
}

/// Looks at all settings as [`App::start`](super::App::start) would, and touches nothing.
pub fn check(config: &Config) -> Result<(), Failure> {
    KeyRing::check(&config.auth)?;
    Db::check(&config.database, &config.server.data_dir)?;
    if !config.redis.url.expose_secret().is_empty() {
        RedisBus::check(&config.redis)?;
    }
    telemetry::log_filter(&config.log)?;
    cors(&config.server.cors_origins).map(drop)?;
    Ok(())
}

/// A token of `user` in `project`, whose admin they are if it says so, signed with the key of the server that has this
/// configuration.
pub fn mint_token(config: &Config, user: &str, project: &str, admin: bool, ttl: Duration) -> Result<String, Failure> {
    let keys = KeyRing::load(&config.auth, &config.server.data_dir)?;
    let user = UserKey { project: ProjectId::parse(project, "--project")?, user: UserId::parse(user, "--user")? };
    Ok(identity::mint(&keys, &user, admin, SystemClock.now(), ttl)?)
}
