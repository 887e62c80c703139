// A chat as people build it on Socket.IO: a message is inserted into Postgres, acknowledged, and broadcast to its room
// through the Redis adapter. One process is one node. It listens on a free port, says which, and ends with its stdin.
//
// Environment: DATABASE_URL, REDIS_URL, CHANNEL_PREFIX (what the adapter's channels begin with).

import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import pg from "pg";
import { createClient } from "redis";
import { Server } from "socket.io";

const INSERT = {
  name: "insert-message",
  text: `INSERT INTO messages (room_id, sender_id, client_message_id, text) VALUES ($1, $2, $3, $4)
         RETURNING seq, created_at`,
};

const { DATABASE_URL, REDIS_URL, CHANNEL_PREFIX } = process.env;
const database = new pg.Pool({ connectionString: DATABASE_URL });
const publisher = createClient({ url: REDIS_URL });
const subscriber = publisher.duplicate();
for (const client of [publisher, subscriber, database]) {
  client.on("error", (error) => fail(error));
}
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber, { key: CHANNEL_PREFIX }),
  transports: ["websocket"],
  perMessageDeflate: false,
  serveClient: false,
});

io.on("connection", (socket) => {
  const user = socket.handshake.auth.user;
  socket.on("join", async (room, done) => {
    await socket.join(room);
    done({ ok: true });
  });
  socket.on("send", async ({ room, id, text }, done) => {
    try {
      const { rows } = await database.query({ ...INSERT, values: [room, user, id, text] });
      const [{ seq, created_at: createdAt }] = rows;
      done({ ok: true, seq, createdAt });
      io.to(room).emit("message", { room, seq, sender: user, id, text, createdAt });
    } catch (error) {
      done({ ok: false, error: error.message });
    }
  });
});

http.listen(0, "127.0.0.1", () => {
  console.log(`socket.io listening on http://127.0.0.1:${http.address().port}`);
});

process.stdin.on("end", () => process.exit(0)).resume();

function fail(error) {
  console.error(error);
  process.exit(1);
}
