// Goes through the flows with nothing but the ordinary Socket.IO client, all of them at once over one connection, and
// prints one line of JSON for each.
//
//     node streamer.cjs FLOWS.json default|websocket|polling URL
//
// What the fields of a plan and of a report mean is told in flows.py; nothing is compared here.
"use strict";

const { readFileSync } = require("node:fs");
const { gunzipSync } = require("node:zlib");
const { io } = require("socket.io-client");

const LIMIT_MS = 45000;
const DEFAULT_CREDIT = 16;

const isBytes = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

const mapped = (value, convert) => {
  const converted = convert(value);
  if (converted !== undefined) return converted;
  if (Array.isArray(value)) return value.map((item) => mapped(item, convert));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapped(item, convert)]));
};

const toNeutral = (value) =>
  mapped(value, (one) => (isBytes(one) ? { $buffer: Buffer.from(one).toString("base64") } : undefined));

const fromNeutral = (value) =>
  mapped(value, (one) => (typeof one?.$buffer === "string" ? Buffer.from(one.$buffer, "base64") : undefined));

const unpacked = ({ data, encoding }) => {
  if (!encoding) return data;
  let value = data;
  for (const token of encoding.split("+")) {
    if (token === "base64") value = Buffer.from(value, "base64");
    else if (token === "gzip") value = gunzipSync(value);
    else if (token === "bytes") return value;
  }
  return JSON.parse(value.toString());
};

class Stream {
  constructor(socket, id, plan) {
    this.socket = socket;
    this.id = id;
    this.plan = plan;
    this.credit = 0; // items that we may send
    this.window = plan.credit ?? DEFAULT_CREDIT;
    this.owed = this.window; // items that the server may send
    this.taken = 0; // items taken since we last returned credit
    this.rest = plan.sends === null ? null : fromNeutral(plan.sends);
    this.report = { name: plan.name, items: [], ended: null, result: null, progress: [], beyond: 0 };
    this.over = new Promise((resolve) => {
      this.close = (ended, result = null) => {
        if (this.report.ended !== null) this.report.failed ??= `it ended twice: ${this.report.ended}, ${ended}`;
        this.report.ended = ended;
        this.report.result = toNeutral(result);
        resolve(this.report);
      };
    });
  }

  say(frame) {
    this.socket.emit("stream", { id: this.id, ...frame });
  }

  async open() {
    const { event, data, credit, timeout, accept, progress } = this.plan;
    const envelope = { event, id: this.id, data: fromNeutral(data), credit, timeout, accept, progress };
    const reply = await this.socket.emitWithAck("event", envelope);
    if (reply.error) this.close(reply.error.code);
    else if (!reply.stream) this.close("end", unpacked(reply));
    else {
      if (this.plan.cancel_after === 0) this.say({ cancel: true });
      this.credit = reply.credit ?? 0;
      this.send();
    }
    return this.over;
  }

  send() {
    if (this.rest === null || this.report.ended !== null) return;
    while (this.credit > 0 && this.rest.length > 0) {
      this.credit -= 1;
      this.say({ data: this.rest.shift() });
    }
    if (this.rest.length === 0) {
      this.rest = null;
      this.say({ end: true });
    }
  }

  hear(frame) {
    if (this.report.ended !== null) {
      this.report.failed ??= `a frame after the end: ${JSON.stringify(frame).slice(0, 200)}`;
    } else if (frame.error) {
      this.close(frame.error.code);
    } else if (frame.end) {
      this.close("end", unpacked(frame) ?? null);
    } else if (frame.credit) {
      this.credit += frame.credit;
      this.send();
    } else if (frame.progress) {
      this.report.progress.push(frame.progress.done);
    } else {
      this.take(unpacked(frame));
    }
  }

  take(item) {
    const { items } = this.report;
    const { cancel_after: last } = this.plan;
    if (this.owed === 0) this.report.beyond += 1;
    else this.owed -= 1;
    if (last !== null && items.length >= last) return; // on its way when we cancelled
    items.push(toNeutral(item));
    if (items.length === last) {
      this.say({ cancel: true });
      return;
    }
    this.taken += 1;
    if (this.taken * 2 >= this.window) {
      this.owed += this.taken;
      this.say({ credit: this.taken });
      this.taken = 0;
    }
  }
}

const main = async ([file, mode, url]) => {
  const socket = io(url, { reconnection: false, ...(mode === "default" ? {} : { transports: [mode] }) });
  const streams = JSON.parse(readFileSync(file, "utf8")).map((plan, id) => new Stream(socket, id, plan));
  const strays = [];
  socket.on("stream", (frame) => (streams[frame.id] ? streams[frame.id].hear(frame) : strays.push(frame)));
  socket.on("message", (message) => strays.push(message));
  const gone = new Promise((_, reject) => {
    socket.on("disconnect", (reason) => reject(new Error(`the connection ended: ${reason}`)));
    socket.on("connect_error", reject);
    setTimeout(() => reject(new Error(`not over within ${LIMIT_MS} ms`)), LIMIT_MS).unref();
  });
  const began = new Promise((resolve) => socket.io.once("open", () => resolve(socket.io.engine.transport.name)));
  await Promise.race([new Promise((resolve) => socket.on("connect", resolve)), gone]);
  try {
    await Promise.race([Promise.all(streams.map((stream) => stream.open())), gone]);
    await Promise.race([socket.emitWithAck("api.system.ping"), gone]);
  } catch (error) {
    for (const { report } of streams) if (report.ended === null) report.failed = error.message;
  }
  for (const { report } of streams) process.stdout.write(`${JSON.stringify(report)}\n`);
  const transports = [await began, socket.io.engine.transport.name];
  process.stdout.write(`${JSON.stringify({ name: "connection", strays, transports })}\n`);
  gone.catch(() => {});
  socket.disconnect();
};

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
