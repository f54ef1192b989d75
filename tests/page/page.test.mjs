// The coordinator's live page in a real browser. Without TANDEM_PAGE the page is served by mock.mjs, in all
// scenarios; with it, the page at that address is looked at as TANDEM_PAGE_EXPECTS says (live, many or ends: then
// TANDEM_PAGE_STOP is the command that ends its run).
// What no coordinator does on demand, hostile texts and silence, is always the mock's.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import {
  elapse,
  launch,
  nextAnswer,
  open,
  overhang,
  painted,
  settled,
  shoot,
  shownStep,
  told,
} from './browser.mjs';
import { start } from './mock.mjs';

const PAGE = process.env.TANDEM_PAGE;
const EXPECTS = process.env.TANDEM_PAGE_EXPECTS ?? 'live';
const servers = [];
let browser;

before(async () => {
  assert.ok(['live', 'many', 'ends'].includes(EXPECTS), `TANDEM_PAGE_EXPECTS is ${EXPECTS}`);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await Promise.all(servers.map((server) => server.close()));
});

/** A mock that ends with the tests. */
async function mocked(scenario) {
  const server = await start(scenario);
  servers.push(server);
  return server;
}

/** The address of the page in a scenario: the given one, or a mock's. */
const addressOf = async (scenario) => (PAGE ? new URL(PAGE).href : (await mocked(scenario)).url);

/** Options of a test that a given page takes part in only if it is in that scenario. */
const only = (scenario) => ({ skip: PAGE !== undefined && EXPECTS !== scenario, timeout: 120e3 });

/** Nothing was complained of, and nobody else was asked. */
function assertClean({ errors, strangers }) {
  assert.deepEqual(errors, []);
  assert.deepEqual(strangers, []);
}

/** Every section shows what the JSON tells; of a run that goes on, perhaps only after the next answer. */
async function assertSections(page, url) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await assertSectionsNow(page, url);
    } catch (error) {
      const { exit_code: code } = await told(url, 'run');
      if (tries === 3 || code !== null) throw error;
    }
    await nextAnswer(page);
  }
}

/** Every section shows what the JSON tells, or says that there is nothing. */
async function assertSectionsNow(page, url) {
  const text = (selector) => page.locator(selector).first().innerText();
  const [run, series, events, generations, quarantine, evaluation] = await Promise.all(
    ['run', 'series', 'events', 'generations', 'quarantine', 'evaluation'].map((name) => told(url, name)),
  );
  assert.equal(await text('#name'), run.run);
  assert.equal(await text('#state'), run.state);
  const isScaled = (await text('#facts')).includes('Learning rate');
  assert.equal(isScaled, isFinite(run.learning_rate_scale) && run.learning_rate_scale !== 1);
  const names = Object.keys(series.values);
  assert.equal(await page.locator('#curves-choice input').count(), names.length);
  if (names.length > 0) assert.ok((await page.locator('#curves-body figure').count()) > 0);
  else assert.match(await text('#curves'), /No step has been reported yet/);
  const rows = await page.locator('#workers-body .workers tbody tr').count();
  assert.equal(rows, Math.min(20, run.members.length));
  if (generations.length > 0) assert.match(await text('#generations-note'), /\d generations? so far/);
  assert.ok((await page.locator('#events-body tbody tr').count()) >= Math.min(15, events.length));
  if (run.committed_checkpoint > 0) assert.match(await text('#checkpoints'), /The newest is of step \d/);
  const cards = await page.locator('#quarantine-body .card').count();
  assert.equal(cards, Math.min(12, new Set(quarantine.map(({ step, row }) => `${step} ${row}`)).size));
  if (evaluation === null) assert.match(await text('#evaluation'), /No evaluation has been made yet/);
  else {
    const share = evaluation.recall.text_to_image['1'];
    assert.match(await text('#evaluation .recall'), new RegExp(`${(share * 100).toFixed(1)}`));
    const isDrawn = typeof evaluation.grid === 'string';
    assert.equal(await page.locator('#evaluation .grid img').count(), isDrawn ? 1 : 0);
  }
}

/** The page can be read on a phone and in the dark. */
async function assertLooks(url, name) {
  for (const [width, scheme] of [
    [360, 'light'],
    [360, 'dark'],
    [768, 'light'],
    [1440, 'light'],
    [1920, 'dark'],
  ]) {
    const opened = await open(browser, url, { width, scheme });
    await settled(opened);
    assert.ok((await overhang(opened.page)) <= 0, `the page is wider than ${width} pixels`);
    const ground = await opened.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const [red] = ground.match(/\d+/g).map(Number);
    assert.equal(red > 128, scheme === 'light', `${scheme} has the ground ${ground}`);
    await shoot(opened.page, `${name}-${width}-${scheme}`);
    assertClean(opened);
    await opened.close();
  }
}

test('a run that trains is shown, and goes on', only('live'), async () => {
  const url = await addressOf('live');
  const opened = await open(browser, url);
  const { page } = opened;
  await settled(opened);
  await assertSections(page, url);
  const before = await shownStep(page);
  await page.waitForFunction(
    (step) => Number(document.querySelector('#facts dd b').textContent.replaceAll(',', '')) > step,
    before,
    { timeout: 60e3 },
  );
  assert.ok(await page.evaluate(() => document.getElementById('progress').value > 0));
  assert.match(await page.title(), /step [\d,]+ of [\d,]+/);
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width: 1440, height });
  const [full, seen] = await painted(page);
  assert.ok(seen >= 4 && full === seen, `${full} of ${seen} drawings are painted`);
  assertClean(opened);
  await opened.close();
});

test('the looks of a run that trains', only('live'), async () =>
  assertLooks(await addressOf('live'), 'live'),
);

test('charts are read with a pointer and with keys', only('live'), async () => {
  const opened = await open(browser, await addressOf('live'));
  const { page } = opened;
  await page.waitForSelector('#curves-body figure');
  const chart = page.locator('#curves-body canvas').first();
  const value = () => chart.getAttribute('aria-valuetext');
  const newest = await value();
  await chart.hover({ position: { x: 80, y: 60 } });
  const hovered = await value();
  assert.notEqual(hovered, newest);
  await page.mouse.move(5, 5);
  await chart.focus();
  await page.keyboard.press('Home');
  const first = await value();
  assert.match(first, /^step [\d,]+/);
  await page.keyboard.press('ArrowRight');
  assert.notEqual(await value(), first);
  await page.keyboard.press('Escape');
  await page.locator('#curves-smooth').check();
  await page.locator('#curves-log').check();
  await page.locator('#curves-range').selectOption('10');
  const figures = await page.locator('#curves-body figure').count();
  await page.locator('#curves-choice input').last().click();
  assert.notEqual(await page.locator('#curves-body figure').count(), figures);
  assertClean(opened);
  await opened.close();
});

test('kinds of events are chosen', only('live'), async () => {
  const opened = await open(browser, await addressOf('live'));
  const { page } = opened;
  await page.waitForSelector('#events-body tbody tr');
  const boxes = page.locator('#events-body .chips input');
  const kinds = await boxes.count();
  if (kinds > 1) {
    const name = await page.locator('#events-body .chip span').first().innerText();
    await boxes.first().uncheck();
    const shown = await page.locator('#events-body tbody .kind').allInnerTexts();
    assert.ok(!shown.includes(name));
  }
  assertClean(opened);
  await opened.close();
});

test('thousands of workers are shown at once, and the page stays quick', only('many'), async () => {
  const url = await addressOf('many');
  const opened = await open(browser, 'about:blank');
  const { page, errors } = opened;
  const session = await page.context().newCDPSession(page);
  // In its own time, not the clock's: other work on the machine does not count.
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busy = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value;
  };
  const before = await busy();
  await page.goto(url);
  await page.waitForFunction(
    () =>
      document.querySelectorAll('#workers-body .workers tbody tr').length === 20 &&
      document.querySelector('#generations-note').textContent !== '' &&
      document.querySelectorAll('#curves-body figure').length > 0,
    null,
    { timeout: 30e3 },
  );
  const first = (await busy()) - before;
  assert.ok(first < 2, `the first picture took ${first.toFixed(2)} s of the main thread`);
  await assertSections(page, url);
  const middle = await busy();
  const { longest, millis } = await page.evaluate(async () => {
    let most = 0;
    const watch = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) most = Math.max(most, duration);
    });
    watch.observe({ type: 'longtask' });
    const began = performance.now();
    await new Promise((done) => {
      let answers = 0;
      const count = new MutationObserver(() => {
        answers += 1;
        if (answers === 6) done();
      });
      count.observe(document.getElementById('polling'), { childList: true });
    });
    return { longest: most, millis: performance.now() - began };
  });
  const share = ((await busy()) - middle) / (millis / 1000);
  assert.ok(longest < 400, `a task of ${longest} ms while polling`);
  assert.ok(share < 0.3, `polling takes ${(share * 100).toFixed(0)} % of the main thread`);
  console.log(`first ${first.toFixed(2)} s, then ${(share * 100).toFixed(1)} %, longest task ${longest} ms`);
  assert.equal(await page.locator('#generations-body details').getAttribute('open'), null);
  await page.locator('#generations-body summary').click();
  const list = await page.locator('#generations-body .scroller').boundingBox();
  assert.ok(list === null || list.height <= 400, 'the list of members is not cut');
  const { members } = await told(url, 'run');
  const { member } = members[members.length - 1];
  await page.locator('#workers-find').fill(member);
  assert.ok((await page.locator('#workers-body .workers tbody').innerText()).includes(member));
  assert.deepEqual(errors, []);
  await opened.close();
});

test('the looks of thousands of workers', only('many'), async () =>
  assertLooks(await addressOf('many'), 'many'),
);

test('a run that is over says how, and is asked no more', only('over'), async () => {
  const url = await addressOf('over');
  const opened = await open(browser, url, { clock: true });
  const { page, traffic } = opened;
  await settled(opened);
  await assertSections(page, url);
  const run = await told(url, 'run');
  const banner = await page.locator('#banner').innerText();
  assert.ok(banner.includes(run.reason), banner);
  if (run.exit_code !== null) assert.ok(banner.includes(`Exit code ${run.exit_code}`), banner);
  // Parts that did not come are asked for three times more; these did.
  await elapse(opened, 5);
  const before = traffic.requests.length;
  await elapse(opened, 60);
  assert.equal(traffic.requests.length, before, traffic.requests.slice(before).join(' '));
  assertClean(opened);
  await opened.close();
});

test('the looks of a run that is over', only('over'), async () =>
  assertLooks(await addressOf('over'), 'over'),
);

test('hostile texts stay texts, and missing numbers are said to be missing', { timeout: 120e3 }, async () => {
  const { url } = await mocked('hostile');
  await assertLooks(url, 'hostile');
  const opened = await open(browser, url);
  const { page } = opened;
  await settled(opened);
  assert.equal(await page.evaluate(() => window.broken), undefined);
  assert.equal(await page.locator('body script, main img[src="x"], main img[onerror]').count(), 0);
  assert.match(await page.locator('#name').innerText(), /^<script>/);
  const text = await page.locator('body').innerText();
  assert.doesNotMatch(text, /NaN|undefined|null|Infinity/);
  assertClean(opened);
  await opened.close();
});

test('the phases of a step are told apart by colour', { timeout: 60e3 }, async () => {
  const { url } = await mocked('live');
  for (const scheme of ['light', 'dark']) {
    const opened = await open(browser, url, { scheme });
    await settled(opened);
    const phases = await opened.page.locator('.phases tbody tr:not(.sum)').evaluateAll((rows) =>
      rows.map((row) => {
        const { backgroundColor, backgroundImage } = getComputedStyle(row.querySelector('.swatch'));
        const isHatched = backgroundImage !== 'none';
        const [colour] = (isHatched ? backgroundImage : backgroundColor).match(/rgb\([^)]+\)/);
        return {
          name: row.innerText.split('\t')[0].trim(),
          isHatched,
          colour: colour.match(/\d+/g).map(Number),
        };
      }),
    );
    const names = ['data', 'encode', 'update', 'gather', 'learn', 'vote'];
    assert.deepEqual(phases.map(({ name }) => name).toSorted(), names.toSorted());
    const drawn = await opened.page.locator('.bar').first().locator('span').count();
    assert.equal(drawn, names.length);
    for (const one of phases)
      for (const other of phases) {
        if (one === other || one.isHatched !== other.isHatched) continue;
        const apart = one.colour.reduce((sum, part, at) => sum + Math.abs(part - other.colour[at]), 0);
        assert.ok(apart > 100, `${one.name} and ${other.name} are ${apart} apart in the ${scheme}`);
      }
    assertClean(opened);
    await opened.close();
  }
});

test('a run of which nothing is known yet says so everywhere', { timeout: 120e3 }, async () => {
  const { url } = await mocked('blank');
  const opened = await open(browser, url);
  await settled(opened);
  await assertSections(opened.page, url);
  assert.equal(await opened.page.locator('main .empty:visible').count(), 8);
  assertClean(opened);
  await opened.close();
});

test('a page that stays open tells how its run ended', { skip: EXPECTS !== 'ends' }, async () => {
  const opened = await open(browser, PAGE);
  const { page, strangers, close } = opened;
  await settled(opened);
  execFileSync('sh', ['-c', process.env.TANDEM_PAGE_STOP]);
  await page.waitForFunction(() => /^The run is over.*Exit code \d+/.test(document.getElementById('banner').textContent));
  assert.equal(await page.locator('#state').innerText(), 'finished');
  assert.ok((await page.locator('#curves-body figure').count()) > 0);
  await shoot(page, 'ended');
  assert.deepEqual(strangers, []);
  await close();
});

test('a coordinator that is away is said to be, and found again', { timeout: 120e3 }, async () => {
  const server = await mocked('unreachable');
  const opened = await open(browser, server.url);
  const { page, errors, strangers, close } = opened;
  await settled(opened);
  assert.equal(await page.locator('#banner').isVisible(), false);
  server.down();
  await page.waitForFunction(() =>
    /^Not reachable since \d\d:\d\d:\d\d/.test(document.getElementById('banner').textContent),
  );
  await shoot(page, 'unreachable');
  assert.ok((await page.locator('#curves-body figure').count()) > 0, 'what was known stays');
  const before = await shownStep(page);
  server.up();
  await page.waitForFunction(
    (step) =>
      document.getElementById('banner').hidden &&
      Number(document.querySelector('#facts dd b').textContent.replaceAll(',', '')) > step,
    before,
    { timeout: 20e3 },
  );
  // The browser itself tells of requests that found nobody; the page has nothing to complain of.
  assert.deepEqual(
    errors.filter((text) => !/ERR_|Failed to load resource/.test(text)),
    [],
  );
  assert.deepEqual(strangers, []);
  await close();
});

test('only what changed is asked for again', { timeout: 60e3 }, async () => {
  for (const scenario of ['live', 'over']) {
    const server = await mocked(scenario);
    const opened = await open(browser, server.url, { clock: true });
    await settled(opened);
    await elapse(opened, 60);
    const times = (name) => server.asked.filter((path) => path.endsWith(`/api/${name}`)).length;
    const goesOn = scenario === 'live';
    assert.equal(times('run') > 10, goesOn, `a run that is ${scenario} was asked for ${times('run')} times`);
    const same = goesOn ? [] : ['run', 'series', 'events', 'evaluation'];
    for (const name of [...same, 'generations', 'quarantine']) {
      assert.equal(times(name), 1, `${name} was asked for ${times(name)} times`);
    }
    await opened.close();
  }
});
