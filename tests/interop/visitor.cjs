// Connects the ordinary Socket.IO client with its default options, calls `reverse` with a Buffer, waits for the upgrade,
// and prints how it went as JSON.
//
//     node visitor.cjs URL [PATH]
"use strict";

const { io } = require("socket.io-client");

const [url, path] = process.argv.slice(2);
const socket = io(url, { reconnection: false, ...(path ? { path } : {}) });

const fail = (error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
};

socket.on("connect_error", fail);
let began;
socket.io.once("open", () => {
  began = socket.io.engine.transport.name;
});
socket.on("connect", async () => {
  const { engine } = socket.io;
  const upgraded = new Promise((resolve) => engine.once("upgrade", resolve));
  const reply = await socket.timeout(20000).emitWithAck("api.services.test.reverse", Buffer.from("abc")).catch(fail);
  if (engine.transport.name === "polling") await upgraded;
  process.stdout.write(JSON.stringify({ began, ended: engine.transport.name, reversed: reply.data.toString() }));
  socket.disconnect();
});
