// Small pictures for the mock: PNG files of coloured shapes, made without any library.

import { deflateSync } from 'node:zlib';

const SIZE = 48;
export const COLOURS = {
  red: [208, 58, 52],
  green: [62, 148, 78],
  blue: [54, 100, 196],
  yellow: [226, 178, 44],
};
export const SHAPES = {
  circle: (x, y) => Math.hypot(x, y) < 0.7,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.6,
  triangle: (x, y) => y > -0.6 && y < 0.6 && Math.abs(x) < (y + 0.6) * 0.6,
  ring: (x, y) => Math.abs(Math.hypot(x, y) - 0.55) < 0.16,
};

/** The cyclic redundancy code that ends a chunk of a PNG. */
function checksum(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}

/** A chunk of a PNG: length, name and content, checksum. */
function chunk(name, content) {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), content]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(content.length, 0);
  ends.writeUInt32BE(checksum(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** The file of a shape in a colour. */
export function drawn(colour, shape) {
  const rows = Buffer.alloc(SIZE * (1 + SIZE * 3), 244);
  for (let row = 0; row < SIZE; row += 1) {
    const start = row * (1 + SIZE * 3);
    rows[start] = 0;
    for (let column = 0; column < SIZE; column += 1) {
      const [x, y] = [(column / SIZE) * 2 - 1, (row / SIZE) * 2 - 1];
      if (SHAPES[shape](x, y)) rows.set(COLOURS[colour], start + 1 + column * 3);
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(SIZE, 0);
  head.writeUInt32BE(SIZE, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([
    signature,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}
