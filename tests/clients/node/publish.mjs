// Publishes one message once, however often it has to be sent. Nothing beside Node (18 or newer).
//
//   node publish.mjs URL TOPIC ID PAYLOAD

import { setTimeout as sleep } from "node:timers/promises";

const GIVE_UP_AFTER_MS = 9 * 60_000; // for dedup.window (10 min) the gateway knows an id again
const LONGEST_PAUSE_MS = 10_000;
const AGAIN = new Set([undefined, 408, 500, 502, 503]); // undefined: no answer
const HELD = new Set(["dead-lettered", "discarded"]);

async function publish(url, topic, id, payload) {
  const target = `${url}/v1/topics/${topic.split("/").map(encodeURIComponent).join("/")}`;
  const headers = { "Idempotency-Key": id, "Content-Type": "application/json" };
  const end = Date.now() + GIVE_UP_AFTER_MS;
  for (let pause = 100; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const { status, answer, retryAfterMs } = await attempt(target, headers, payload);
    const kind = answer.type?.split(":").at(-1);
    if (status === 200 || status === 202 || kind === "outcome-pending") {
      return answer; // "duplicate": an earlier attempt had come through
    }
    if (HELD.has(kind)) throw new Error(`held, not sent again: ${answer.detail}`);
    if (!AGAIN.has(status)) throw new Error(`refused for good, ${status} ${kind}: ${answer.detail}`);
    const wait = retryAfterMs + Math.random() * pause;
    if (Date.now() + wait > end) throw new Error("given up; whether it is stored is unknown");
    console.error(`${status ?? "no answer"} ${kind ?? ""}: again in ${Math.round(wait)} ms`);
    await sleep(wait);
  }
}

async function attempt(target, headers, body) {
  try {
    const signal = AbortSignal.timeout(60_000);
    const response = await fetch(target, { method: "POST", headers, body, signal });
    const isJson = /json/.test(response.headers.get("content-type"));
    const answer = isJson ? await response.json() : {};
    const retryAfterMs = 1000 * Number(response.headers.get("retry-after") ?? 0);
    return { status: response.status, answer, retryAfterMs };
  } catch {
    return { answer: {}, retryAfterMs: 0 }; // not connected, cut off, timed out
  }
}

const [url, topic, id, payload] = process.argv.slice(2);
try {
  console.log(JSON.stringify(await publish(url, topic, id, payload)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
