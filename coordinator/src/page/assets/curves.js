// Losses, throughput and whatever else is measured, by step.

import { Cursor } from './canvas.js';
import { LineChart } from './chart.js';
import { byId, el, reconcile } from './dom.js';
import { count, label, measure } from './format.js';
import { before } from './scale.js';

const TITLES = { pairs_per_second: ['throughput', 'pairs/s'], step_seconds: ['step time', 's'] };
const LOSS_COLOURS = { loss: 'c0', loss_itc: 'c1', loss_itm: 'c2', loss_mlm: 'c3' };
const FIRST = ['loss', 'loss_itc', 'loss_itm', 'loss_mlm', 'pairs_per_second', 'learning_rate'];
/** What is shown unless the reader chose otherwise; a run that measures nothing of it shows everything. */
const DEFAULT = new Set([...FIRST, 'temperature', 'grad_norm', 'gradient_norm']);

const isLoss = (name) => name === 'loss' || name.startsWith('loss_');

/** A series' title and unit: data_wait_seconds is the data wait in s. */
const titled = (name) =>
  (Object.hasOwn(TITLES, name) ? TITLES[name] : null) ??
  (name.endsWith('_seconds') ? [label(name.slice(0, -'_seconds'.length)), 's'] : [label(name)]);

/** Names in the order people look for them: the losses, throughput, then the others by name. */
export function ordered(names) {
  const rank = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : isLoss(name) ? 3.5 : FIRST.length);
  return [...names].sort((one, other) => rank(one) - rank(other) || one.localeCompare(other, 'en'));
}

/** The section of the curves. */
export class Curves {
  constructor() {
    this.cursor = new Cursor();
    this.series = { steps: [], values: {} };
    this.generations = [];
    this.choice = new Map();
    this.charts = new Map();
    for (const id of ['curves-range', 'curves-smooth', 'curves-log']) {
      byId(id).addEventListener('change', () => this.redraw());
    }
  }

  /** Shows the answer to api/series. */
  show(series) {
    this.series = { steps: series?.steps ?? [], values: series?.values ?? {} };
    this.redraw();
  }

  /** Marks where generations began: a list of {generation, step}. */
  mark(generations) {
    this.generations = [...generations].sort((one, other) => one.step - other.step);
    this.beginnings = this.generations.map(({ step }) => step);
    this.redraw();
  }

  /** Whether a series is shown. */
  isChosen(name, names) {
    return this.choice.get(name) ?? (DEFAULT.has(name) || !names.some((other) => DEFAULT.has(other)));
  }

  /** The charts of the chosen series: the losses together, since they have one unit, the others alone. */
  wanted(names) {
    const chosen = names.filter((name) => this.isChosen(name, names));
    const losses = chosen.filter(isLoss);
    const others = chosen.filter((name) => !isLoss(name));
    const together =
      losses.length > 0 ? [{ key: 'losses', title: 'losses', unit: 'nats', names: losses }] : [];
    const alone = others.map((name) => {
      const [title, unit] = titled(name);
      return { key: `of ${name}`, title, unit, names: [name] };
    });
    return [...together, ...alone];
  }

  /** The figure of this key; one that was taken off the page comes back as it was. */
  figure({ title, unit, key, names }) {
    if (this.charts.has(key)) return this.charts.get(key).figure;
    const place = (step) => {
      const at = before(this.beginnings ?? [], step);
      return at < 0 ? '' : `generation ${count(this.generations[at].generation)}`;
    };
    const chart = new LineChart({
      title,
      unit,
      place,
      cursor: this.cursor,
      text: measure,
      single: key !== 'losses',
      zero: names[0] === 'pairs_per_second' || names[0].endsWith('_seconds'),
    });
    chart.figure.classList.toggle('main', key === 'losses');
    this.charts.set(key, chart);
    return chart.figure;
  }

  redraw() {
    const { steps, values } = this.series;
    const names = ordered(Object.keys(values));
    const share = Number(byId('curves-range').value);
    const [first, last] = [steps[0] ?? 0, steps.at(-1) ?? 1];
    const domain = steps.length > 0 ? [last - (last - first) / share, last] : null;
    const how = { smooth: byId('curves-smooth').checked, marks: this.beginnings ?? [], domain };
    const extra = ['c4', 'c5', 'c6', 'c7'];
    const wanted = this.wanted(names);
    reconcile(
      byId('curves-body'),
      wanted,
      ({ key }) => key,
      (item) => this.figure(item),
      (_, item) => {
        const lines = item.names.map((name, at) => ({
          name: label(name),
          values: values[name],
          colour: item.key === 'losses' ? (LOSS_COLOURS[name] ?? extra[at % extra.length]) : 'c0',
        }));
        const log = byId('curves-log').checked && item.key === 'losses';
        this.charts.get(item.key).show({ ...how, xs: steps, lines, log });
      },
    );
    byId('curves-body').classList.toggle('without-main', wanted[0]?.key !== 'losses');
    this.offer(names);
  }

  /** The boxes that choose what is shown. */
  offer(names) {
    const make = (name) => {
      const box = el('input', { type: 'checkbox' });
      box.addEventListener('change', () => {
        this.choice.set(name, box.checked);
        this.redraw();
      });
      return el('label', { class: 'chip' }, box, el('span', {}, label(name)));
    };
    const list = byId('curves-choice');
    list.hidden = names.length === 0;
    // The legend is the fieldset's first child and stays.
    this.boxes ??= list.appendChild(el('div', { class: 'chip-list' }));
    reconcile(
      this.boxes,
      names,
      (name) => name,
      make,
      (node, name) => {
        node.firstElementChild.checked = this.isChosen(name, names);
      },
    );
    const empty = names.length === 0 ? [el('p', { class: 'empty' }, 'No step has been reported yet.')] : [];
    this.note?.remove();
    this.note = empty[0];
    if (this.note) byId('curves-body').after(this.note);
  }
}
