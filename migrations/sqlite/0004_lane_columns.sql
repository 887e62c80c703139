-- The same schema as for Postgres: a message's place in its sender's lane, in columns.

ALTER TABLE messages ADD COLUMN lane_id        TEXT;  -- its sender's lane, if it is numbered in one
ALTER TABLE messages ADD COLUMN client_seq     INTEGER;  -- its number there
ALTER TABLE messages ADD COLUMN missing_before INTEGER;  -- how many numbers right before it had not come

UPDATE messages SET lane_id = lane->>0, client_seq = lane->>1, missing_before = lane->>2 WHERE lane IS NOT NULL;

ALTER TABLE messages DROP COLUMN lane;
