// A chart of lines over steps or time, with axes, marks of generations and a read-out in its caption.

import { Surface, colour, followKeys, followPointer, labelAxis, paintMarks, verticalLine } from './canvas.js';
import { el, reconcile, setAttribute, setText } from './dom.js';
import { clock, count, isNumber, measure, timeTick } from './format.js';
import * as scales from './scale.js';

const TOP = 8;
const BOTTOM = 22;

/**
 * A chart. Options: `title`, `unit`; `time` for an x axis of unix milliseconds instead of steps; `zero` to
 * begin at zero; `whole` for whole numbers; `stepped` for values that hold until the next; `single` for one
 * line that the title names; `left` and `right`, the room beside the axes; `text` from value to text;
 * `cursor`, shared with other charts; `place` says what more is to be told of an x.
 */
export class LineChart {
  constructor(options) {
    this.options = { left: 48, right: 8, text: measure, place: () => '', ...options };
    this.data = { xs: [], lines: [], marks: [], domain: null, log: false, smooth: false };
    this.build();
    this.surface = new Surface(this.canvas, (...given) => this.paint(...given));
    this.options.cursor.listen(() => {
      this.surface.redraw();
      this.read();
    });
    followPointer(this.canvas, (x) => this.options.cursor.point(x === null ? null : this.snap(x)));
    const { cursor } = this.options;
    const place = () => (cursor.at === null ? null : scales.nearest(this.data.xs, cursor.at));
    const move = (at) => cursor.point(at === null ? null : this.data.xs[at]);
    followKeys(this.canvas, ['ArrowLeft', 'ArrowRight'], () => this.data.xs.length, place, move);
    this.canvas.addEventListener('blur', () => cursor.point(null));
  }

  build() {
    const { title, unit, time, single } = this.options;
    this.where = el('span', { class: 'where' });
    this.legend = el('ul', { class: 'legend' });
    const heading = el('span', { class: 'title' }, title, unit ? el('small', {}, ` ${unit}`) : null);
    // A slider is what assistive technology knows to move along an axis and to tell the values on the way.
    this.canvas = el('canvas', {
      role: 'slider',
      tabindex: '0',
      'aria-label': `${title}${unit ? ` in ${unit}` : ''} by ${time ? 'time' : 'step'}`,
      'aria-roledescription': 'chart',
      'aria-valuenow': '0',
    });
    const caption = el('figcaption', {}, heading, this.legend, this.where);
    this.figure = el('figure', { class: single ? 'chart single' : 'chart' }, caption, this.canvas);
  }

  /**
   * Shows `xs` (ascending) with `lines` of {name, values, colour}, `marks` at some x, over `domain` if it is
   * given, else over all of xs; `log` and `smooth` say how.
   */
  show(data) {
    this.data = { marks: [], domain: null, log: false, smooth: false, ...data };
    const width = this.data.xs.length / 40;
    this.smooth = this.data.smooth ? this.data.lines.map(({ values }) => scales.smoothed(values, width)) : [];
    this.surface.redraw();
    this.read();
  }

  domain() {
    const { xs, domain } = this.data;
    const [low, high] = domain ?? [xs[0] ?? 0, xs.at(-1) ?? 1];
    return high > low ? [low, high] : [low - 0.5, low + 0.5];
  }

  /** The x of the point nearest to a pixel. */
  snap(pixel) {
    const { xs } = this.data;
    if (xs.length === 0) return null;
    const right = Math.max(this.options.left + 1, this.surface.width - this.options.right);
    const wanted = scales.linear(this.domain(), [this.options.left, right]).invert(pixel);
    return this.options.stepped
      ? Math.min(Math.max(wanted, xs[0]), this.domain()[1])
      : xs[scales.nearest(xs, wanted)];
  }

  /** The place in the data that the cursor is at, or the last one. */
  at() {
    const { xs } = this.data;
    const { cursor, stepped } = this.options;
    if (cursor.at === null) return xs.length - 1;
    return stepped ? scales.before(xs, cursor.at) : scales.nearest(xs, cursor.at);
  }

  /** Writes the values at the cursor, or the newest ones, into the caption. */
  read() {
    const { xs, lines } = this.data;
    const { cursor, time, text, place } = this.options;
    const at = this.at();
    const x = cursor.at !== null && this.options.stepped ? cursor.at : xs[at];
    const named = time ? clock(x) : `step ${count(x)}`;
    const more = isNumber(x) ? place(x) : '';
    const where = isNumber(x) ? `${named}${more ? `, ${more}` : ''}` : 'no values yet';
    // Where the cursor is stands at the axis: up here it would move the chart from under the pointer.
    this.named = where;
    setText(this.where, isNumber(x) ? '' : where);
    const make = ({ name }) => el('li', {}, el('i'), el('span', { class: 'name' }, name), el('b'));
    reconcile(
      this.legend,
      lines,
      ({ name }) => name,
      make,
      (item, line) => {
        item.firstElementChild.className = `swatch ${line.colour}`;
        setText(item.lastElementChild, text(line.values[at]));
      },
    );
    const values = lines.map(({ name, values: all }) => `${name} ${text(all[at])}`).join(', ');
    setAttribute(this.canvas, 'aria-valuetext', `${where}: ${values}`);
    setAttribute(this.canvas, 'aria-valuemin', String(xs[0] ?? 0));
    setAttribute(this.canvas, 'aria-valuemax', String(xs.at(-1) ?? 0));
    setAttribute(this.canvas, 'aria-valuenow', String(x ?? 0));
  }

  /** The y axis for the part of the data that is in view. */
  yScale(from, to, range) {
    const { log, lines } = this.data;
    const usable = log ? (value) => (value > 0 ? value : null) : (value) => value;
    const inView = lines.map(({ values }) => scales.extent(values.slice(from, to).map(usable)));
    const found = scales.extent(inView.flatMap((both) => both ?? []));
    if (found === null) return null;
    const domain = log ? scales.paddedLog(found) : scales.padded(found, this.options.zero);
    const wanted = Math.max(2, Math.floor((range[0] - range[1]) / 27));
    const marks = log
      ? scales.logTicks(domain, wanted)
      : scales.ticks(domain, wanted, this.options.whole ? 1 : 0);
    return { scale: (log ? scales.logarithmic : scales.linear)(domain, range), marks };
  }

  paint(context, width, height) {
    const { left } = this.options;
    const box = { left, right: width - this.options.right, top: TOP, bottom: height - BOTTOM };
    if (box.right - box.left < 20) return;
    const { xs } = this.data;
    const domain = this.domain();
    const x = scales.linear(domain, [box.left, box.right]);
    const from = Math.max(0, scales.before(xs, domain[0]));
    const to = Math.min(xs.length, scales.before(xs, domain[1]) + 2);
    const y = this.yScale(from, to, [box.bottom, box.top]);
    this.paintAxes(context, box, x, y, domain);
    if (y === null) return;
    context.save();
    context.beginPath();
    context.rect(box.left, 0, box.right - box.left + 1, height);
    context.clip();
    paintMarks(context, this.data.marks, x, [box.left, box.right], [box.top, box.bottom]);
    this.data.lines.forEach((line, number) => {
      const faint = this.data.smooth ? 0.25 : 1;
      this.paintLine(context, line.values, line.colour, faint, [from, to], x, y.scale, box);
      if (faint < 1)
        this.paintLine(context, this.smooth[number], line.colour, 1, [from, to], x, y.scale, box);
    });
    context.restore();
    this.paintCursor(context, box, x, y.scale);
  }

  paintAxes(context, box, x, y, domain) {
    context.textAlign = 'right';
    for (const { value, text } of y?.marks ?? []) {
      const at = Math.round(y.scale(value));
      context.fillStyle = colour('grid');
      context.fillRect(box.left, at, box.right - box.left, 1);
      context.fillStyle = colour('soft');
      context.fillText(text, box.left - 7, at);
    }
    context.fillStyle = colour('axis');
    context.fillRect(box.left, box.bottom, box.right - box.left, 1);
    const room = Math.max(2, Math.floor((box.right - box.left) / 80));
    const labels = this.options.time ? timeLabels(domain, room) : scales.ticks(domain, room, 1);
    for (const { value } of labels)
      verticalLine(context, x(value) + 0.5, box.bottom, box.bottom + 4, colour('axis'));
    context.fillStyle = colour('soft');
    context.textAlign = 'right';
    context.fillText(this.options.time ? 'time' : 'step', box.left - 7, box.bottom + 13);
    labelAxis(
      context,
      labels.map(({ value, text }) => ({ x: x(value), text })),
      [box.left, box.right + this.options.right],
      box.bottom + 13,
    );
  }

  paintLine(context, values, style, alpha, [from, to], x, y, box) {
    const { xs, log } = this.data;
    context.strokeStyle = context.fillStyle = colour(style);
    context.globalAlpha = alpha;
    context.lineWidth = 1.25;
    context.lineJoin = 'round';
    context.beginPath();
    let previous = null;
    for (let at = from; at < to; at += 1) {
      const value = values[at];
      if (!isNumber(value) || (log && value <= 0)) {
        previous = null;
        continue;
      }
      const [px, py] = [x(xs[at]), y(value)];
      if (previous === null) {
        context.moveTo(px, py);
        // A value between two gaps has no line: a dot shows it.
        if (!isNumber(values[at + 1]) && !this.options.stepped) context.fillRect(px - 1.5, py - 1.5, 3, 3);
      } else {
        if (this.options.stepped) context.lineTo(px, previous);
        context.lineTo(px, py);
      }
      previous = py;
    }
    if (this.options.stepped && previous !== null) context.lineTo(box.right, previous);
    context.stroke();
    context.globalAlpha = 1;
  }

  paintCursor(context, box, x, y) {
    const { cursor, stepped } = this.options;
    const at = this.at();
    if (cursor.at === null || at < 0) return;
    const px = x(stepped ? cursor.at : this.data.xs[at]);
    if (px < box.left - 1 || px > box.right + 1) return;
    verticalLine(context, px, box.top, box.bottom, colour('soft'));
    this.paintWhere(context, box, px);
    for (const { values, colour: style } of this.data.lines) {
      const value = values[at];
      if (!isNumber(value) || (this.data.log && value <= 0)) continue;
      context.beginPath();
      context.arc(px, y(value), 3.5, 0, 2 * Math.PI);
      context.fillStyle = colour(style);
      context.fill();
      context.lineWidth = 1.5;
      context.strokeStyle = colour('ground');
      context.stroke();
    }
  }

  /** Writes where the cursor is over the labels of the axis. */
  paintWhere(context, box, x) {
    const width = context.measureText(this.named).width + 12;
    const right = box.right + this.options.right;
    const start = Math.max(0, Math.min(right - width, x - width / 2));
    context.fillStyle = colour('ground');
    context.fillRect(start - 4, box.bottom + 2, width + 8, BOTTOM);
    context.fillStyle = colour('raised');
    context.fillRect(start, box.bottom + 3, width, BOTTOM - 4);
    context.fillStyle = colour('ink');
    context.textAlign = 'left';
    context.fillText(this.named, start + 6, box.bottom + 13);
  }
}

/** Labels of an axis of time. */
export function timeLabels(domain, room) {
  const { step, values } = scales.timeTicks(domain, room);
  return values.map((value) => ({ value, text: timeTick(value, step) }));
}
