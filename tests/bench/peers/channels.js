// Socket.IO on Node with its Redis adapter: publishes to a room what it is sent, on all servers, and checks nothing.
"use strict";

const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

function serve(publishing, subscribing) {
  const http = createServer();
  const adapter = createAdapter(publishing, subscribing);
  const io = new Server(http, { transports: ["websocket"], serveClient: false, adapter });
  io.on("connection", (socket) => {
    socket.on("event", async ({ event, data }, acknowledge) => {
      const { channel } = data;
      if (event === "api.channels.subscribe") await socket.join(channel);
      else io.to(channel).emit("channel", { channel, data: data.data });
      acknowledge({ data: null });
    });
  });
  http.listen(Number(process.argv[2]), "127.0.0.1");
}

const publishing = createClient({ url: process.env.REDIS_URL });
const subscribing = publishing.duplicate();
Promise.all([publishing.connect(), subscribing.connect()]).then(() => serve(publishing, subscribing));
