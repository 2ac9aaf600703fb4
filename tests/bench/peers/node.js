// Socket.IO on Node: answers what it is sent, and checks nothing.
"use strict";

const { once } = require("node:events");
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

// Emits items in a loop, and waits where a window of them has not been written yet.
async function emitAll(socket, { count, window }, item) {
  const { conn } = socket;
  for (let n = 0; n < count; n += 1) {
    if (conn.writeBuffer.length >= window) await once(conn, "drain");
    socket.emit("item", item(n));
  }
}

io.on("connection", (socket) => {
  socket.on("event", (envelope, acknowledge) => {
    acknowledge({ data: envelope.data });
  });
  socket.on("broadcast", (data, acknowledge) => {
    io.emit("message", data);
    acknowledge({ data: null });
  });
  socket.on("items", async (data, acknowledge) => {
    await emitAll(socket, data, (n) => ({ n, text: data.text }));
    acknowledge({ data: null });
  });
  socket.on("give", async (data, acknowledge) => {
    const blocks = [0, 1, 2, 3].map((fill) => Buffer.alloc(data.size, fill));
    await emitAll(socket, data, (n) => blocks[n % blocks.length]);
    acknowledge({ data: null });
  });
  socket.on("take", (block, acknowledge) => {
    acknowledge({ data: block.length });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
