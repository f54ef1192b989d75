// Debian's Chromium with the page in it, and everything watched that must not happen.

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

/** Starts the browser. */
export const launch = () => chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });

/** A stored row need not be a picture, and the browser tells of each that has none. */
const isMissingPicture = (message) => /\/api\/rows\/\d+\/image/.test(message.location().url);

/**
 * Opens the page at `url`. `errors` of the result lists what the console and the page complain of,
 * `strangers` the requests to another origin, `requests` all of them.
 */
export async function open(browser, url, options = {}) {
  const { width = 1440, height = 900, scheme = 'light' } = options;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  const [errors, strangers, requests] = [[], [], []];
  page.on('console', (message) => {
    const isBad = message.type() === 'error' || message.type() === 'warning';
    if (isBad && !isMissingPicture(message)) errors.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => errors.push(error.stack ?? String(error)));
  page.on('request', (request) => {
    const { protocol, origin, pathname } = new URL(request.url());
    if (!protocol.startsWith('http')) return;
    requests.push(pathname);
    if (origin !== new URL(url).origin) strangers.push(request.url());
  });
  await page.goto(url);
  return { page, errors, strangers, requests, close: () => context.close() };
}

/** Waits until the page shows what the coordinator tells. */
export async function filled(page) {
  await page.waitForFunction(() => document.querySelectorAll('#facts dd').length === 8, null, {
    timeout: 20e3,
  });
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
  await page.waitForTimeout(800);
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}

/** How many of the canvases have something painted on them: [painted, visible]. */
export const painted = (page) =>
  page.evaluate(() => {
    const seen = [...document.querySelectorAll('canvas')].filter((canvas) => canvas.checkVisibility());
    const full = seen.filter((canvas) => {
      if (canvas.width === 0 || canvas.height === 0) return false;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value) => value !== 0);
    });
    return [full.length, seen.length];
  });
