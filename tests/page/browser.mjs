// Debian's Chromium with the page in it, and everything watched that must not happen.

import { EventEmitter, once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const SHOTS = process.env.TANDEM_PAGE_SHOTS;
/** What the page asks for when it is opened, below api/. */
const NAMES = ['run', 'series', 'events', 'generations', 'quarantine', 'evaluation'];
/** How long anything is waited for. */
const PATIENCE = 20e3;

/** Starts the browser. */
export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });

/** A stored row need not be a picture, and the browser tells of each that has none. */
const isMissingPicture = (message) => /\/api\/rows\/\d+\/image/.test(message.location().url);

/** What a page asks for and gets: all `requests`, those `pending`, the names below api/ that were `answered`. */
class Traffic extends EventEmitter {
  constructor(page) {
    super();
    Object.assign(this, { requests: [], pending: new Set(), answered: new Set() });
    page.on('request', (request) => {
      if (!request.url().startsWith('http')) return;
      this.requests.push(new URL(request.url()).pathname);
      this.pending.add(request);
    });
    page.on('requestfinished', (request) => {
      this.answered.add(new URL(request.url()).pathname.split('/api/').at(-1));
      this.end(request);
    });
    page.on('requestfailed', (request) => this.end(request));
  }

  end(request) {
    this.pending.delete(request);
    this.emit('ended');
  }

  /** Waits until all first questions have answers and no question is open. */
  async calm() {
    const signal = AbortSignal.timeout(PATIENCE);
    for (;;) {
      const missing = NAMES.filter((name) => !this.answered.has(name));
      if (missing.length === 0 && this.pending.size === 0) return;
      const what = [...missing, ...[...this.pending].map((request) => request.url())].join(', ');
      await once(this, 'ended', { signal }).catch((cause) => {
        throw new Error(`no answer: ${what}`, { cause });
      });
    }
  }
}

/**
 * Opens the page at `url`. `errors` of the result lists what the console and the page complain of,
 * `strangers` the requests to another origin; with `clock` the page's time can be `elapse`d.
 */
export async function open(browser, url, options = {}) {
  const { width = 1440, height = 900, scheme = 'light', clock = false } = options;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  const traffic = new Traffic(page);
  const [errors, strangers] = [[], []];
  page.on('console', (message) => {
    const isBad = message.type() === 'error' || message.type() === 'warning';
    if (isBad && !isMissingPicture(message)) errors.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => errors.push(error.stack ?? String(error)));
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== new URL(url).origin) strangers.push(request.url());
  });
  if (clock) await page.clock.install();
  await page.goto(url);
  return { page, traffic, errors, strangers, close: () => context.close() };
}

/** Waits until ten pictures of the browser in a row show the same document. */
const still = (page) =>
  page.evaluate(async () => {
    let same = 0;
    const watch = new MutationObserver(() => {
      same = 0;
    });
    watch.observe(document, { attributes: true, characterData: true, childList: true, subtree: true });
    for (; same < 10; same += 1) await new Promise((done) => requestAnimationFrame(done));
    watch.disconnect();
  });

/** Waits until the page shows what the coordinator tells: everything was answered, and it stands still. */
export async function settled({ page, traffic }) {
  await page.waitForFunction(() => document.querySelectorAll('#facts dd').length >= 8, null, {
    timeout: PATIENCE,
  });
  await traffic.calm();
  // The generations are read in a worker, which ends when they are handed over.
  await Promise.all(page.workers().map((worker) => worker.waitForEvent('close')));
  await still(page);
}

/** Waits until the page of a run that goes on shows another answer than now. */
export async function nextAnswer(page) {
  const shown = await page.locator('#polling').textContent();
  await page.waitForFunction((text) => document.getElementById('polling').textContent !== text, shown, {
    timeout: PATIENCE,
  });
  await still(page);
}

/**
 * Lets so many seconds pass for a page that was opened with `clock`, one by one: what it asks for is answered
 * in between, as it would give up on answers that take long.
 */
export async function elapse({ page, traffic }, seconds) {
  for (let passed = 0; passed < seconds; passed += 1) {
    await page.clock.runFor(1000);
    await traffic.calm();
  }
}

/** The JSON at `name` as the page's server tells it. */
export async function told(url, name) {
  const response = await fetch(new URL(`api/${name}`, url));
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.json();
}

/** The step in the header. */
export const shownStep = async (page) => {
  const text = await page.locator('#facts dd b').first().textContent();
  return Number(text.replaceAll(',', ''));
};

/** How much wider the content is than the window. */
export const overhang = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Keeps a picture of the whole page if the environment names a folder for them. */
export async function shoot(page, name) {
  if (!SHOTS) return;
  await mkdir(SHOTS, { recursive: true });
  const { width } = page.viewportSize();
  // Drawings and pictures are made when they come into view: all of the page has to be.
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width, height: Math.min(height, 8000) });
  await painted(page);
  await page.waitForFunction(
    () =>
      [...document.images].every((image) => {
        const isSeen = image.checkVisibility() && image.getBoundingClientRect().top < innerHeight;
        return image.complete || !isSeen;
      }),
    null,
    { timeout: PATIENCE },
  );
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

/**
 * How many of the canvases have something painted on them: [painted, visible]. Told when all have, or after
 * 200 pictures of the browser.
 */
export const painted = (page) =>
  page.evaluate(async () => {
    const isPainted = (canvas) => {
      if (canvas.width === 0 || canvas.height === 0) return false;
      // Read from a copy: the browser complains of a canvas that is read often.
      const copy = new OffscreenCanvas(canvas.width, canvas.height);
      const context = copy.getContext('2d', { willReadFrequently: true });
      context.drawImage(canvas, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value !== 0);
    };
    for (let picture = 0; ; picture += 1) {
      await new Promise((done) => requestAnimationFrame(done));
      const seen = [...document.querySelectorAll('canvas')].filter((canvas) => canvas.checkVisibility());
      const full = seen.filter(isPainted).length;
      if (full === seen.length || picture === 200) return [full, seen.length];
    }
  });
