// The workers: how long the phases of their steps take, the slowest first.

import { Surface, colour, followKeys, followPointer, labelAxis, verticalLine } from './canvas.js';
import { byId, el, reconcile, setAttribute, setText } from './dom.js';
import { NONE, count, counted, isNumber, seconds, short } from './format.js';
import { compare, histogram, isTogether, isWaiting } from './phases.js';
import { linear, ticks } from './scale.js';

/** Rows of the table; the others are in the distribution. */
const ROWS = 20;
/** A heartbeat older than this is pointed out. */
const LATE = 5;
const BINS = 40;

/** The class that gives a phase its colour. */
const shade = (name, at) => `c${at % 8}${isWaiting(name) ? ' waiting' : ''}`;

/** What is out of the ordinary with a worker. */
function remarks({ member, times, isStraggler }, run) {
  const late = member.seconds_since_heartbeat;
  return [
    isStraggler ? ['bad', `${times.toFixed(1)} × median`] : null,
    isNumber(late) && late > LATE ? ['bad', `no heartbeat for ${seconds(late)}`] : null,
    member.spare ? ['plain', 'spare'] : null,
    member.draining ? ['warn', 'draining'] : null,
    !member.seated && !member.spare ? ['warn', 'no seat'] : null,
    member.phase && member.phase !== run.state ? ['plain', short(member.phase, 30)] : null,
  ].filter((remark) => remark !== null);
}

/** Whether a worker is meant by what was typed. */
function isMeant({ member }, typed) {
  if (typed === '') return true;
  const texts = [member.member, member.host, `${member.host}:${member.pid}`].map((text) =>
    `${text}`.toLowerCase(),
  );
  return String(member.rank) === typed || texts.some((text) => text.includes(typed));
}

/** A new row of the table. */
function makeRow() {
  return el(
    'tr',
    {},
    el('td', { class: 'rank' }),
    el('th', { scope: 'row' }, el('div', { class: 'who' }, ...['b', 'small', 'span'].map((tag) => el(tag)))),
    el('td', { class: 'number' }),
    el('td', { class: 'bar-cell' }, el('div', { class: 'bar', role: 'img' })),
    el('td', { class: 'number beat' }),
  );
}

/** The section of the workers. */
export class Workers {
  constructor() {
    this.run = { members: [] };
    this.build();
    byId('workers-find').addEventListener('input', () => this.redraw());
    this.surface = new Surface(this.canvas, (...given) => this.paint(...given));
    followPointer(this.canvas, (x) => this.choose(x === null ? null : this.at(x)));
    followKeys(
      this.canvas,
      ['ArrowLeft', 'ArrowRight'],
      () => BINS,
      () => this.chosen ?? null,
      (at) => this.choose(at),
    );
    this.canvas.addEventListener('blur', () => this.choose(null));
  }

  build() {
    const head = (text, kind = '') => el('th', { scope: 'col', class: kind }, text);
    this.phases = el('tbody');
    const phaseHead = ['median', '90 %', 'longest'].map((text) => head(text, 'number'));
    this.phaseTable = el(
      'table',
      { class: 'phases' },
      el('thead', {}, el('tr', {}, head('Phase'), ...phaseHead)),
      this.phases,
    );
    this.readout = el('span', { class: 'where', 'aria-live': 'polite' });
    this.canvas = el('canvas', { class: 'histogram', role: 'img', tabindex: '0' });
    const title = el('span', { class: 'title' }, 'own work ', el('small', {}, 'workers by seconds a step'));
    const caption = el('figcaption', {}, title);
    this.distribution = el(
      'figure',
      { class: 'chart' },
      caption,
      this.canvas,
      el('div', { class: 'caption-line' }, this.readout),
    );
    this.axis = el('span', { class: 'bar-axis' }, el('span', {}, '0'), el('span'));
    this.body = el('tbody');
    const bars = el('th', { scope: 'col', class: 'bar-cell' }, this.axis);
    const heads = [
      head('Rank', 'rank'),
      head('Worker'),
      head('Own work', 'number'),
      bars,
      head('Heartbeat', 'number beat'),
    ];
    this.table = el('table', { class: 'workers' }, el('thead', {}, el('tr', {}, ...heads)), this.body);
    this.rest = el('p', { class: 'note' });
    this.empty = el('p', { class: 'empty' }, 'No worker is here.');
    const aside = el('div', { class: 'workers-aside' }, this.phaseTable, this.distribution);
    this.layout = el('div', { class: 'workers-layout' }, el('div', {}, this.table, this.rest), aside);
    byId('workers-body').append(this.empty, this.layout);
  }

  /** Shows the members of api/run. */
  show(run) {
    this.run = run;
    this.redraw();
  }

  redraw() {
    const members = this.run.members ?? [];
    this.empty.hidden = members.length > 0;
    this.layout.hidden = members.length === 0;
    byId('workers-find').hidden = members.length <= ROWS;
    const all = compare(members);
    this.all = all;
    const typed = byId('workers-find').value.trim().toLowerCase();
    const meant = all.rows.filter((row) => isMeant(row, typed));
    const stragglers = all.rows.filter(({ isStraggler }) => isStraggler).length;
    const slow = stragglers > 0 ? `; ${counted(stragglers, 'straggler')}` : '';
    const together = all.names.filter(isTogether);
    const without =
      together.length > 0
        ? ` without ${short(together.join(', '))}, in which workers also wait for each other`
        : '';
    setText(byId('workers-note'), all.known.length > 0 ? `Slowest first, by own work${without}${slow}.` : '');
    this.showRows(meant.slice(0, ROWS));
    const more = meant.length - ROWS;
    this.rest.hidden = more <= 0 && typed === '';
    const found = typed === '' ? counted(meant.length, 'worker') : `${counted(meant.length, 'worker')} found`;
    setText(this.rest, more > 0 ? `The slowest ${ROWS} of ${found}.` : found);
    this.showPhases();
    this.distribution.hidden = all.known.length <= ROWS;
    if (!this.distribution.hidden) this.showDistribution();
  }

  showRows(rows) {
    const longest = Math.max(0, ...rows.map(({ total }) => total));
    setText(this.axis.lastElementChild, longest > 0 ? seconds(longest) : '');
    reconcile(
      this.body,
      rows,
      ({ member }) => member.member,
      makeRow,
      (node, row) => this.showRow(node, row, longest),
    );
  }

  showRow(node, row, longest) {
    const { member } = row;
    const [rank, head, own, cell, beat] = node.children;
    const [name, place, notes] = head.firstElementChild.children;
    setText(rank, member.rank === null || member.rank === undefined ? NONE : count(member.rank));
    setText(name, short(member.member, 40));
    setText(place, `${short(member.host, 40)}:${short(member.pid)}`);
    const make = ([kind, text]) => el('span', { class: `tag ${kind}` }, text);
    reconcile(notes, remarks(row, this.run), ([kind, text]) => `${kind} ${text}`, make);
    setText(own, seconds(row.own));
    setText(beat, seconds(member.seconds_since_heartbeat));
    node.classList.toggle('straggler', row.isStraggler);
    const { names } = this.all;
    const bar = cell.firstElementChild;
    reconcile(
      bar,
      names,
      (name) => name,
      () => el('span'),
      (part, name, at) => {
        setAttribute(part, 'class', shade(name, at));
        setAttribute(part, 'title', `${short(name, 40)} ${seconds(row.parts[at])}`);
        part.style.width = `${longest > 0 ? (row.parts[at] / longest) * 100 : 0}%`;
      },
    );
    const told = names.map((name, at) => `${short(name, 40)} ${seconds(row.parts[at])}`).join(', ');
    setAttribute(bar, 'aria-label', isNumber(row.own) ? told : 'nothing is known');
  }

  /** The phases with their colours: the legend of the bars. */
  showPhases() {
    const { phases, own } = this.all;
    const rows = phases.length > 0 ? [...phases, { name: 'own work', isSum: true, ...own }] : [];
    this.phaseTable.hidden = rows.length === 0;
    const make = () =>
      el(
        'tr',
        {},
        el('th', { scope: 'row' }, el('i'), el('span')),
        ...[1, 2, 3].map(() => el('td', { class: 'number' })),
      );
    reconcile(
      this.phases,
      rows,
      ({ name, isSum }) => `${Boolean(isSum)} ${name}`,
      make,
      (node, row, at) => {
        const [name, median, most, longest] = node.children;
        setAttribute(name.firstElementChild, 'class', row.isSum ? '' : `swatch ${shade(row.name, at)}`);
        setText(name.lastElementChild, short(row.name, 40));
        setText(median, seconds(row.median));
        setText(most, seconds(row.most));
        setText(longest, seconds(row.longest));
        node.classList.toggle('sum', Boolean(row.isSum));
      },
    );
  }

  showDistribution() {
    const { known, own } = this.all;
    this.bins = histogram(
      known.map((row) => row.own),
      [0, own.longest * 1.02 || 1],
      BINS,
    );
    const text = `own work of ${counted(known.length, 'worker')}: half take less than ${seconds(own.median)}`;
    setAttribute(this.canvas, 'aria-label', `${text}, the slowest ${seconds(own.longest)}`);
    this.choose(this.chosen ?? null);
  }

  scale() {
    const end = this.bins.from + this.bins.width * BINS;
    return linear([this.bins.from, end], [48, Math.max(49, this.surface.width - 8)]);
  }

  at(pixel) {
    const bin = Math.floor((this.scale().invert(pixel) - this.bins.from) / this.bins.width);
    return bin >= 0 && bin < BINS ? bin : null;
  }

  choose(bin) {
    this.chosen = bin;
    if (bin === null) setText(this.readout, '');
    else {
      const from = this.bins.from + bin * this.bins.width;
      const range = `${seconds(from)} to ${seconds(from + this.bins.width)}`;
      setText(this.readout, `${range}: ${counted(this.bins.counts[bin], 'worker')}`);
    }
    this.surface.redraw();
  }

  paint(context, width, height) {
    if (!this.bins) return;
    const { from, width: step, counts } = this.bins;
    const bottom = height - 22;
    const x = this.scale();
    const most = Math.max(1, ...counts);
    const y = linear([0, most * 1.06], [bottom, 8]);
    context.textAlign = 'right';
    for (const { value, text } of ticks([0, most * 1.06], 3, 1)) {
      context.fillStyle = colour('grid');
      context.fillRect(48, Math.round(y(value)), width - 56, 1);
      context.fillStyle = colour('soft');
      context.fillText(text, 41, Math.round(y(value)));
    }
    counts.forEach((length, bin) => {
      if (length === 0) return;
      const [left, right] = [x(from + bin * step), x(from + (bin + 1) * step)];
      // One straggler among thousands must still be seen.
      const top = Math.min(y(length), bottom - 3);
      const isSlow = from + bin * step > this.all.own.median * 1.25;
      context.fillStyle = colour(bin === this.chosen ? 'accent' : isSlow ? 'bad' : 'c0');
      context.fillRect(left, top, Math.max(1, right - left - 1), bottom - top);
    });
    context.fillStyle = colour('axis');
    context.fillRect(48, bottom, width - 56, 1);
    const labels = ticks([from, from + step * BINS], 4).map(({ value }) => ({
      x: x(value),
      text: seconds(value),
    }));
    for (const { x: at } of labels) verticalLine(context, at + 0.5, bottom, bottom + 4, colour('axis'));
    labelAxis(context, labels, [48, width], bottom + 13);
  }
}
