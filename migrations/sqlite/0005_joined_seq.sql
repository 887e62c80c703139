-- The same schema as for Postgres: how far a room was when each member joined it.

ALTER TABLE members ADD COLUMN joined_seq INTEGER NOT NULL DEFAULT 0;  -- the newest message when they joined; 0: none, or unknown
