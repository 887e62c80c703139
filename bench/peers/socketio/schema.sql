-- What a chat on Socket.IO keeps of a message. The seq is the table's, not the room's: one insert, nothing to lock.
CREATE TABLE messages (
    seq               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id           TEXT NOT NULL,
    sender_id         TEXT NOT NULL,
    client_message_id UUID NOT NULL,
    text              TEXT NOT NULL,
    created_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE (sender_id, client_message_id)
);

CREATE INDEX messages_by_room ON messages (room_id, seq);
