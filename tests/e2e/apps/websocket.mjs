// The server's end of a WebSocket (RFC 6455) in plain Node: as much of it as an echo needs, fragments included.

import { createHash } from "node:crypto";

const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

export class WebSocketEnd {
  // `onMessage(payload, isText)` gets whole messages; `protocol` is the subprotocol chosen, or "".
  constructor(request, socket, head, protocol, onMessage) {
    const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n` +
        (protocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n\r\n` : "\r\n"),
    );
    Object.assign(this, { socket, onMessage, bytes: head, parts: [], opcode: 0 });
    socket.setNoDelay(true);
    socket.on("data", (piece) => this.read(piece));
    socket.on("end", () => socket.end());
    socket.on("error", () => socket.destroy());
    this.read(Buffer.alloc(0));
  }

  read(piece) {
    this.bytes = Buffer.concat([this.bytes, piece]);
    while (this.frame());
  }

  // Take one frame off the bytes (section 5.2); false when it is not all there.
  frame() {
    const bytes = this.bytes;
    if (bytes.length < 2) return false;
    const wide = { 126: 2, 127: 8 }[bytes[1] & 127] ?? 0;
    const start = 2 + wide + 4;
    if (bytes.length < start) return false;
    const length = wide === 2 ? bytes.readUInt16BE(2) : wide === 8 ? Number(bytes.readBigUInt64BE(2)) : bytes[1] & 127;
    if (bytes.length < start + length) return false;
    const payload = Buffer.from(bytes.subarray(start, start + length));
    for (let at = 0; at < length; at++) payload[at] ^= bytes[start - 4 + (at & 3)];
    this.bytes = bytes.subarray(start + length);
    this.handle(bytes[0] & 15, (bytes[0] & 128) !== 0, payload);
    return true;
  }

  handle(opcode, last, payload) {
    if (opcode === PING) return this.send(PONG, payload);
    if (opcode === CLOSE) return this.close(payload);
    if (opcode > BINARY) return undefined;
    this.opcode = opcode || this.opcode;
    this.parts.push(payload);
    if (!last) return undefined;
    const whole = Buffer.concat(this.parts);
    this.parts = [];
    return this.onMessage(whole, this.opcode === TEXT);
  }

  send(opcode, payload) {
    const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65536 ? 4 : 10);
    head[0] = 128 | opcode;
    head[1] = head.length === 2 ? payload.length : head.length === 4 ? 126 : 127;
    if (head.length === 4) head.writeUInt16BE(payload.length, 2);
    if (head.length === 10) head.writeBigUInt64BE(BigInt(payload.length), 2);
    this.socket.write(Buffer.concat([head, payload]));
  }

  say(payload, isText) {
    this.send(isText ? TEXT : BINARY, payload);
  }

  close(payload) {
    this.send(CLOSE, payload);
    this.socket.end();
  }
}
