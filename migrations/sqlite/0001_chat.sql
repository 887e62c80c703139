-- Chat on one node. Times are microseconds since 1970-01-01T00:00:00Z, UUIDs 16 bytes, JSON text.
-- Every primary key begins with the project: no row can be reached without naming its tenant.

CREATE TABLE projects (
    project_id TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO projects (project_id, created_at) VALUES ('default', 0);

-- One row a room. last_seq and last_position are the newest numbers given; a deleted room keeps its row, so that its id
-- is not given again and a client that still holds a position in it is told that it left.
CREATE TABLE rooms (
    project_id       TEXT NOT NULL REFERENCES projects (project_id),
    room_id          TEXT NOT NULL,
    kind             INTEGER NOT NULL,            -- 1 public, 2 private, 3 direct
    title            TEXT NOT NULL,
    description      TEXT NOT NULL,
    metadata         TEXT,                        -- JSON object; NULL: empty
    direct_key       TEXT,                        -- the two users of a direct room, sorted, parted by a space
    created_by       TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    deleted_at       INTEGER,
    erased_at        INTEGER,                     -- when the last of a deleted room's messages went
    last_activity_at INTEGER NOT NULL,
    last_seq         INTEGER NOT NULL,
    last_position    INTEGER NOT NULL,
    pruned_position  INTEGER NOT NULL DEFAULT 0,  -- events up to here may be gone
    member_count     INTEGER NOT NULL,
    PRIMARY KEY (project_id, room_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX rooms_by_pair ON rooms (project_id, direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_public_by_activity ON rooms (project_id, last_activity_at, room_id)
    WHERE kind = 1 AND deleted_at IS NULL;
CREATE INDEX rooms_to_erase ON rooms (deleted_at) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;

CREATE TABLE members (
    project_id TEXT NOT NULL,
    room_id    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    role       INTEGER NOT NULL,                  -- 1 owner, 2 admin, 3 member, 4 read-only
    joined_at  INTEGER NOT NULL,
    PRIMARY KEY (project_id, room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_user ON members (project_id, user_id, room_id);

-- The messages as they are now, and at the same time the log's events of their creation.
CREATE TABLE messages (
    project_id        TEXT NOT NULL,
    room_id           TEXT NOT NULL,
    seq               INTEGER NOT NULL,
    position          INTEGER NOT NULL,
    sender_id         TEXT NOT NULL,
    client_message_id BLOB NOT NULL,
    fingerprint       BLOB NOT NULL,              -- of the content as first sent: tells a repeated send from a reused id
    text              TEXT NOT NULL,
    content_type      TEXT,                       -- NULL: text/plain
    reply_to_seq      INTEGER,
    metadata          TEXT,
    attachments       TEXT,
    created_at        INTEGER NOT NULL,
    edited_at         INTEGER,
    deleted_at        INTEGER,
    deleted_by        TEXT,
    PRIMARY KEY (project_id, room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX messages_by_position ON messages (project_id, room_id, position);
CREATE UNIQUE INDEX messages_by_client_id ON messages (project_id, sender_id, client_message_id);

CREATE TABLE reactions (
    project_id TEXT NOT NULL,
    room_id    TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    emoji      TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    position   INTEGER NOT NULL,                  -- of the event that added it: the order of reactions
    PRIMARY KEY (project_id, room_id, seq, emoji, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX reactions_by_user ON reactions (project_id, room_id, seq, user_id);

-- All durable events but the creation of messages.
CREATE TABLE events (
    project_id  TEXT NOT NULL,
    room_id     TEXT NOT NULL,
    position    INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    actor_id    TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    seq         INTEGER,                          -- the message it is about
    user_id     TEXT,                             -- the member it is about
    detail      TEXT,                             -- an emoji, or a member's role and time of joining
    PRIMARY KEY (project_id, room_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_by_age ON events (occurred_at);
