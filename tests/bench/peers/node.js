// Socket.IO on Node: answers what it is sent, and checks nothing.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  socket.on("event", (envelope, acknowledge) => {
    acknowledge({ data: envelope.data });
  });
  socket.on("broadcast", (data, acknowledge) => {
    io.emit("message", data);
    acknowledge({ data: null });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
