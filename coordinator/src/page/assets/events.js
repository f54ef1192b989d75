// What happened: events of all kinds, and the checkpoints among them.

import { byId, el, moreButton, reconcile, setAttribute, setText } from './dom.js';
import { count, counted, isNumber, moment, short } from './format.js';

/** A cell with a time that machines can read too. */
function timeCell(millis, now) {
  const at = new Date(millis);
  const stamp = isNumber(millis) && !Number.isNaN(at.getTime()) ? at.toISOString() : undefined;
  return el('td', { class: 'time' }, el('time', { datetime: stamp, title: stamp }, moment(millis, now)));
}

/** The section of the events. */
export class Events {
  constructor() {
    this.events = [];
    this.hidden = new Set();
    this.more = moreButton(15, () => this.redraw());
    this.kinds = el('div', { class: 'chip-list' });
    this.chips = el('fieldset', { class: 'chips' }, el('legend', {}, 'Kinds'), this.kinds);
    this.body = el('tbody');
    const heads = ['Time', 'Kind', 'What'].map((text) =>
      el('th', { scope: 'col', class: text.toLowerCase() }, text),
    );
    this.table = el('table', { class: 'events' }, el('thead', {}, el('tr', {}, ...heads)), this.body);
    this.empty = el('p', { class: 'empty' });
    byId('events-body').append(this.chips, this.table, this.empty, this.more.button);
    this.redraw();
  }

  /** Shows the answer to api/events. */
  show(events) {
    this.events = [...(events ?? [])].sort((one, other) => other.number - one.number);
    this.redraw();
  }

  redraw() {
    const now = Date.now();
    const kinds = new Map();
    for (const { kind } of this.events) kinds.set(String(kind), (kinds.get(String(kind)) ?? 0) + 1);
    this.offer([...kinds].sort(([one], [other]) => one.localeCompare(other, 'en')));
    const wanted = this.events.filter(({ kind }) => !this.hidden.has(String(kind)));
    const make = ({ unix_millis: millis, kind, text }) =>
      el(
        'tr',
        {},
        timeCell(millis, now),
        el('td', {}, el('span', { class: 'kind', 'data-kind': short(kind, 30) }, short(kind, 30))),
        el('td', { class: 'what' }, short(text, 600)),
      );
    reconcile(this.body, this.more.cut(wanted), ({ number }) => number, make);
    this.table.hidden = wanted.length === 0;
    this.empty.hidden = wanted.length > 0;
    setText(this.empty, this.events.length === 0 ? 'Nothing has happened yet.' : 'None of the chosen kinds.');
    setText(byId('events-note'), this.events.length > 0 ? 'Newest first' : '');
  }

  /** The boxes that choose kinds. */
  offer(kinds) {
    this.chips.hidden = kinds.length < 2;
    const make = ([kind]) => {
      const box = el('input', { type: 'checkbox', checked: true });
      box.addEventListener('change', () => {
        if (box.checked) this.hidden.delete(kind);
        else this.hidden.add(kind);
        this.redraw();
      });
      return el('label', { class: 'chip' }, box, el('span', {}, short(kind, 30)), el('small'));
    };
    reconcile(
      this.kinds,
      kinds,
      ([kind]) => kind,
      make,
      (node, [, number]) => {
        setText(node.lastElementChild, count(number));
      },
    );
  }
}

/** The section of the checkpoints. */
export class Checkpoints {
  constructor() {
    this.newest = el('p', { class: 'newest' });
    this.body = el('tbody');
    const heads = ['Time', 'Committed'].map((text) =>
      el('th', { scope: 'col', class: text.toLowerCase() }, text),
    );
    this.table = el('table', { class: 'events' }, el('thead', {}, el('tr', {}, ...heads)), this.body);
    this.more = moreButton(10, () => this.redraw());
    this.committed = [];
    byId('checkpoints-body').append(this.newest, this.table, this.more.button);
  }

  /** Shows the newest checkpoint of api/run. */
  showRun({ committed_checkpoint: step }) {
    const has = isNumber(step) && step > 0;
    setText(this.newest, has ? `The newest is of step ${count(step)}.` : 'There is none yet.');
    setAttribute(this.newest, 'class', has ? 'newest' : 'empty');
  }

  /** Shows those in the answer to api/events. */
  show(events) {
    this.committed = (events ?? []).filter(({ kind }) => kind === 'committed').reverse();
    this.redraw();
  }

  redraw() {
    const now = Date.now();
    const make = ({ unix_millis: millis, text }) =>
      el('tr', {}, timeCell(millis, now), el('td', { class: 'what' }, short(text, 600)));
    reconcile(this.body, this.more.cut(this.committed), ({ number }) => number, make);
    this.table.hidden = this.committed.length === 0;
    const text =
      this.committed.length > 0 ? `${counted(this.committed.length, 'commit')} among the newest events` : '';
    setText(byId('checkpoints-note'), text);
  }
}
