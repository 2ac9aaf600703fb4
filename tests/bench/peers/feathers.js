// Feathers over Socket.IO: one service, whose `create` answers what it is sent.
"use strict";

const { feathers } = require("@feathersjs/feathers");
const socketio = require("@feathersjs/socketio");

const app = feathers();
app.configure(socketio({ transports: ["websocket"], serveClient: false }));
app.use("echo", {
  async create(data) {
    return data;
  },
});

app.listen(Number(process.argv[2]), "127.0.0.1");
