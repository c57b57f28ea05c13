/**
 * A simulated camera: a photo that moves, zooms and tilts.
 * sample.jpg shows the astronaut Eileen Collins; NASA, public domain.
 */

const SIZE = { width: 640, height: 480 };
const FACE = { x: 223, y: 118 }; // its centre, in pixels of the photo
const FRAMES_PER_S = 30;

/** URL of the sample photo. */
export const samplePhoto = () => new URL("sample.jpg", import.meta.url);

/** @returns {Promise<MediaStream>} 640×480, until its track is stopped */
export async function openDemoCamera() {
  const photo = new Image();
  photo.src = samplePhoto();
  await photo.decode();
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  const ink = canvas.getContext("2d");
  const room = drawRoom(photo);
  const startedAt = performance.now();
  const draw = () => drawMoment(ink, photo, room, (performance.now() - startedAt) / 1000);
  draw();
  const stream = canvas.captureStream(FRAMES_PER_S);
  const [track] = stream.getVideoTracks();
  const timer = setInterval(() => (track.readyState === "ended" ? clearInterval(timer) : draw()), 1000 / FRAMES_PER_S);
  return stream;
}

/** A blurred copy of the photo, as the background beyond its borders. */
function drawRoom(photo) {
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  const ink = canvas.getContext("2d");
  ink.filter = "blur(24px) brightness(0.7)";
  ink.drawImage(photo, -60, -140, 760, 760);
  return canvas;
}

function drawMoment(ink, photo, room, time) {
  const wave = (period) => Math.sin((2 * Math.PI * time) / period);
  ink.setTransform(1, 0, 0, 1, 0, 0);
  ink.drawImage(room, 0, 0);
  ink.translate(SIZE.width / 2 + 80 * wave(9), SIZE.height / 2 - 10 + 20 * wave(5));
  ink.rotate(0.25 * wave(7));
  const scale = 1.25 + 0.2 * wave(11);
  ink.scale(scale, scale);
  ink.drawImage(photo, -FACE.x, -FACE.y);
}
