-- Receipts, mentions, settings, lanes, moderation, pins, presence, search.

ALTER TABLE rooms ADD COLUMN slow_mode_seconds BIGINT NOT NULL DEFAULT 0;

ALTER TABLE members
    ADD COLUMN delivered_seq      BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN read_seq           BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN quiet_until        TIMESTAMPTZ,  -- their own setting: no notifications until then
    ADD COLUMN archived           SMALLINT NOT NULL DEFAULT 0,
    ADD COLUMN favourite          SMALLINT NOT NULL DEFAULT 0,
    ADD COLUMN settings_version   BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN muted_until        TIMESTAMPTZ,  -- a moderator's word: they only read until then
    ADD COLUMN peer_blocked       SMALLINT NOT NULL DEFAULT 0,  -- in a direct room: one of the two has blocked the other
    ADD COLUMN last_sent_at       TIMESTAMPTZ;  -- kept in rooms with slow mode
-- Cursors move often: room on each page lets a row's new version stay beside the old one, and indexes alone.
ALTER TABLE members SET (fillfactor = 80);
-- Nobody has said what they read so far: all that there is counts as read.
UPDATE members SET delivered_seq = r.last_seq, read_seq = r.last_seq
    FROM rooms r WHERE r.project_id = members.project_id AND r.room_id = members.room_id;

ALTER TABLE messages
    ADD COLUMN mentions        JSONB,
    ADD COLUMN lane            JSONB,  -- [lane_id, client_seq, missing_before]
    ADD COLUMN deletion_reason TEXT;

-- Who is mentioned where. An empty user_id is the whole room.
CREATE TABLE mentions (
    project_id TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    room_id    TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id, room_id, seq)
);

CREATE INDEX mentions_by_message ON mentions (project_id, room_id, seq);

-- How far a sender's numbers have been written.
CREATE TABLE lanes (
    project_id      TEXT COLLATE "C" NOT NULL,
    room_id         TEXT COLLATE "C" NOT NULL,
    sender_id       TEXT COLLATE "C" NOT NULL,
    lane_id         TEXT COLLATE "C" NOT NULL,
    last_client_seq BIGINT NOT NULL,
    missing         JSONB,  -- ranges up to last_client_seq that have not come: [[first, last], ...]
    skipped         JSONB,  -- ranges beyond last_client_seq + 1 that will not come
    updated_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (project_id, room_id, sender_id, lane_id)
) WITH (fillfactor = 80);  -- a row moves with each message: its next version stays beside it

CREATE TABLE pins (
    project_id TEXT COLLATE "C" NOT NULL,
    room_id    TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    pinned_by  TEXT COLLATE "C" NOT NULL,
    pinned_at  TIMESTAMPTZ NOT NULL,
    position   BIGINT NOT NULL,  -- of the event that pinned it: the order of pins
    PRIMARY KEY (project_id, room_id, seq)
);

CREATE TABLE bans (
    project_id TEXT COLLATE "C" NOT NULL,
    room_id    TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    banned_by  TEXT COLLATE "C" NOT NULL,
    banned_at  TIMESTAMPTZ NOT NULL,
    reason     TEXT NOT NULL,
    expires_at TIMESTAMPTZ,
    PRIMARY KEY (project_id, room_id, user_id)
);

-- What still holds of users who left, should they come back: a mute, the wait of slow mode.
CREATE TABLE restraints (
    project_id   TEXT COLLATE "C" NOT NULL,
    room_id      TEXT COLLATE "C" NOT NULL,
    user_id      TEXT COLLATE "C" NOT NULL,
    muted_until  TIMESTAMPTZ,
    last_sent_at TIMESTAMPTZ,
    ends_at      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (project_id, room_id, user_id)
);

CREATE INDEX restraints_by_end ON restraints (ends_at);

CREATE TABLE blocks (
    project_id TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,  -- who blocks
    blocked_id TEXT COLLATE "C" NOT NULL,
    blocked_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (project_id, user_id, blocked_id)
);

CREATE TABLE reports (
    project_id  TEXT COLLATE "C" NOT NULL,
    report_id   UUID NOT NULL,
    room_id     TEXT COLLATE "C" NOT NULL,
    seq         BIGINT NOT NULL,
    reporter_id TEXT COLLATE "C" NOT NULL,
    category    SMALLINT NOT NULL,
    comment     TEXT NOT NULL,
    message     JSONB NOT NULL,  -- as it was when it was reported
    reported_at TIMESTAMPTZ NOT NULL,
    resolved_by TEXT COLLATE "C",
    resolved_at TIMESTAMPTZ,
    resolution  TEXT,
    PRIMARY KEY (project_id, report_id)
);

CREATE UNIQUE INDEX reports_open_by_message ON reports (project_id, room_id, seq, reporter_id) WHERE resolved_at IS NULL;
CREATE INDEX reports_open_by_reporter ON reports (project_id, reporter_id) WHERE resolved_at IS NULL;
CREATE INDEX reports_open ON reports (project_id, report_id) WHERE resolved_at IS NULL;

-- Nodes that hold streams. One whose time is over is dead, and so are its devices.
CREATE TABLE presence_nodes (
    node_id    UUID NOT NULL PRIMARY KEY,
    expires_at TIMESTAMPTZ NOT NULL
);

-- The users who have streams, by node.
CREATE TABLE presence_devices (
    project_id TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    node_id    UUID NOT NULL,
    state      SMALLINT NOT NULL,  -- 1 online, 2 away
    PRIMARY KEY (project_id, user_id, node_id)
);

CREATE INDEX presence_devices_by_node ON presence_devices (node_id);

-- What is known of a user over all their devices, as it was told last.
CREATE TABLE presence (
    project_id   TEXT COLLATE "C" NOT NULL,
    user_id      TEXT COLLATE "C" NOT NULL,
    state        SMALLINT NOT NULL,  -- 1 online, 2 away, 3 offline
    version      BIGINT NOT NULL,
    status_text  TEXT NOT NULL DEFAULT '',
    last_seen_at TIMESTAMPTZ,
    changed_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (project_id, user_id)
);

-- How far each room's messages are in the search index.
CREATE TABLE search_rooms (
    project_id  TEXT COLLATE "C" NOT NULL,
    room_id     TEXT COLLATE "C" NOT NULL,
    indexed_seq BIGINT NOT NULL,
    newest_at   TIMESTAMPTZ NOT NULL,  -- nothing in the index was sent later
    PRIMARY KEY (project_id, room_id)
);
-- Its row is locked and moved again and again: in place.
ALTER TABLE search_rooms SET (fillfactor = 50);

-- What messages can be found by. `terms` has their words, and one term each for room and sender: so one index answers all.
-- A message's time never changes, so the key is as unique as without it, and has each room's messages in the order of results.
CREATE TABLE search_messages (
    project_id TEXT COLLATE "C" NOT NULL,
    room_id    TEXT COLLATE "C" NOT NULL,
    sent_at    TIMESTAMPTZ NOT NULL,
    seq        BIGINT NOT NULL,
    sender_id  TEXT COLLATE "C" NOT NULL,
    terms      TSVECTOR NOT NULL,
    PRIMARY KEY (project_id, room_id, sent_at, seq)
);

-- What is new waits in a list that every search reads: it is kept short.
CREATE INDEX search_messages_by_term ON search_messages USING GIN (terms) WITH (gin_pending_list_limit = 256);
