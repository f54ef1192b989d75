// A server of the page and of made-up answers, for looking at the page without a coordinator:
//   node mock.mjs [live|many|over|hostile|blank|unreachable] [port]

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { drawn } from './drawn.mjs';
import { blank, hostile } from './odd.mjs';
import { live, many, over, pictured } from './scenarios.mjs';

const ASSETS = new URL('../../coordinator/src/page/assets/', import.meta.url);
// Not at the root, so that an address that is not relative is found out.
const PREFIX = '/runs/demo/';
const POLICY = "default-src 'self'; img-src 'self' data:";
const TYPES = { html: 'text/html; charset=utf-8', css: 'text/css', js: 'text/javascript' };
/** From a scenario's name to what makes the answers: a function from the name below api/ to the JSON. */
const SCENARIOS = { live, many, over, hostile, blank, unreachable: live };
const JSON_NAMES = new Set(['run', 'series', 'events', 'generations', 'quarantine', 'evaluation']);

/** What is at a path: [status, type, body]. */
async function answer(path, scenario) {
  if (!path.startsWith(PREFIX)) return [404, 'text/plain', 'outside of the prefix'];
  const inside = path.slice(PREFIX.length);
  if (inside.startsWith('api/')) return told(inside.slice('api/'.length), scenario);
  const file = inside === '' ? 'index.html' : inside;
  const type = TYPES[file.split('.').at(-1)];
  if (!type || !/^[a-z-]+\.[a-z]+$/.test(file)) return [404, 'text/plain', 'no such file'];
  try {
    return [200, type, await readFile(new URL(file, ASSETS))];
  } catch {
    return [404, 'text/plain', 'no such file'];
  }
}

/** An answer below api/. */
function told(name, scenario) {
  if (JSON_NAMES.has(name)) return [200, 'application/json', JSON.stringify(scenario(name))];
  const picture = pictured(name);
  if (picture === null) return [404, 'text/plain', 'no such row'];
  if (picture === 'bytes') return [200, 'application/octet-stream', Buffer.from('<!DOCTYPE html>no picture')];
  return [200, 'image/png', drawn(...picture.split(' ').slice(1))];
}

/** Starts a server; `down` breaks every connection until `up`, `asked` lists the paths asked for. */
export async function start(name, port = 0) {
  const scenario = SCENARIOS[name]();
  const asked = [];
  let isDown = false;
  const server = createServer(async (request, response) => {
    if (isDown) return request.socket.destroy();
    const path = new URL(request.url, 'http://localhost').pathname;
    asked.push(path);
    const [status, type, body] = await answer(path, scenario);
    const headers = {
      'Content-Type': type,
      'Content-Security-Policy': POLICY,
      'X-Content-Type-Options': 'nosniff',
    };
    response.writeHead(status, { ...headers, 'Cache-Control': 'no-store' });
    response.end(body);
    return undefined;
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}${PREFIX}`,
    asked,
    down: () => {
      isDown = true;
      server.closeAllConnections();
    },
    up: () => {
      isDown = false;
    },
    close: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [name = 'live', port = '8300'] = process.argv.slice(2);
  const server = await start(name, Number(port));
  process.stdout.write(`${name}: ${server.url}\n`);
  if (name === 'unreachable') setTimeout(server.down, 10e3);
}
