// The top of the page: where the run stands.

import { byId, el, reconcile, setAttribute, setText } from './dom.js';
import {
  NONE,
  clock,
  count,
  counted,
  duration,
  isNumber,
  measure,
  moment,
  percent,
  short,
} from './format.js';

/** Whether the run is over, as it should be or not. */
export const isOver = (run) => isNumber(run.exit_code) || run.state === 'finished' || run.state === 'failed';

/** How long a speed is measured; shorter ones jump, longer ones are slow to see a change. */
const WINDOW = 120e3;
const LEAST = 15e3;

/** Measures steps per second from what the polls tell. */
export class Speed {
  constructor() {
    this.seen = [];
  }

  /** Takes the newest answer in. */
  note({ unix_millis: millis, step, state }) {
    const last = this.seen.at(-1);
    // A pause is no slow step, and a run that was rewound has to begin again.
    if (state !== 'training' || (last && (step < last.step || millis < last.millis))) this.seen = [];
    if (state !== 'training') return;
    this.seen.push({ millis, step });
    while (this.seen[0].millis < millis - WINDOW) this.seen.shift();
  }

  /** Steps per second: of the last minutes, else since the generation `begun`; NaN if neither can tell. */
  perSecond(run, begun) {
    const [first, last] = [this.seen[0], this.seen.at(-1)];
    if (!last) return NaN;
    if (last.millis - first.millis >= LEAST) {
      return ((last.step - first.step) / (last.millis - first.millis)) * 1000;
    }
    const millis = begun ? run.unix_millis - begun.millis : 0;
    return millis > 0 && run.step > begun.step ? ((run.step - begun.step) / millis) * 1000 : NaN;
  }
}

/** How long the rest takes and when it is done. */
function remaining(run, stepsPerSecond) {
  const left = (run.steps - run.step) / stepsPerSecond;
  if (isOver(run) || !isNumber(left) || left < 0) return [NONE, ''];
  return [duration(left), `done ${moment(run.unix_millis + left * 1000, run.unix_millis)}`];
}

/** How many members there are beside those that train. */
function besides(members) {
  const number = (text, test) => {
    const found = members.filter(test).length;
    return found > 0 ? [`${count(found)} ${text}`] : [];
  };
  return [
    ...number('spare', (member) => member.spare),
    ...number('draining', (member) => member.draining),
    ...number('without a seat', (member) => !member.seated && !member.spare),
  ];
}

/** The facts below the progress bar: [name, value, detail]. */
function facts(run, stepsPerSecond) {
  const members = run.members ?? [];
  const [left, done] = remaining(run, stepsPerSecond);
  const behind = run.step - run.committed_checkpoint;
  const elapsed = isNumber(run.started_unix_millis)
    ? (run.unix_millis - run.started_unix_millis) / 1000
    : NaN;
  const limits =
    isNumber(run.min_workers) && isNumber(run.max_workers)
      ? [`${count(run.min_workers)} to ${count(run.max_workers)} allowed`]
      : [];
  const rate = isNumber(stepsPerSecond) ? `${measure(stepsPerSecond, 3)} steps/s` : '';
  const hasCheckpoint = isNumber(run.committed_checkpoint) && run.committed_checkpoint > 0;
  const scale = run.learning_rate_scale;
  const isScaled = isNumber(scale) && scale !== 1;
  return [
    ['Step', count(run.step), `of ${count(run.steps)}, ${percent(run.step / run.steps)}`],
    ['Time left', left, done],
    ['Generation', count(run.generation), ''],
    ['Workers', count(run.workers), [...besides(members), ...limits].join(', ')],
    ['Pairs/s', isNumber(run.pairs_per_second) ? measure(run.pairs_per_second, 3) : NONE, rate],
    [
      'Newest checkpoint',
      hasCheckpoint ? count(run.committed_checkpoint) : 'none',
      hasCheckpoint && behind >= 0 ? (behind > 0 ? `${counted(behind, 'step')} ago` : 'the newest step') : '',
    ],
    ...(isScaled ? [['Learning rate', `× ${measure(scale, 3)}`, 'the schedule’s, as an operator set']] : []),
    ['Goodput', percent(run.goodput), 'of the time was useful'],
    [
      'Elapsed',
      duration(elapsed),
      isNumber(elapsed) ? `since ${moment(run.started_unix_millis, run.unix_millis)}` : '',
    ],
  ];
}

/** Shows the answer to api/run. */
export function showHeader(run, stepsPerSecond) {
  const state = short(run.state ?? 'unknown', 40);
  const name = short(run.run || 'unnamed run', 120);
  setText(byId('name'), name);
  // Of a run that is over the banner tells it.
  setText(byId('reason'), isOver(run) ? '' : short(run.reason, 400));
  byId('state').hidden = false;
  setText(byId('state'), state);
  setAttribute(byId('state'), 'data-state', state);
  const share = isNumber(run.step / run.steps) ? Math.min(1, run.step / run.steps) : 0;
  byId('progress').value = share;
  setAttribute(byId('progress'), 'aria-valuetext', `step ${count(run.step)} of ${count(run.steps)}`);
  setAttribute(byId('progress'), 'data-state', state);
  const make = ([name]) => el('div', {}, el('dt', {}, name), el('dd', {}, el('b'), el('small')));
  reconcile(
    byId('facts'),
    facts(run, stepsPerSecond),
    ([name]) => name,
    make,
    (node, [, value, detail]) => {
      setText(node.querySelector('b'), value);
      setText(node.querySelector('small'), detail);
    },
  );
  document.title = `${name}: ${state}, step ${count(run.step)} of ${count(run.steps)}`;
}

/** A sentence across the page, or none if `text` is null; `tone` is bad or good. */
export function showBanner(text, tone = 'bad') {
  const banner = byId('banner');
  banner.hidden = text === null;
  setText(banner, text ?? '');
  setAttribute(banner, 'data-tone', tone);
}

/** The sentence of a run that is over. */
export function howItEnded(run) {
  const how =
    run.state === 'finished'
      ? 'The run is over'
      : `The run has ${run.state === 'failed' ? 'failed' : 'ended'}`;
  const code = isNumber(run.exit_code) ? ` Exit code ${run.exit_code}.` : '';
  const reason = run.reason ? `: ${short(run.reason, 400)}` : '';
  return `${how}${reason}.${code}`;
}

/** The sentence while the coordinator does not answer. */
export const notReachable = (since, why) =>
  `Not reachable since ${clock(since)} (${why}). What follows is of then.`;
