-- Messages that their senders wrote before they saw what stands right above: sending them did not read the room.

ALTER TABLE messages ADD COLUMN keeps_unread BIGINT NOT NULL DEFAULT 0;  -- 1: it did not

-- Nobody is mentioned by themselves. Of messages from before, which all read their rooms for their senders, nothing need be known.
ALTER TABLE mentions ADD COLUMN sender_id TEXT COLLATE "C" NOT NULL DEFAULT '';
