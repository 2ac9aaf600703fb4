// Socket.IO on Node in several processes on one port: `node workers.js COUNT PORT`. Its cluster module hands each connection to the next.
"use strict";

const cluster = require("node:cluster");
const path = require("node:path");

const [count, port] = process.argv.slice(2);
cluster.setupPrimary({ exec: path.join(__dirname, "node.js"), args: [port] });
for (let n = 0; n < Number(count); n += 1) cluster.fork();
