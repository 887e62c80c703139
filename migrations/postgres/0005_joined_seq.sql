-- How far a room was when each member joined it: what was written before counts as read by them, but was not read.

ALTER TABLE members ADD COLUMN joined_seq BIGINT NOT NULL DEFAULT 0;  -- the newest message when they joined; 0: none, or unknown
