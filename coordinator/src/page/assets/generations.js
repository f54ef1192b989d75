// Generations: how many workers there were over time, and who they were.

import {
  Cursor,
  Surface,
  colour,
  fitted,
  followKeys,
  followPointer,
  paintMarks,
  verticalLine,
} from './canvas.js';
import { LineChart } from './chart.js';
import { byId, el, setAttribute, setText } from './dom.js';
import { count, counted, duration, moment, short } from './format.js';
import { before, extent, linear } from './scale.js';
import { cameOrWent, lastChange } from './spans.js';

const LEFT = 72;
/** Wide enough for the list's scroll bar, so that the list and the chart above it have one axis. */
const RIGHT = 18;
const ROW = 18;
/** With more members than this the list of them begins closed. */
const MANY = 40;
/** At most so many rows are in view; the list scrolls. */
const IN_VIEW = 14;

/** The section of the generations. */
export class Generations {
  constructor() {
    Object.assign(this, { beginnings: [], members: [], rows: [], now: 0, chosen: null, isFirst: true });
    this.cursor = new Cursor();
    this.chart = new LineChart({
      title: 'world size',
      unit: 'workers',
      time: true,
      zero: true,
      whole: true,
      stepped: true,
      single: true,
      left: LEFT,
      right: RIGHT,
      text: count,
      cursor: this.cursor,
      place: (millis) => this.place(millis),
    });
    this.buildList();
    this.empty = el('p', { class: 'empty' }, 'No generation has begun yet.');
    byId('generations-body').append(this.empty, this.chart.figure, this.details);
    this.hide(true);
  }

  buildList() {
    this.summary = el('summary');
    this.changes = el('input', { type: 'checkbox' });
    this.changes.addEventListener('change', () => this.list());
    this.readout = el('span', { class: 'where' });
    this.canvas = el('canvas', { class: 'rows', 'aria-hidden': 'true' });
    // As long as all rows, so that the list scrolls; the canvas stays in view and shows the rows there.
    this.spacer = el('div', {}, this.canvas);
    this.scroller = el('div', { class: 'scroller', tabindex: '0', role: 'group' }, this.spacer);
    const controls = el('label', {}, this.changes, ' only those that came or went, the latest first');
    const line = el('div', { class: 'caption-line' }, this.readout);
    this.readout.setAttribute('aria-live', 'polite');
    this.details = el('details', {}, this.summary, controls, this.scroller, line);
    this.surface = new Surface(this.canvas, (...given) => this.paint(...given));
    this.scroller.addEventListener('scroll', () => this.surface.redraw(), { passive: true });
    this.cursor.listen(() => this.surface.redraw());
    followPointer(this.canvas, (x, y) => {
      this.cursor.point(x === null ? null : this.clamp(this.scale().invert(x)));
      this.choose(y === null ? null : Math.floor((y + this.scroller.scrollTop) / ROW));
    });
    followKeys(
      this.scroller,
      ['ArrowUp', 'ArrowDown'],
      () => this.rows.length,
      () => this.chosen,
      (row) => {
        this.choose(row);
        if (row === null) return;
        const top = this.scroller.scrollTop;
        const most = row * ROW;
        this.scroller.scrollTop = Math.min(most, Math.max(top, most + ROW - this.scroller.clientHeight));
      },
    );
    this.scroller.addEventListener('blur', () => this.choose(null));
  }

  hide(isEmpty) {
    this.empty.hidden = !isEmpty;
    this.chart.figure.hidden = this.details.hidden = isEmpty;
  }

  /** Shows what spans.js made of api/generations. */
  show({ beginnings, members }) {
    Object.assign(this, { beginnings, members, chosen: null });
    this.times = beginnings.map(({ millis }) => millis);
    this.hide(beginnings.length === 0);
    const changed = members.filter((member) => cameOrWent(member, beginnings.length)).length;
    if (this.isFirst && members.length > 0) {
      this.isFirst = false;
      this.details.open = members.length <= MANY;
      this.changes.checked = members.length > MANY;
    }
    const note = beginnings.length > 0 ? `${counted(beginnings.length, 'generation')} so far` : '';
    setText(byId('generations-note'), note);
    setText(this.summary, `${counted(members.length, 'member')}, ${count(changed)} of them came or went`);
    this.list();
    this.tick(this.now);
  }

  /** The last generation goes on until now. */
  tick(now) {
    this.now = Math.max(now, this.times?.at(-1) ?? 0);
    if (this.beginnings.length === 0) return;
    const worlds = this.beginnings.map(({ world }) => world);
    // Of thousands of workers some are lost now and then: from zero that would be a straight line.
    const [least, most] = extent(worlds) ?? [0, 0];
    this.chart.options.zero = most <= 32 || least < most * 0.7;
    const lines = [{ name: 'world size', values: worlds, colour: 'c0' }];
    this.chart.show({ xs: this.times, lines, marks: this.times, domain: this.domain() });
    this.surface.redraw();
  }

  /** The rows of the list. */
  list() {
    const all = this.beginnings.length;
    this.rows = this.members;
    if (this.changes.checked) {
      const changed = this.members.filter((member) => cameOrWent(member, all));
      this.rows = changed.sort((one, other) => lastChange(other, all) - lastChange(one, all));
    }
    this.scroller.classList.toggle('none', this.rows.length === 0);
    this.spacer.style.height = `${this.rows.length * ROW}px`;
    const height = `${Math.min(IN_VIEW, this.rows.length) * ROW}px`;
    this.scroller.style.height = this.canvas.style.height = height;
    const label = `${counted(this.rows.length, 'member')} and the generations each was in`;
    setAttribute(this.scroller, 'aria-label', label);
    this.choose(null);
    this.surface.redraw();
  }

  domain() {
    const first = this.times[0];
    return [first, Math.max(this.now, first + 1000)];
  }

  clamp(millis) {
    const [low, high] = this.domain();
    return Math.min(high, Math.max(low, millis));
  }

  scale() {
    return linear(this.domain(), [LEFT, Math.max(LEFT + 1, this.chart.surface.width - RIGHT)]);
  }

  /** What is told of a moment. */
  place(millis) {
    const at = before(this.times ?? [], millis);
    if (at < 0) return '';
    const { generation, step } = this.beginnings[at];
    return `generation ${count(generation)} (from step ${count(step)})`;
  }

  /** Points out a row and tells of its member. */
  choose(row) {
    this.chosen = row !== null && row < this.rows.length ? row : null;
    setText(this.readout, this.chosen === null ? '' : this.story(this.rows[this.chosen]));
    this.surface.redraw();
  }

  /** A member's generations, and how long it was there. */
  story({ name, spans }) {
    const parts = [];
    let millis = 0;
    for (let at = 0; at < spans.length; at += 2) {
      const [first, last] = [
        this.beginnings[spans[at]].generation,
        this.beginnings[spans[at + 1]].generation,
      ];
      parts.push(first === last ? count(first) : `${count(first)}–${count(last)}`);
      millis += this.end(spans[at + 1]) - this.times[spans[at]];
    }
    const listed =
      parts.length > 4 ? `${parts.slice(0, 4).join(', ')} and ${parts.length - 4} more` : parts.join(', ');
    const since = moment(this.times[spans[0]], this.now);
    return `${short(name, 40)}: generations ${listed}; since ${since}, ${duration(millis / 1000)} in all`;
  }

  /** When a generation ended: when the next began. */
  end(place) {
    return this.times[place + 1] ?? this.now;
  }

  paint(context, width, height) {
    if (this.rows.length === 0) return;
    const x = this.scale();
    const top = this.scroller.scrollTop;
    const first = Math.floor(top / ROW);
    const last = Math.min(this.rows.length, Math.ceil((top + height) / ROW));
    for (let row = first; row < last; row += 1) this.paintRow(context, row, row * ROW - top, width, x);
    paintMarks(
      context,
      this.times,
      x,
      [LEFT, this.chart.surface.width - RIGHT],
      [0, Math.min(height, last * ROW - top)],
    );
    if (this.cursor.at !== null) verticalLine(context, x(this.cursor.at), 0, height, colour('soft'));
  }

  paintRow(context, row, y, width, x) {
    const { name, spans } = this.rows[row];
    const isChosen = row === this.chosen;
    if (isChosen) {
      context.fillStyle = colour('raised');
      context.fillRect(0, y, width, ROW);
    }
    context.textAlign = 'right';
    context.fillStyle = colour(isChosen ? 'ink' : 'soft');
    context.fillText(fitted(context, short(name, 40), LEFT - 12), LEFT - 7, y + ROW / 2);
    const isHere = spans.at(-1) === this.beginnings.length - 1;
    context.fillStyle = colour(isHere ? 'c0' : 'gone');
    for (let at = 0; at < spans.length; at += 2) {
      const [from, to] = [x(this.times[spans[at]]), x(this.end(spans[at + 1]))];
      context.fillRect(from, y + 4, Math.max(1, to - from), ROW - 8);
    }
  }
}
