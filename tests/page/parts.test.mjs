// The pure functions of the page, called in the browser that runs them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from './browser.mjs';
import { start } from './mock.mjs';

let [browser, server, page] = [];

before(async () => {
  server = await start('blank');
  browser = await launch();
  page = await browser.newPage();
  await page.goto(server.url);
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** What the functions of a module answer; each call is a name and its arguments. */
async function values(module, wanted) {
  // The page's policy forbids eval: the calls are data, a name and arguments.
  return page.evaluate(
    async ([name, calls]) => {
      const m = await import(new URL(`${name}.js`, document.baseURI).href);
      return calls.map(([f, ...given]) => m[f](...given));
    },
    [module, wanted],
  );
}

/** Checks calls: each [[name, ...arguments], result]. */
async function check(module, cases) {
  const found = await values(
    module,
    cases.map(([given]) => given),
  );
  cases.forEach(([given, wanted], at) => assert.deepEqual(found[at], wanted, JSON.stringify(given)));
}

test('numbers and times', () =>
  check('format', [
    [['count', 1234567], '1,234,567'],
    [['count', null], '–'],
    [['count', 'NaN'], '–'],
    [['counted', 1, 'worker'], '1 worker'],
    [['counted', 4096, 'worker'], '4,096 workers'],
    [['percent', 0.9713], '97.1\u202f%'],
    [['measure', 0.00025], '2.5e-4'],
    [['measure', 6.12345], '6.123'],
    [['measure', 338.24, 3], '338'],
    [['measure', 412300, 3], '412,300'],
    [['measure', -0.5], '-0.5000'],
    [['measure', 0], '0'],
    [['measure', 1e300], '1e300'],
    [['seconds', 0.0123], '12 ms'],
    [['seconds', 0.0012], '1.2 ms'],
    [['seconds', 1.236], '1.24 s'],
    [['seconds', 0], '0 s'],
    [['seconds', 125], '2 min 5 s'],
    [['duration', 0.2], '0 s'],
    [['duration', 59.6], '1 min'],
    [['duration', 3599], '59 min 59 s'],
    [['duration', 4980], '1 h 23 min'],
    [['duration', 86400 * 2 + 3600 * 4], '2 d 4 h'],
    [['duration', -1], '–'],
    [['clock', 1e20], '–'],
    [['day', 86400e3 * 40, 86400e3 * 50], '10\u00a0Feb'],
    [['day', 86400e3 * 40, 86400e3 * 500], '10\u00a0Feb\u00a01970'],
    [['moment', null, 0], '–'],
    [['short', 'abcdef', 3], 'abc…'],
    [['short', null], ''],
    [['natural', '2-0', '10-0'], -1],
  ]));

test('ticks and places', () =>
  check('scale', [
    [['niceStep', 100, 5], 20],
    [['niceStep', 365, 3], 100],
    [['niceStep', 0.0001, 4], 0.00002],
    [
      ['multiples', 0, 1, 0.25],
      [0, 0.25, 0.5, 0.75, 1],
    ],
    [['multiples', 0, 1, 0], []],
    [
      ['extent', [null, 3, 'NaN', -1]],
      [-1, 3],
    ],
    [['extent', [null]], null],
    [['nearest', [1, 2, 5, 9], 4], 2],
    [['nearest', [1], 40], 0],
    [['nearest', [], 1], -1],
    [['before', [1, 2, 2, 9], 2], 2],
    [['before', [1, 2], 0], -1],
    [['quantile', [1, 2, 3, 4], 0.5], 3],
    [['tickText', 0.25, 0.05], '0.25'],
    [['tickText', 20000, 10000], '20k'],
    [['tickText', 1200, 200], '1,200'],
    [['tickText', 0.00005, 0.00005], '5e-5'],
    [
      ['smoothed', [1, null, 1], 3],
      [1, null, 1],
    ],
  ]));

test('logarithmic ticks stay few and inside', async () => {
  const found = await values('scale', [
    ['logTicks', [0.02, 300], 4],
    ['logTicks', [2, 6], 4],
  ]);
  for (const [at, [low, high]] of [
    [0.02, 300],
    [2, 6],
  ].entries()) {
    assert.ok(found[at].length >= 2 && found[at].length <= 8, JSON.stringify(found[at]));
    assert.ok(found[at].every(({ value }) => value >= low * 0.99 && value <= high * 1.01));
  }
});

test('who was alive when', async () => {
  const generation = (number, members) => {
    return { generation: number, unix_millis: number, world_size: members.length, step: 0, members };
  };
  const [found] = await values('spans', [
    [
      'spans',
      [generation(1, ['1-10', '1-2']), generation(2, ['1-2', '2-0']), generation(3, ['1-10', '1-2', '2-0'])],
    ],
  ]);
  assert.deepEqual(found.members, [
    { name: '1-2', spans: [0, 2] },
    { name: '1-10', spans: [0, 0, 2, 2] },
    { name: '2-0', spans: [1, 2] },
  ]);
  await check('spans', [
    [['cameOrWent', found.members[0], 3], false],
    [['cameOrWent', found.members[1], 3], true],
    [['lastChange', found.members[2], 3], 1],
    [['lastChange', { spans: [0, 1] }, 3], 2],
  ]);
});

test('a straggler is who works longest, not who waits longest', async () => {
  const member = (rank, encode) => ({
    member: `1-${rank}`,
    rank,
    seconds: { encode, gather: 1 - encode },
  });
  const members = [
    member(0, 0.3),
    member(1, 0.8),
    member(2, 0.31),
    member(3, 0.3),
    { member: '1-4', rank: null, seconds: {} },
  ];
  const [found] = await values('phases', [['compare', members]]);
  assert.deepEqual(found.names, ['encode', 'gather']);
  assert.deepEqual(
    found.rows.map((row) => row.member.member),
    ['1-1', '1-2', '1-0', '1-3', '1-4'],
  );
  assert.deepEqual(
    found.rows.map((row) => row.isStraggler),
    [true, false, false, false, false],
  );
});

test('phases of work and waiting together say nothing of who is slow', async () => {
  const member = (rank, encode) => ({
    member: `1-${rank}`,
    rank,
    // In the order of their names, as the coordinator tells them.
    seconds: { data: 0.1, encode, gather: 0.3, learn: 2 - encode, update: 0.1, vote: 0.1 },
  });
  const [found] = await values('phases', [['compare', [member(0, 0.3), member(1, 0.3), member(2, 0.6)]]]);
  assert.deepEqual(found.names, ['data', 'encode', 'update', 'gather', 'learn', 'vote']);
  assert.deepEqual(
    found.rows.map((row) => [row.member.rank, row.isStraggler]),
    [
      [2, true],
      [0, false],
      [1, false],
    ],
  );
  await check('phases', [
    [['isWaiting', 'learn'], false],
    [['isTogether', 'learn'], true],
    ...['gather', 'vote', 'all_reduce'].map((name) => [['isWaiting', name], true]),
    ...['data', 'encode', 'update'].map((name) => [['isTogether', name], false]),
  ]);
});

test('lanes without a rank are found', async () => {
  const blocks = [
    { first: 2, count: 3 },
    { first: 5, count: 1 },
  ];
  await check('lanes', [
    [
      ['gaps', blocks, 8],
      [
        [0, 2],
        [6, 8],
      ],
    ],
    [['gaps', [], 4], [[0, 4]]],
    [['gaps', blocks, 6], [[0, 2]]],
  ]);
});

test('the losses come first', () =>
  check('curves', [
    [
      ['ordered', ['alpha', 'temperature', 'pairs_per_second', 'loss_mlm', 'loss_new', 'loss']],
      ['loss', 'loss_mlm', 'loss_new', 'pairs_per_second', 'alpha', 'temperature'],
    ],
  ]));
