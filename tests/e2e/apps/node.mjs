// A tenant on Node, without packages. Environment: PORT, HOST, CONTENT (a file), NAME (said in the page).
//
// /seen tells what reached it; /content is the file, with its length or chunked (?chunked); /events are said by /say.
// The other paths do on purpose what applications do by nature: refuse early, hang, die, close a kept connection.

import { createHash } from "node:crypto";
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { WebSocketEnd } from "./websocket.mjs";

const listeners = new Set(); // open /events
const ends = []; // when an answer that hung was closed by the other side, in ms since the epoch
const arrivals = {}; // how often a request came, by its ?id
const waiting = []; // answers of /poison that wait for the others
const poisoned = new WeakSet(); // connections on which the next request is met by silence and the end

const page = () => readFileSync(new URL("page.html", import.meta.url));

function seen(request, response) {
  const digest = createHash("sha256");
  let length = 0;
  request.on("data", (piece) => {
    digest.update(piece);
    length += piece.length;
  });
  request.on("end", () => {
    const raw = request.rawHeaders;
    const headers = raw.filter((_, at) => at % 2 === 0).map((name, at) => [name, raw[2 * at + 1]]);
    const { method, url: target, rawTrailers: trailers, httpVersion: version } = request;
    const peer = request.socket.remotePort;
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ method, target, version, headers, trailers, length, sha256: digest.digest("hex"), peer }));
  });
}

function content(request, response, query) {
  const head = { "Content-Type": "application/octet-stream" };
  if (!query.has("chunked")) head["Content-Length"] = statSync(process.env.CONTENT).size;
  response.writeHead(200, head);
  createReadStream(process.env.CONTENT).pipe(response);
}

function events(request, response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  response.write("data: first\n\n");
  listeners.add(response);
  response.on("close", () => listeners.delete(response));
}

function say(request, response, query) {
  for (const listener of listeners) listener.write(`data: ${query.get("text")}\n\n`);
  response.end(String(listeners.size));
}

function trailers(request, response) {
  response.writeHead(200, { Trailer: "X-Checksum", "Content-Type": "text/plain" });
  response.write("counted");
  response.addTrailers({ "X-Checksum": "7" });
  response.end();
}

function cased(request, response) {
  const fields = ["X-zeta", "1", "sERVER", "mine", "Set-Cookie", "a=1; Path=/", "x-Alpha", "two  blanks", "set-cookie", "b=2; Path=/"];
  response.sendDate = false;
  response.writeHead(200, "Quite Fine", [...fields, "Content-Length", "2"]);
  response.end("ok");
}

function redirect(request, response, query) {
  request.resume();
  response.writeHead(Number(query.get("status")), { Location: query.get("to") });
  response.end();
}

// One answer that begins and does not end, until the other side closes.
function hang(request, response) {
  response.writeHead(200, { "Content-Type": "text/plain" });
  response.write("begun");
  response.on("close", () => ends.push(Date.now()));
}

// Half of an answer; the test ends this process in the middle of it.
function half(request, response, query) {
  response.writeHead(200, query.has("chunked") ? {} : { "Content-Length": 1000 });
  response.write("x".repeat(500));
}

// Before anything of the body is read.
function early(request, response) {
  response.writeHead(413, { "Content-Length": 8, Connection: "close" });
  response.end("too big\n");
}

// Answered when as many have come as ?together says, so that each has a connection of its own.
function poison(request, response, query) {
  poisoned.add(request.socket);
  waiting.push(response);
  if (waiting.length < Number(query.get("together") ?? 1)) return;
  for (const one of waiting.splice(0)) one.end("the next one on this connection gets nothing");
}

function answer(text) {
  return (request, response) => response.end(typeof text === "function" ? JSON.stringify(text()) : text);
}

const paths = {
  "/": (request, response) => response.writeHead(200, { "Content-Type": "text/html" }).end(page()),
  "/seen": seen,
  "/content": content,
  "/events": events,
  "/say": say,
  "/trailers": trailers,
  "/cased": cased,
  "/redirect": redirect,
  "/hang": hang,
  "/half": half,
  "/early": early,
  "/poison": poison,
  "/name": answer(process.env.NAME),
  "/ends": answer(() => ends),
  "/arrivals": answer(() => arrivals),
};

function handle(request, response) {
  const [path, search] = request.url.split("?");
  const query = new URLSearchParams(search);
  const id = query.get("id");
  if (id) arrivals[id] = (arrivals[id] ?? 0) + 1;
  if (poisoned.has(request.socket)) return request.socket.destroy();
  return (paths[path] ?? seen)(request, response, query);
}

const server = createServer({ keepAliveTimeout: 600_000 }, handle);

// `Expect: 100-continue` (RFC 9110 section 10.1.1): refused where the path says so, else gone on with.
server.on("checkContinue", (request, response) => {
  const refused = /^\/expect\/(\d+)/.exec(request.url);
  if (refused) {
    arrivals.expect = (arrivals.expect ?? 0) + 1;
    return response.writeHead(Number(refused[1]), { "Content-Length": 3 }).end("no\n");
  }
  response.writeContinue();
  return handle(request, response);
});

// Counts what it hears until the other side has said all, and only then answers.
function counted(socket, head) {
  let length = head.length;
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: count\r\nConnection: Upgrade\r\n\r\n");
  socket.on("data", (piece) => (length += piece.length));
  socket.on("end", () => socket.end(`${length} bytes`));
}

server.on("upgrade", (request, socket, head) => {
  socket.on("error", () => socket.destroy());
  if (request.headers.upgrade === "count") return counted(socket, head);
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  const end = new WebSocketEnd(request, socket, head, offered.at(-1), (payload, isText) => {
    const order = isText ? /^close (\d+) (.*)$/.exec(payload.toString()) : null;
    if (!order) return end.say(payload, isText);
    const code = Buffer.alloc(2);
    code.writeUInt16BE(Number(order[1]));
    return end.send(8, Buffer.concat([code, Buffer.from(order[2])]));
  });
});

server.listen(Number(process.env.PORT), process.env.HOST ?? "127.0.0.1");
