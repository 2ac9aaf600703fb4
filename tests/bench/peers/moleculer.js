// moleculer-io: one action that answers what it is sent, called through the gateway.
"use strict";

const { ServiceBroker } = require("moleculer");
const gateway = require("moleculer-io");

const broker = new ServiceBroker({ logger: false });

broker.createService({
  name: "bench",
  actions: {
    echo(context) {
      return context.params;
    },
  },
});
broker.createService({
  name: "io",
  mixins: [gateway],
  settings: { port: Number(process.argv[2]), ip: "127.0.0.1", io: { options: { transports: ["websocket"] } } },
});

broker.start();
