-- The same schema as for Postgres: receipts, mentions, settings, lanes, moderation, pins, presence, search.

ALTER TABLE rooms ADD COLUMN slow_mode_seconds INTEGER NOT NULL DEFAULT 0;

ALTER TABLE members ADD COLUMN delivered_seq      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN read_seq           INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN quiet_until        INTEGER;  -- their own setting: no notifications until then
ALTER TABLE members ADD COLUMN archived           INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN favourite          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN settings_version   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN muted_until        INTEGER;  -- a moderator's word: they only read until then
ALTER TABLE members ADD COLUMN peer_blocked       INTEGER NOT NULL DEFAULT 0;  -- in a direct room: one of the two has blocked the other
ALTER TABLE members ADD COLUMN last_sent_at       INTEGER;  -- kept in rooms with slow mode
-- Nobody has said what they read so far: all that there is counts as read.
UPDATE members SET delivered_seq = r.last_seq, read_seq = r.last_seq
    FROM rooms r WHERE r.project_id = members.project_id AND r.room_id = members.room_id;

ALTER TABLE messages ADD COLUMN mentions        TEXT;
ALTER TABLE messages ADD COLUMN lane            TEXT;  -- [lane_id, client_seq, missing_before]
ALTER TABLE messages ADD COLUMN deletion_reason TEXT;

-- Who is mentioned where. An empty user_id is the whole room.
CREATE TABLE mentions (
    project_id TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    room_id    TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    PRIMARY KEY (project_id, user_id, room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX mentions_by_message ON mentions (project_id, room_id, seq);

-- How far a sender's numbers have been written.
CREATE TABLE lanes (
    project_id      TEXT NOT NULL,
    room_id         TEXT NOT NULL,
    sender_id       TEXT NOT NULL,
    lane_id         TEXT NOT NULL,
    last_client_seq INTEGER NOT NULL,
    missing         TEXT,  -- ranges up to last_client_seq that have not come: [[first, last], ...]
    skipped         TEXT,  -- ranges beyond last_client_seq + 1 that will not come
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (project_id, room_id, sender_id, lane_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
    project_id TEXT NOT NULL,
    room_id    TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    pinned_by  TEXT NOT NULL,
    pinned_at  INTEGER NOT NULL,
    position   INTEGER NOT NULL,  -- of the event that pinned it: the order of pins
    PRIMARY KEY (project_id, room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE bans (
    project_id TEXT NOT NULL,
    room_id    TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    banned_by  TEXT NOT NULL,
    banned_at  INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (project_id, room_id, user_id)
) STRICT, WITHOUT ROWID;

-- What still holds of users who left, should they come back: a mute, the wait of slow mode.
CREATE TABLE restraints (
    project_id   TEXT NOT NULL,
    room_id      TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    muted_until  INTEGER,
    last_sent_at INTEGER,
    ends_at      INTEGER NOT NULL,
    PRIMARY KEY (project_id, room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX restraints_by_end ON restraints (ends_at);

CREATE TABLE blocks (
    project_id TEXT NOT NULL,
    user_id    TEXT NOT NULL,  -- who blocks
    blocked_id TEXT NOT NULL,
    blocked_at INTEGER NOT NULL,
    PRIMARY KEY (project_id, user_id, blocked_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE reports (
    project_id  TEXT NOT NULL,
    report_id   BLOB NOT NULL,
    room_id     TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    reporter_id TEXT NOT NULL,
    category    INTEGER NOT NULL,
    comment     TEXT NOT NULL,
    message     TEXT NOT NULL,  -- as it was when it was reported
    reported_at INTEGER NOT NULL,
    resolved_by TEXT,
    resolved_at INTEGER,
    resolution  TEXT,
    PRIMARY KEY (project_id, report_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX reports_open_by_message ON reports (project_id, room_id, seq, reporter_id) WHERE resolved_at IS NULL;
CREATE INDEX reports_open_by_reporter ON reports (project_id, reporter_id) WHERE resolved_at IS NULL;
CREATE INDEX reports_open ON reports (project_id, report_id) WHERE resolved_at IS NULL;

-- Nodes that hold streams. One whose time is over is dead, and so are its devices.
CREATE TABLE presence_nodes (
    node_id    BLOB NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The users who have streams, by node.
CREATE TABLE presence_devices (
    project_id TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    node_id    BLOB NOT NULL,
    state      INTEGER NOT NULL,  -- 1 online, 2 away
    PRIMARY KEY (project_id, user_id, node_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX presence_devices_by_node ON presence_devices (node_id);

-- What is known of a user over all their devices, as it was told last.
CREATE TABLE presence (
    project_id   TEXT NOT NULL,
    user_id      TEXT NOT NULL,
    state        INTEGER NOT NULL,  -- 1 online, 2 away, 3 offline
    version      INTEGER NOT NULL,
    status_text  TEXT NOT NULL DEFAULT '',
    last_seen_at INTEGER,
    changed_at   INTEGER NOT NULL,
    PRIMARY KEY (project_id, user_id)
) STRICT, WITHOUT ROWID;

-- How far each room's messages are in the search index.
CREATE TABLE search_rooms (
    project_id  TEXT NOT NULL,
    room_id     TEXT NOT NULL,
    indexed_seq INTEGER NOT NULL,
    newest_at   INTEGER NOT NULL,  -- nothing in the index was sent later
    PRIMARY KEY (project_id, room_id)
) STRICT, WITHOUT ROWID;

-- The messages that can be found, the number of each in the index, and their words in order, parted by spaces.
CREATE TABLE search_messages (
    id         INTEGER NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL,
    room_id    TEXT NOT NULL,
    sent_at    INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    sender_id  TEXT NOT NULL,
    terms      TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX search_messages_by_time ON search_messages (project_id, room_id, sent_at, seq);

-- What they can be found by: their words, and one term each for room and sender. It keeps no text. Words come as they are to
-- be compared: this tokenizer parts them at spaces, and changes nothing.
CREATE VIRTUAL TABLE search_index USING fts5 (terms, content = '', contentless_delete = 1, tokenize = 'ascii');
