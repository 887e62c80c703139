-- The same schema as for Postgres, where many nodes share a database.

-- What all Relays that use this database have in common: one row, written by the first that starts.
CREATE TABLE deployment (
    id          INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    signing_key TEXT NOT NULL,                    -- a fingerprint, which tells nothing of the key
    updated_at  INTEGER NOT NULL,
    unlinked_at INTEGER  -- when a node without a bus last said so: what it commits, others do not hear
) STRICT, WITHOUT ROWID;

-- Which members joined lately, in whatever room: kind 6 is a member who joined.
CREATE INDEX events_joins ON events (occurred_at) WHERE kind = 6;
