-- The same schema as for Postgres: messages that their senders wrote before they saw what stands right above.

ALTER TABLE messages ADD COLUMN keeps_unread INTEGER NOT NULL DEFAULT 0;  -- 1: sending it did not read the room

-- Nobody is mentioned by themselves. Of messages from before, which all read their rooms for their senders, nothing need be known.
ALTER TABLE mentions ADD COLUMN sender_id TEXT NOT NULL DEFAULT '';
