//! Who calls: tokens become a [`Caller`].

mod deployment;
mod keys;
mod tokens;

pub use deployment::{DeploymentError, adopt_key, agree_on_key};
pub use keys::{KeyError, KeyRing};
pub use tokens::{Tokens, mint};

use std::collections::HashSet;

use crate::{
    clock::Timestamp,
    db::{Args, Db},
    error::Result,
    id::{ProjectId, UserKey},
};

/// Somebody whose credentials were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user, in their project.
    pub user: UserKey,
    /// When the token stops being good.
    pub expires_at: Timestamp,
    /// Whether they are an admin of the project.
    pub admin: bool,
}

/// The projects of this server.
pub async fn projects(db: &Db) -> Result<HashSet<ProjectId>> {
    Ok(db.fetch_all("SELECT project_id FROM projects", Args::new()).await?.into_iter().collect())
}
