//! Nodes that are cut off from the bus say so in the database: what they commit, the others do not hear.

use crate::{
    clock::Timestamp,
    db::{Args, Db},
    error::Result,
};

/// This node has no bus at the moment.
pub(in crate::chat) async fn say_unlinked(db: &Db, now: Timestamp) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.execute("UPDATE deployment SET unlinked_at = $1 WHERE id = 1", Args::new().with(now)).await?;
    tx.commit().await
}

/// When a node last said so. Nodes' clocks differ: only that it changes tells something.
pub(in crate::chat) async fn unlinked(db: &Db) -> Result<Option<Timestamp>> {
    let found = db.fetch_optional::<(Timestamp,)>(
        "SELECT unlinked_at FROM deployment WHERE id = 1 AND unlinked_at IS NOT NULL",
        Args::new(),
    );
    Ok(found.await?.map(|(at,)| at))
}
