-- What a device keeps of one user: messages that are still to be sent, and what it has seen.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- How far this device has numbered its messages in each room. A lane that went wrong is followed by another generation.
CREATE TABLE IF NOT EXISTS lanes (
    room_id     TEXT NOT NULL PRIMARY KEY,
    generation  INTEGER NOT NULL,
    last_number INTEGER NOT NULL
) STRICT;

-- Messages that are not acknowledged. Those that are not parked are sent by number, each when the one before is.
CREATE TABLE IF NOT EXISTS outbox (
    client_message_id TEXT NOT NULL PRIMARY KEY,
    room_id           TEXT NOT NULL,
    generation        INTEGER NOT NULL,
    number            INTEGER NOT NULL,
    parked            INTEGER NOT NULL DEFAULT 0,
    open              INTEGER NOT NULL DEFAULT 0,  -- whether it may be written already
    request           BLOB NOT NULL,               -- a SendMessageRequest without its lane
    reason            INTEGER,                     -- of the last failure
    error             TEXT                         -- of the last failure
) STRICT;

CREATE INDEX IF NOT EXISTS outbox_by_room ON outbox (room_id, parked, number);

-- The newest messages that this device has sent to a room with none of others between: those after `after`, up to `last`.
CREATE TABLE IF NOT EXISTS own_runs (
    room_id TEXT NOT NULL PRIMARY KEY,
    after   INTEGER NOT NULL,
    last    INTEGER NOT NULL
) STRICT;

-- Numbers that the server is still to be told are skipped.
CREATE TABLE IF NOT EXISTS skips (
    room_id    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    PRIMARY KEY (room_id, generation, number)
) STRICT;

-- What the events before have been stored up to.
CREATE TABLE IF NOT EXISTS positions (
    room_id  TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS messages (
    room_id TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    as_of   INTEGER NOT NULL,            -- the position that the message is as new as
    stale   INTEGER NOT NULL DEFAULT 0,  -- whether changes of it may have been missed
    message BLOB NOT NULL,
    PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS rooms (
    room_id       TEXT NOT NULL PRIMARY KEY,
    last_activity INTEGER NOT NULL,  -- nanoseconds since the epoch
    summary       BLOB NOT NULL      -- a RoomSummary
) STRICT;

CREATE TABLE IF NOT EXISTS memberships (
    room_id TEXT NOT NULL PRIMARY KEY,
    state   BLOB NOT NULL  -- a MembershipState
) STRICT;

CREATE TABLE IF NOT EXISTS blocked (
    user_id TEXT NOT NULL PRIMARY KEY
) STRICT;
