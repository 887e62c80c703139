//! What all Relays on one database have in common: the key that they sign with.

use super::KeyRing;
use crate::{
    clock::Timestamp,
    db::{Args, Db},
    error::{Error, Result},
};

/// Why a Relay cannot join the others.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// Tokens that one signs would be refused by the others.
    #[error(
        "the database is used by Relays that sign with another key. Give all nodes the same RELAY_AUTH_SIGNING_KEY: \
         without it the first one made data_dir/keys/signing.key, which holds the key. To rotate it, keep the old one \
         under auth.keys. To leave the old key behind for good, run `relay adopt-key` with the new one and restart all \
         nodes with it"
    )]
    OtherKey,
    /// The database did not do what it was asked.
    #[error("cannot ask the database which key other Relays sign with ({0}); the log says why")]
    Storage(#[from] Error),
}

/// Sees that the others on the database sign with the same key; the first says which one. A node that still accepts the
/// others' key takes over: that is how a key is rotated.
///
/// # Errors
/// The others sign with a key that this one does not know.
pub async fn agree_on_key(db: &Db, keys: &KeyRing, now: Timestamp) -> std::result::Result<(), DeploymentError> {
    if !db.is_shared() {
        return Ok(());
    }
    loop {
        let Some(theirs) = recorded(db).await? else {
            record_first(db, keys, now).await?;
            continue;
        };
        if theirs == keys.fingerprint() {
            return Ok(());
        }
        if !keys.accepts(&theirs) {
            return Err(DeploymentError::OtherKey);
        }
        if replace(db, &theirs, keys, now).await? {
            tracing::info!("the signing key was rotated: Relays that do not know the new one do not start any more");
            return Ok(());
        }
        // Another node was quicker: look again.
    }
}

/// Makes the key that Relays on the database sign with this one's, whatever it was. Answers whether that changed anything.
pub async fn adopt_key(db: &Db, keys: &KeyRing, now: Timestamp) -> Result<bool> {
    loop {
        match recorded(db).await? {
            Some(theirs) if theirs == keys.fingerprint() => return Ok(false),
            Some(theirs) if replace(db, &theirs, keys, now).await? => return Ok(true),
            Some(_) => {}
            None => record_first(db, keys, now).await?,
        }
    }
}

async fn recorded(db: &Db) -> Result<Option<String>> {
    let found = db.fetch_optional::<(String,)>("SELECT signing_key FROM deployment WHERE id = 1", Args::new()).await?;
    Ok(found.map(|(fingerprint,)| fingerprint))
}

/// Records the key unless there is one: of nodes that start together, one does it.
async fn record_first(db: &Db, keys: &KeyRing, now: Timestamp) -> Result<()> {
    let statement =
        "INSERT INTO deployment (id, signing_key, updated_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING";
    let mut tx = db.begin().await?;
    tx.execute(statement, Args::new().with(keys.fingerprint()).with(now)).await?;
    tx.commit().await
}

/// Records the key if the one before is still `theirs`; answers whether it was.
async fn replace(db: &Db, theirs: &str, keys: &KeyRing, now: Timestamp) -> Result<bool> {
    let statement = "UPDATE deployment SET signing_key = $1, updated_at = $2 WHERE id = 1 AND signing_key = $3";
    let mut tx = db.begin().await?;
    let changed = tx.execute(statement, Args::new().with(keys.fingerprint()).with(now).with(theirs)).await?;
    tx.commit().await?;
    Ok(changed > 0)
}
