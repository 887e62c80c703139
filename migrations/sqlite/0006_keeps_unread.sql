-- The same schema as for Postgres: messages that their senders wrote before they saw what stands right above.

ALTER TABLE messages ADD COLUMN keeps_unread INTEGER NOT NULL DEFAULT 0;  -- 1: sending it did not read the room

-- One's own messages are not among one's unread mentions. Empty: not known, of messages from before.
ALTER TABLE mentions ADD COLUMN sender_id TEXT NOT NULL DEFAULT '';
