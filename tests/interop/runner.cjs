// Runs scenarios with the ordinary Socket.IO client, and prints one line of JSON for each.
//
//     node runner.cjs SCENARIOS.json default|websocket|polling NAME=URL…
//
// What the operations are is told in scenario.py; nothing is compared here.
"use strict";

const { readFileSync } = require("node:fs");
const { io } = require("socket.io-client");

const LIMIT_MS = 20000;
const AT_ONCE = 8;

const toNeutral = (value) => {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { $buffer: Buffer.from(value).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(toNeutral);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toNeutral(item)]));
  }
  return value;
};

const fromNeutral = (value) => {
  if (Array.isArray(value)) return value.map(fromNeutral);
  if (value !== null && typeof value === "object") {
    if (typeof value.$buffer === "string") return Buffer.from(value.$buffer, "base64");
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromNeutral(item)]));
  }
  return value;
};

const within = (promise, what) => {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${LIMIT_MS} ms: ${what}`)), LIMIT_MS);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
};

class Client {
  constructor(socket, answers) {
    this.socket = socket;
    this.events = [];
    this.waiting = [];
    this.acks = new Map();
    this.order = [];
    socket.onAny((event, ...args) => {
      const acknowledge = typeof args.at(-1) === "function" ? args.pop() : null;
      const grants = event === "stream" && args[0]?.credit !== undefined;
      this.events.push({ event: grants ? "credit" : event, args: args.map(toNeutral) });
      this.serve();
      if (acknowledge && answers[event]) acknowledge(...answers[event].map(fromNeutral));
    });
  }

  serve() {
    this.waiting = this.waiting.filter(({ event, resolve }) => {
      const index = this.events.findIndex((one) => one.event === event);
      if (index >= 0) resolve(this.events.splice(index, 1)[0].args);
      return index < 0;
    });
  }

  emitWithAck(event, args, label) {
    return new Promise((resolve) => {
      this.socket.emit(event, ...args.map(fromNeutral), (...reply) => {
        if (label) this.order.push(label);
        resolve(reply.map(toNeutral));
      });
    });
  }

  take(step) {
    switch (step.op) {
      case "call":
        return this.emitWithAck(step.event, step.args);
      case "start":
        this.acks.set(step.label, this.emitWithAck(step.event, step.args, step.label));
        return null;
      case "ack":
        return this.acks.get(step.label);
      case "emit":
        this.socket.emit(step.event, ...step.args.map(fromNeutral));
        return null;
      case "next":
        return new Promise((resolve) => {
          this.waiting.push({ event: step.event, resolve });
          this.serve();
        });
      case "order":
        return [...this.order];
      default:
        throw new Error(`no such operation: ${step.op}`);
    }
  }
}

const connected = (socket) =>
  new Promise((resolve) => {
    socket.once("connect", () => resolve(null));
    socket.once("connect_error", (error) => resolve({ message: error.message, data: toNeutral(error.data) }));
  });

const upgraded = (engine) =>
  new Promise((resolve) => {
    if (engine.transport.name === "websocket") resolve();
    else engine.once("upgrade", () => resolve());
  });

const run = async (scenario, urls, mode) => {
  const socket = io(urls[scenario.server] + scenario.namespace, {
    forceNew: true,
    reconnection: false,
    ...(scenario.auth ? { auth: scenario.auth } : {}),
    extraHeaders: scenario.headers,
    ...(mode === "default" ? {} : { transports: [mode] }),
  });
  const client = new Client(socket, scenario.answers);
  const report = { name: scenario.name, seen: [] };
  let doing = "connect";
  const gone = new Promise((_, reject) => {
    socket.once("disconnect", (reason) => reject(new Error(`the connection ended: ${reason}`)));
  });
  gone.catch(() => {});
  socket.io.once("open", () => {
    report.began = socket.io.engine.transport.name;
  });
  try {
    const refused = await within(connected(socket), doing);
    if (refused !== null) return { ...report, refused };
    for (const step of scenario.steps) {
      doing = `step ${report.seen.length + 1}, ${JSON.stringify(step).slice(0, 200)}`;
      report.seen.push(await within(Promise.race([client.take(step), gone]), doing));
    }
    doing = "the last call";
    const ping = client.emitWithAck("api.system.ping", []);
    await within(Promise.race([ping, gone]), doing);
    if (mode === "default") {
      doing = "the upgrade to websocket";
      await within(Promise.race([upgraded(socket.io.engine), gone]), doing);
    }
    report.transport = socket.io.engine.transport.name;
    const left = client.events.filter(({ event }) => event !== "credit");
    report.left = left.map(({ event, args }) => [event, ...args]);
  } catch (error) {
    report.failed = `${doing}: ${error.message}; read so far: ${JSON.stringify(report.seen).slice(-500)}`;
  } finally {
    socket.disconnect();
  }
  return report;
};

const main = async ([file, mode, ...servers]) => {
  const urls = Object.fromEntries(servers.map((one) => one.split(/=(.*)/s).slice(0, 2)));
  const scenarios = JSON.parse(readFileSync(file, "utf8"));
  const worker = async () => {
    for (let scenario = scenarios.shift(); scenario; scenario = scenarios.shift()) {
      process.stdout.write(`${JSON.stringify(await run(scenario, urls, mode))}\n`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
};

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
