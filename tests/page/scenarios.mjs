// Runs that never were: what a coordinator would answer in different situations.

import { COLOURS, SHAPES } from './drawn.mjs';

const STEPS = 5000;
export const BEGAN = Date.now() - 52 * 60e3;

/** Numbers in [0, 1) that look random and are always the same. */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
}

/** The seconds of a worker's phases; those who are done early wait in gather, learn and vote. */
function phases(noise, slow) {
  const [data, encode, backward] = [0.012 + 0.01 * noise(), 0.21 * slow, 0.34].map(
    (part) => part + 0.02 * noise(),
  );
  const wait = Math.max(0.04, 0.6 - data - encode);
  const update = 0.022 + 0.002 * noise();
  return { data, encode, gather: wait * 0.5, learn: backward + wait * 0.3, vote: wait * 0.2, update };
}

function member(rank, world, lanes, noise, more = {}) {
  const [first, next] = [Math.floor((rank * lanes) / world), Math.floor(((rank + 1) * lanes) / world)];
  return {
    member: `${1 + Math.floor(rank / 64)}-${rank % 64}`,
    host: `node${1 + Math.floor(rank / 8)}`,
    pid: 4000 + rank,
    rank,
    seated: true,
    phase: 'training',
    applied_step: 0,
    seconds_since_heartbeat: 0.1 + noise() * 0.8,
    spare: false,
    draining: false,
    lanes: [first, next - first],
    seconds: phases(noise, 1),
    ...more,
  };
}

/** Losses and the like of steps up to `step`, as a run would have them. */
export function series(step, points = 2000) {
  const noise = random(7);
  const every = Math.max(1, Math.ceil(step / points));
  const steps = Array.from({ length: Math.floor(step / every) }, (_, at) => (at + 1) * every);
  const falling = (high, low, pace, wild) => (at) =>
    low + (high - low) * Math.exp(-at / pace) + (noise() - 0.5) * wild;
  const curves = {
    loss_itc: falling(4.8, 2.4, 900, 0.2),
    loss_itm: falling(0.7, 0.48, 1500, 0.06),
    loss_mlm: falling(6.9, 2.1, 420, 0.3),
    pairs_per_second: (at) => (at > 610 && at < 820 ? 178 : 338) + (noise() - 0.5) * 14,
    learning_rate: (at) => 1e-4 * Math.min(1, at / 200) * (0.5 + 0.5 * Math.cos((Math.PI * at) / STEPS)),
    temperature: (at) => 0.07 - 0.02 * (1 - Math.exp(-at / 800)),
    gradient_norm: (at) => 1.6 * Math.exp(-at / 600) + 0.7 + noise() ** 8 * 3,
    alpha: (at) => Math.min(0.4, at / 2000),
    queue_filled: (at) => Math.min(4096, at * 64),
    data_wait_seconds: () => 0.01 + noise() * 0.02,
  };
  const values = Object.fromEntries(Object.entries(curves).map(([name, of]) => [name, steps.map(of)]));
  values.loss = steps.map((_, at) => values.loss_itc[at] + values.loss_itm[at] + values.loss_mlm[at]);
  return { steps, values };
}

const CAPTIONS = Object.keys(COLOURS).flatMap((colour) =>
  Object.keys(SHAPES).map((shape) => `a ${colour} ${shape}`),
);

function evaluation(step) {
  const noise = random(11);
  const recall = (best) => ({ 1: best, 5: Math.min(1, best + 0.27), 10: Math.min(1, best + 0.39) });
  const history = Array.from({ length: Math.floor(step / 100) }, (_, at) => {
    const share = 1 - Math.exp(-(at + 1) / 6);
    return {
      step: (at + 1) * 100,
      text_to_image_r1: 0.43 * share - noise() * 0.02,
      image_to_text_r1: 0.47 * share - noise() * 0.02,
    };
  });
  const last = history.at(-1) ?? { text_to_image_r1: 0.01, image_to_text_r1: 0.01 };
  const recalls = {
    text_to_image: recall(last.text_to_image_r1),
    image_to_text: recall(last.image_to_text_r1),
  };
  return { step: Math.floor(step / 100) * 100, rows: 500, recall: recalls, history };
}

/** The picture at an address below api/, or null where there is none. */
export function pictured(path) {
  const row = /^rows\/(\d+)\/image$/.exec(path);
  if (row)
    return Number(row[1]) % 3 === 0
      ? null
      : Number(row[1]) % 3 === 1
        ? 'bytes'
        : CAPTIONS[row[1] % CAPTIONS.length];
  return /^evaluation\/\d+\/grid$/.test(path) ? CAPTIONS[6] : null;
}

const REASONS = [
  'not a JPEG, PNG or WebP: begins with 3c 21 44 4f',
  'the picture ends early',
  'the caption is empty',
  '14000 × 9000 pixels are more than images.most allows',
];

const quarantine = (number) =>
  Array.from({ length: number }, (_, at) => {
    return {
      step: 3 + at * 17,
      row: 17 + at * 31,
      substitute: 21 + at * 31,
      reason: REASONS[at % 4],
    };
  });

/** Generations of a small run that lost two workers and got them back. */
function smallGenerations() {
  const worlds = [
    [0, 0, ['1-0', '1-1', '1-2', '1-3']],
    [11, 604, ['1-0', '1-1']],
    [14.5, 816, ['1-0', '1-1', '2-0']],
    [15, 824, ['1-0', '1-1', '2-0', '3-0']],
    [38, 1010, ['1-0', '2-0', '3-0']],
    [39, 1010, ['1-0', '2-0', '3-0', '4-0']],
  ];
  return worlds.map(([minutes, step, members], at) => {
    return {
      generation: at + 1,
      unix_millis: BEGAN + minutes * 60e3,
      world_size: members.length,
      step,
      members,
    };
  });
}

function smallEvents(step, generations) {
  const found = [
    { unix_millis: BEGAN - 4000, kind: 'opened', text: 'opened at 127.0.0.1:7070 for run demo' },
  ];
  const begun = (entry) => ({
    unix_millis: entry.unix_millis,
    kind: 'generation',
    text: `generation ${entry.generation} begins with ${entry.world_size} workers at step ${entry.step}`,
  });
  found.push(...generations.map(begun));
  for (let at = 50; at <= step; at += 50)
    found.push({
      unix_millis: BEGAN + at * 2580,
      kind: 'committed',
      text: `the checkpoint of step ${at} is committed`,
    });
  found.push({
    unix_millis: BEGAN + 38 * 60e3,
    kind: 'rewound',
    text: 'rewound from step 1012 to 1010, which all members hold',
  });
  found.push({
    unix_millis: BEGAN + 37.6 * 60e3,
    kind: 'drained',
    text: '1-1 (node1, process 4001) left: drained by operator alice',
  });
  found.push({ unix_millis: BEGAN + 20 * 60e3, kind: 'asked', text: 'alice asked for a checkpoint' });
  found.sort((one, other) => one.unix_millis - other.unix_millis);
  return found.map((event, at) => ({ number: at + 1, ...event })).slice(-500);
}

/** A run of four workers and a spare, whose steps go on with the clock. */
export function live() {
  const generations = smallGenerations();
  const noise = random(3);
  const start = Date.now();
  return (name) => {
    const step = Math.min(STEPS - 1, 1200 + Math.floor((Date.now() - start) / 400));
    if (name === 'series') return series(step);
    if (name === 'generations') return generations;
    if (name === 'events') return smallEvents(step, generations);
    if (name === 'quarantine') return quarantine(7);
    if (name === 'evaluation') return evaluation(step);
    const ids = generations.at(-1).members;
    const members = ids.map((id, rank) =>
      member(rank, 4, 64, noise, { member: id, applied_step: step, seconds: phases(noise, 1) }),
    );
    Object.assign(members[2], { seconds: phases(noise, 1.45), draining: true });
    members.push(
      member(4, 5, 64, noise, {
        member: '5-0',
        rank: null,
        seated: false,
        spare: true,
        phase: 'waiting',
        lanes: null,
        seconds: {},
        applied_step: 1010,
      }),
    );
    return {
      ...common(step, 6),
      workers: 4,
      min_workers: 1,
      max_workers: 8,
      lanes: 64,
      members,
      state: 'training',
      reason: 'generation 6 trains on 4 workers',
      pairs_per_second: 334 + noise() * 8,
      revision: {
        series: step,
        events: Math.floor(step / 50),
        quarantine: 3,
        evaluation: Math.floor(step / 100),
      },
    };
  };
}

export const common = (step, generation) => ({
  run: 'demo',
  generation,
  step,
  steps: STEPS,
  committed_checkpoint: Math.floor(step / 50) * 50,
  exit_code: null,
  unix_millis: Date.now(),
  started_unix_millis: BEGAN,
  goodput: 0.9713,
  learning_rate_scale: 1,
});

/** A run that is done. */
export function over() {
  const now = live();
  return (name) => {
    if (name === 'series') return series(STEPS);
    if (name === 'events') return smallEvents(STEPS, smallGenerations());
    if (name === 'evaluation')
      return { ...evaluation(STEPS), grid: `api/evaluation/${STEPS}/grid` };
    if (name !== 'run') return now(name);
    const members = [];
    return {
      ...now('run'),
      ...common(STEPS, 6),
      state: 'finished',
      reason: 'all 5000 steps are done',
      exit_code: 0,
      workers: 0,
      members,
      committed_checkpoint: STEPS,
      pairs_per_second: null,
    };
  };
}

const WORLD = 4096;

/** A run of 4,096 workers and a few spares, with a slow node, that lost some now and then over a day. */
export function many() {
  const noise = random(5);
  const start = Date.now();
  const generations = [];
  const names = Array.from({ length: WORLD }, (_, rank) => member(rank, WORLD, WORLD, noise).member);
  for (let at = 0; at < 300; at += 1) {
    const lost = at % 2 === 0 ? 0 : 1 + Math.floor(noise() * 24);
    const from = Math.floor(noise() * (WORLD - lost));
    const members = names.filter((_, rank) => rank < from || rank >= from + lost);
    // Who comes back is another member.
    for (let rank = from; rank < from + lost; rank += 1) names[rank] = `${100 + at}-${rank}`;
    generations.push({
      generation: at + 1,
      unix_millis: Date.now() - (300 - at) * 288e3,
      world_size: members.length,
      step: at * 1300,
      members,
    });
  }
  const members = names.map((id, rank) => {
    const slow = rank === 2977 ? 2.3 : rank >> 3 === 101 ? 1.5 : 1;
    return member(rank, WORLD, WORLD, noise, { member: id, seconds: phases(noise, slow) });
  });
  members.push(
    ...Array.from({ length: 12 }, (_, at) =>
      member(WORLD + at, WORLD, WORLD, noise, {
        member: `401-${at}`,
        rank: null,
        seated: false,
        spare: true,
        lanes: null,
        phase: 'waiting',
        seconds: {},
      }),
    ),
  );
  members[800].seconds_since_heartbeat = 8.2;
  return (name) => {
    const step = 390000 + Math.floor((Date.now() - start) / 400);
    if (name === 'series') return series(step);
    if (name === 'generations') return generations;
    if (name === 'events') return smallEvents(step, smallGenerations());
    if (name === 'quarantine') return quarantine(200);
    if (name === 'evaluation') return evaluation(5000);
    for (const one of members) one.applied_step = step;
    return {
      ...common(step, 300),
      run: 'laion-400m-vit-b',
      steps: 500000,
      started_unix_millis: generations[0].unix_millis,
      workers: WORLD,
      min_workers: 2048,
      max_workers: WORLD,
      lanes: WORLD,
      members,
      state: 'training',
      reason: 'generation 300 trains on 4096 workers',
      pairs_per_second: 412300,
      goodput: 0.9312,
      learning_rate_scale: 0.25,
      revision: { series: step >> 3, events: 4, quarantine: 3, evaluation: 2 },
    };
  };
}
