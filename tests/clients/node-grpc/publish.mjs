// Publishes one message once, however often it has to be sent. Of npm: @grpc/grpc-js, @grpc/proto-loader, protobufjs.
// PROTO is the folder with causeway/v1/gateway.proto.
//
//   PROTO=proto node publish.mjs HOST:PORT TOPIC ID PAYLOAD

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";
import { setTimeout as sleep } from "node:timers/promises";

const GIVE_UP_AFTER_MS = 9 * 60_000; // for dedup.window (10 min) the gateway knows an id again
const LONGEST_PAUSE_MS = 10_000;
const { UNAVAILABLE, UNKNOWN, INTERNAL, CANCELLED, DEADLINE_EXCEEDED } = grpc.status;
// Without a word from the gateway: whether it has the message is unknown.
const IN_DOUBT = new Set([UNAVAILABLE, UNKNOWN, INTERNAL, CANCELLED, DEADLINE_EXCEEDED]);

const options = { includeDirs: [process.env.PROTO], keepCase: true, defaults: true, enums: String };
const { causeway } = grpc.loadPackageDefinition(protoLoader.loadSync("causeway/v1/gateway.proto", options));

async function publish(gateway, message) {
  const end = Date.now() + GIVE_UP_AFTER_MS;
  for (let pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const { receipt, refusal } = await attempt(gateway, message);
    if (!refusal) return receipt; // "duplicate": an earlier attempt had come through
    const { reason, retryAfterMs } = details(refusal);
    if (reason === "OUTCOME_PENDING") return null; // stored: it will be delivered
    if (reason === "DEAD_LETTERED" || reason === "DISCARDED") {
      throw new Error(`held, not sent again: ${refusal.details}`);
    }
    if (retryAfterMs === undefined && !IN_DOUBT.has(refusal.code)) {
      throw new Error(`refused for good: ${refusal.message}`);
    }
    const wait = (retryAfterMs ?? 0) + Math.random() * pause;
    if (Date.now() + wait > end) throw new Error("given up; whether it is stored is unknown");
    console.error(`${refusal.message} ${reason ?? ""}: again in ${Math.round(wait)} ms`);
    await sleep(wait);
  }
}

function attempt(gateway, message) {
  const deadline = Date.now() + 60_000;
  return new Promise((resolve) => {
    gateway.Publish({ message }, { deadline }, (refusal, response) =>
      resolve({ refusal, receipt: response?.receipt }));
  });
}

// What of google.rpc a refusal has for programs: why, and after how long again.
const rpc = protobuf.parse(`syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }`, { keepCase: true }).root;

function details(refusal) {
  const found = {};
  const [status] = refusal.metadata.get("grpc-status-details-bin");
  for (const { type_url, value } of status ? rpc.lookupType("Status").decode(status).details : []) {
    if (type_url.endsWith("/google.rpc.ErrorInfo")) {
      found.reason = rpc.lookupType("ErrorInfo").decode(value).reason;
    } else if (type_url.endsWith("/google.rpc.RetryInfo")) {
      const { seconds, nanos } = rpc.lookupType("RetryInfo").decode(value).retry_delay;
      found.retryAfterMs = 1000 * Number(seconds) + nanos / 1e6;
    }
  }
  return found;
}

const [target, topic, id, payload] = process.argv.slice(2);
const gateway = new causeway.v1.Gateway(target, grpc.credentials.createInsecure());
try {
  const message = { topic, id, content_type: "application/json", payload: Buffer.from(payload) };
  console.log(JSON.stringify(await publish(gateway, message)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  gateway.close();
}
