// Rows that could not be used, and what was taken instead.

import { byId, el, moreButton, picture, reconcile, setText } from './dom.js';
import { count, counted, isNumber, short } from './format.js';

/** A row's card. */
function card({ step, row, substitute, reason }) {
  const image = isNumber(row) ? `api/rows/${row}/image` : null;
  const instead = isNumber(substitute) ? `, row ${count(substitute)} instead` : '';
  return el(
    'li',
    { class: 'card' },
    picture(image, `the stored bytes of row ${count(row)}`),
    el(
      'div',
      { class: 'card-text' },
      el('b', {}, `Row ${count(row)}`),
      el('p', { class: 'why' }, short(reason, 240)),
      el('small', {}, `step ${count(step)}${instead}`),
    ),
  );
}

/** The section of the quarantine. */
export class Quarantine {
  constructor() {
    this.rows = [];
    this.list = el('ul', { class: 'cards' });
    this.more = moreButton(12, () => this.redraw());
    this.empty = el('p', { class: 'empty' }, 'All rows could be used so far.');
    byId('quarantine-body').append(this.empty, this.list, this.more.button);
  }

  /** Shows the answer to api/quarantine. */
  show(rows) {
    const known = new Set();
    const newest = [...(rows ?? [])].sort((one, other) => other.step - one.step);
    this.rows = newest.filter((row) => {
      const name = `${row.step} ${row.row}`;
      return known.has(name) ? false : known.add(name);
    });
    this.redraw();
  }

  redraw() {
    this.empty.hidden = this.rows.length > 0;
    setText(
      byId('quarantine-note'),
      this.rows.length > 0 ? `${counted(this.rows.length, 'row')}, newest first` : '',
    );
    reconcile(this.list, this.more.cut(this.rows), ({ step, row }) => `${step} ${row}`, card);
  }
}
