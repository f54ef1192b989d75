// Which rank has which lanes, as one strip.

import { Surface, colour, fitted, followKeys, followPointer, labelAxis, verticalLine } from './canvas.js';
import { byId, el, setAttribute, setText } from './dom.js';
import { count, counted, isNumber, short } from './format.js';
import { extent, linear, ticks } from './scale.js';

const LEFT = 8;
const RIGHT = 8;
const HEIGHT = 30;

/** The blocks of lanes in the order of lanes: {first, count, member}. */
export function blocks(members) {
  const seated = members.filter(({ lanes }) => Array.isArray(lanes) && isNumber(lanes[0]) && lanes[1] > 0);
  const made = seated.map((member) => ({ first: member.lanes[0], count: member.lanes[1], member }));
  return made.sort((one, other) => one.first - other.first);
}

/** Ranges [from, to) of lanes that no block has. */
export function gaps(sorted, lanes) {
  const found = [];
  let free = 0;
  for (const { first, count: length } of sorted) {
    if (first > free) found.push([free, first]);
    free = Math.max(free, first + length);
  }
  return lanes > free ? [...found, [free, lanes]] : found;
}

/** Lanes `first` to the last of a block, and whose they are. */
function story({ first, count: length, member }) {
  const name =
    length === 1 ? `lane ${count(first)}` : `lanes ${count(first)} to ${count(first + length - 1)}`;
  return `${name}: rank ${count(member.rank)}, ${short(member.member, 40)} on ${short(member.host, 40)}`;
}

/** A sentence about the whole. */
function overview(all, lanes, missing) {
  if (all.length === 0) return lanes > 0 ? `${counted(lanes, 'lane')}, and no rank has any` : '';
  const [least, most] = extent(all.map(({ count: length }) => length));
  const each = least === most ? `${count(least)} each` : `${count(least)} to ${count(most)} each`;
  const free = missing.reduce((sum, [from, to]) => sum + to - from, 0);
  const without = free > 0 ? `; ${count(free)} without a rank` : '';
  return `${counted(lanes, 'lane')} over ${counted(all.length, 'rank')}, ${each}${without}`;
}

/** The section of the lanes. */
export class Lanes {
  constructor() {
    Object.assign(this, { blocks: [], gaps: [], lanes: 0, chosen: null, drawn: '' });
    this.readout = el('span', { class: 'where', 'aria-live': 'polite' });
    this.canvas = el('canvas', { class: 'strip', role: 'img', tabindex: '0' });
    this.empty = el('p', { class: 'empty' }, 'No rank has lanes now.');
    byId('lanes-body').append(this.empty, this.canvas, el('div', { class: 'caption-line' }, this.readout));
    this.surface = new Surface(this.canvas, (...given) => this.paint(...given));
    followPointer(this.canvas, (x) => this.choose(x === null ? null : this.at(x)));
    followKeys(
      this.canvas,
      ['ArrowLeft', 'ArrowRight'],
      () => this.blocks.length,
      () => this.chosen,
      (at) => this.choose(at),
    );
    this.canvas.addEventListener('blur', () => this.choose(null));
  }

  /** Shows the lanes of api/run. */
  show(run) {
    this.blocks = blocks(run.members ?? []);
    const end = Math.max(0, ...this.blocks.slice(-1).map(({ first, count: length }) => first + length));
    this.lanes = Math.max(isNumber(run.lanes) ? run.lanes : 0, end);
    this.gaps = gaps(this.blocks, this.lanes);
    this.empty.hidden = this.blocks.length > 0;
    this.canvas.hidden = this.readout.hidden = this.blocks.length === 0;
    const text = overview(this.blocks, this.lanes, this.gaps);
    setText(byId('lanes-note'), text);
    setAttribute(this.canvas, 'aria-label', text);
    // Every second comes an answer, and the lanes change with generations only.
    const drawn = JSON.stringify([
      this.lanes,
      this.blocks.map(({ first, member }) => [first, member.member]),
    ]);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.choose(null);
  }

  scale() {
    return linear([0, this.lanes], [LEFT, Math.max(LEFT + 1, this.surface.width - RIGHT)]);
  }

  /** The block at a pixel. */
  at(pixel) {
    const lane = this.scale().invert(pixel);
    const found = this.blocks.findIndex(({ first, count: length }) => lane >= first && lane < first + length);
    return found < 0 ? null : found;
  }

  choose(at) {
    this.chosen = at;
    setText(this.readout, at === null ? '' : story(this.blocks[at]));
    this.readout.classList.toggle('pointed', at !== null);
    this.surface.redraw();
  }

  paint(context, width) {
    const x = this.scale();
    this.blocks.forEach((block, at) => this.paintBlock(context, block, at, x));
    if (this.chosen !== null) this.paintBlock(context, this.blocks[this.chosen], this.chosen, x);
    for (const [from, to] of this.gaps) {
      context.fillStyle = colour('bad');
      context.fillRect(x(from), HEIGHT / 2 - 1, Math.max(1, x(to) - x(from)), 3);
    }
    const room = Math.max(2, Math.floor(width / 80));
    const labels = ticks([0, this.lanes], room, 1).map(({ value, text }) => ({ x: x(value), text }));
    for (const { x: at } of labels) verticalLine(context, at, HEIGHT + 2, HEIGHT + 6, colour('axis'));
    labelAxis(context, labels, [0, width], HEIGHT + 14);
  }

  paintBlock(context, { first, count: length, member }, at, x) {
    const [from, to] = [x(first), x(first + length)];
    const isWide = to - from >= 4;
    context.fillStyle = colour(at === this.chosen ? 'accent' : at % 2 === 0 ? 'lane-even' : 'lane-odd');
    // The chosen one of thousands must still be seen.
    const least = at === this.chosen ? 3 : 1;
    context.fillRect(from, 0, Math.max(least, to - from - (isWide ? 1 : 0)), HEIGHT);
    const text = to - from > 64 ? `rank ${count(member.rank)}` : count(member.rank);
    if (context.measureText(text).width > to - from - 6) return;
    context.fillStyle = colour(at === this.chosen ? 'ground' : 'ink');
    context.textAlign = 'center';
    context.fillText(fitted(context, text, to - from - 6), (from + to) / 2, HEIGHT / 2 + 1);
  }
}
