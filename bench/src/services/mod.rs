//! The services that Relay shares between nodes, as the environment names them: `scripts/with-postgres` and
//! `scripts/with-redis` start private ones and say where they are.

mod pgbench;
mod postgres;
mod redis;

pub(crate) use pgbench::Pgbench;
pub(crate) use postgres::{Database, Postgres};
pub(crate) use redis::Redis;

/// What there is. None: the scenarios that need it are left out.
pub(crate) struct Services {
    pub(crate) postgres: Option<Postgres>,
    pub(crate) redis: Option<Redis>,
}

impl Services {
    /// Those of the environment.
    pub(crate) fn of_environment() -> Self {
        let url = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
        Self {
            postgres: url("RELAY_TEST_POSTGRES_URL").map(Postgres::at),
            redis: url("RELAY_TEST_REDIS_URL").map(Redis::at),
        }
    }

    /// Both, if both are there.
    pub(crate) fn both(&self) -> Option<(&Postgres, &Redis)> {
        self.postgres.as_ref().zip(self.redis.as_ref())
    }
}
