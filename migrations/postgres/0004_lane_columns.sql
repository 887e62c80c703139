-- A message's place in its sender's lane: in columns, which cost less to write and to read than JSON did.

ALTER TABLE messages
    ADD COLUMN lane_id        TEXT COLLATE "C",  -- its sender's lane, if it is numbered in one
    ADD COLUMN client_seq     BIGINT,  -- its number there
    ADD COLUMN missing_before BIGINT;  -- how many numbers right before it had not come

UPDATE messages SET lane_id = lane->>0, client_seq = (lane->>1)::bigint, missing_before = (lane->>2)::bigint
    WHERE lane IS NOT NULL;

ALTER TABLE messages DROP COLUMN lane;
