-- Messages that their senders wrote before they saw what stands right above: sending them did not read the room.

ALTER TABLE messages ADD COLUMN keeps_unread BIGINT NOT NULL DEFAULT 0;  -- 1: it did not

-- One's own messages are not among one's unread mentions. Empty: not known, of messages from before.
ALTER TABLE mentions ADD COLUMN sender_id TEXT COLLATE "C" NOT NULL DEFAULT '';

-- What counting reads is in the index.
ALTER TABLE mentions
    DROP CONSTRAINT mentions_pkey,
    ADD PRIMARY KEY (project_id, user_id, room_id, seq) INCLUDE (sender_id);
