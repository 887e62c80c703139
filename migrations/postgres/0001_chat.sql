-- Chat. The same tables as for SQLite, with the types that Postgres has. Ids are compared byte by byte (COLLATE "C"), as
-- everywhere in Relay, whatever the database's own collation.
-- Every primary key begins with the project: no row can be reached without naming its tenant.

CREATE TABLE projects (
    project_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

INSERT INTO projects (project_id, created_at) VALUES ('default', 'epoch');

-- One row a room. last_seq and last_position are the newest numbers given; a deleted room keeps its row, so that its id
-- is not given again and a client that still holds a position in it is told that it left.
CREATE TABLE rooms (
    project_id       TEXT COLLATE "C" NOT NULL REFERENCES projects (project_id),
    room_id          TEXT COLLATE "C" NOT NULL,
    kind             SMALLINT NOT NULL,  -- 1 public, 2 private, 3 direct
    title            TEXT NOT NULL,
    description      TEXT NOT NULL,
    metadata         JSONB,  -- JSON object; NULL: empty
    direct_key       TEXT COLLATE "C",  -- the two users of a direct room, sorted, parted by a space
    created_by       TEXT COLLATE "C" NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL,
    deleted_at       TIMESTAMPTZ,
    erased_at        TIMESTAMPTZ,  -- when the last of a deleted room's messages went
    last_activity_at TIMESTAMPTZ NOT NULL,
    last_seq         BIGINT NOT NULL,
    last_position    BIGINT NOT NULL,
    pruned_position  BIGINT NOT NULL DEFAULT 0,  -- events up to here may be gone
    member_count     BIGINT NOT NULL,
    PRIMARY KEY (project_id, room_id)
);

CREATE UNIQUE INDEX rooms_by_pair ON rooms (project_id, direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_public_by_activity ON rooms (project_id, last_activity_at, room_id)
    WHERE kind = 1 AND deleted_at IS NULL;
CREATE INDEX rooms_to_erase ON rooms (deleted_at) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;

CREATE TABLE members (
    project_id TEXT COLLATE "C" NOT NULL,
    room_id    TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    role       SMALLINT NOT NULL,  -- 1 owner, 2 admin, 3 member, 4 read-only
    joined_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (project_id, room_id, user_id)
);

CREATE INDEX members_by_user ON members (project_id, user_id, room_id);

-- The messages as they are now, and at the same time the log's events of their creation.
CREATE TABLE messages (
    project_id        TEXT COLLATE "C" NOT NULL,
    room_id           TEXT COLLATE "C" NOT NULL,
    seq               BIGINT NOT NULL,
    position          BIGINT NOT NULL,
    sender_id         TEXT COLLATE "C" NOT NULL,
    client_message_id UUID NOT NULL,
    fingerprint       BYTEA NOT NULL,  -- of the content as first sent: tells a repeated send from a reused id
    text              TEXT NOT NULL,
    content_type      TEXT,  -- NULL: text/plain
    reply_to_seq      BIGINT,
    metadata          JSONB,
    attachments       JSONB,
    created_at        TIMESTAMPTZ NOT NULL,
    edited_at         TIMESTAMPTZ,
    deleted_at        TIMESTAMPTZ,
    deleted_by        TEXT COLLATE "C",
    PRIMARY KEY (project_id, room_id, seq)
);

CREATE UNIQUE INDEX messages_by_position ON messages (project_id, room_id, position);
CREATE UNIQUE INDEX messages_by_client_id ON messages (project_id, sender_id, client_message_id);

CREATE TABLE reactions (
    project_id TEXT COLLATE "C" NOT NULL,
    room_id    TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    emoji      TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,  -- of the event that added it: the order of reactions
    PRIMARY KEY (project_id, room_id, seq, emoji, user_id)
);

CREATE INDEX reactions_by_user ON reactions (project_id, room_id, seq, user_id);

-- All durable events but the creation of messages.
CREATE TABLE events (
    project_id  TEXT COLLATE "C" NOT NULL,
    room_id     TEXT COLLATE "C" NOT NULL,
    position    BIGINT NOT NULL,
    kind        SMALLINT NOT NULL,
    actor_id    TEXT COLLATE "C" NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    seq         BIGINT,  -- the message it is about
    user_id     TEXT COLLATE "C",  -- the member it is about
    detail      TEXT,  -- an emoji, or a member's role and time of joining
    PRIMARY KEY (project_id, room_id, position)
);

CREATE INDEX events_by_age ON events (occurred_at);
