/**
 * Web worker that shrinks and encodes frames and sends them to the server, one at a time.
 * Receives `{settings}`, `{rest}`, `{wake}` and `{frame, time, width, height}`; posts `{state}` and `{answer}`.
 */

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 5000;
const PATIENCE_MS = 8000; // time for one frame after which the server counts as unreachable
const QUALITY = 0.8;
const IDLE_CODE = 1001; // the server closes connections on which nothing is sent for a while

let socket = null;
let address = "";
let settings = "{}";
let pause = FIRST_PAUSE_MS;
let canvas = null;
let isClosed = false;
let watchdog = 0;

function connect() {
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    pause = FIRST_PAUSE_MS;
    socket.send(settings);
    postMessage({ state: "open" });
  };
  socket.onmessage = ({ data }) => {
    clearTimeout(watchdog);
    postMessage({ answer: JSON.parse(data) });
  };
  socket.onclose = ({ code, reason }) => {
    clearTimeout(watchdog);
    if (isClosed) return;
    if (code === IDLE_CODE) return postMessage({ state: "idle" });
    postMessage({ state: "lost", reason: code === 1013 ? reason : "" });
    setTimeout(connect, pause);
    pause = Math.min(pause * 1.7, LONGEST_PAUSE_MS);
  };
}

async function sendFrame({ frame, time, width, height }) {
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d", { alpha: false, willReadFrequently: true }).drawImage(frame, 0, 0, width, height);
  frame.close();
  const picture = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  if (socket?.readyState !== WebSocket.OPEN) return postMessage({ state: "unsent" });
  const bytes = new Uint8Array(8 + picture.size);
  new DataView(bytes.buffer).setFloat64(0, time, true);
  bytes.set(new Uint8Array(await picture.arrayBuffer()), 8);
  socket.send(bytes);
  watchdog = setTimeout(() => socket.close(), PATIENCE_MS);
}

onmessage = ({ data }) => {
  if (data.address) {
    address = data.address;
    settings = data.settings;
    connect();
  } else if (data.settings) {
    settings = data.settings;
    if (socket?.readyState === WebSocket.OPEN) socket.send(settings);
  } else if (data.wake) {
    connect();
  } else if (data.rest) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(data.rest);
  } else if (data.frame) {
    sendFrame(data);
  } else if (data.close) {
    isClosed = true;
    socket?.close();
    close();
  }
};
