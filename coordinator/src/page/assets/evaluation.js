// The newest evaluation: recall now and before, and what was found for some queries.

import { Cursor } from './canvas.js';
import { LineChart } from './chart.js';
import { byId, el, picture, setText } from './dom.js';
import { count, counted, isNumber, label, natural, percent, short } from './format.js';

const DIRECTIONS = { text_to_image: 'caption → images', image_to_text: 'image → captions' };

/** The table of recall: a row for each direction, a column for each depth. */
function recallTable(recall) {
  const directions = Object.keys(recall ?? {});
  const depths = [...new Set(directions.flatMap((name) => Object.keys(recall[name] ?? {})))].sort(natural);
  const head = depths.map((depth) => el('th', { scope: 'col', class: 'number' }, `R@${short(depth, 20)}`));
  const rows = directions.map((name) => {
    const cells = depths.map((depth) => el('td', { class: 'number' }, percent(recall[name]?.[depth])));
    return el('tr', {}, el('th', { scope: 'row' }, DIRECTIONS[name] ?? label(name)), ...cells);
  });
  return el(
    'table',
    { class: 'recall' },
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Recall'), ...head)),
    el('tbody', {}, ...rows),
  );
}

/** The picture that the evaluation itself drew of queries and their best answers. */
function gridLink(address) {
  const said = 'queries with their best answers; right ones are framed';
  return el('a', { class: 'grid', href: address, title: 'The whole picture' }, picture(address, said));
}

/** The section of the evaluation. */
export class Evaluation {
  constructor() {
    this.cursor = new Cursor();
    this.chart = new LineChart({
      title: 'recall at 1',
      unit: '%',
      cursor: this.cursor,
      zero: true,
      text: (value) => (isNumber(value) ? value.toFixed(1) : '–'),
    });
    this.empty = el('p', { class: 'empty' }, 'No evaluation has been made yet.');
    this.numbers = el('div', { class: 'numbers' });
    this.grid = el('div');
    const top = el('div', { class: 'evaluation-top' }, this.numbers, this.chart.figure);
    this.filled = el('div', { hidden: true }, top, this.grid);
    byId('evaluation-body').append(this.empty, this.filled);
  }

  /** Shows the answer to api/evaluation; null while there is none. */
  show(evaluation) {
    this.empty.hidden = evaluation !== null;
    this.filled.hidden = evaluation === null;
    if (evaluation === null) return;
    const { step, rows, recall, history, grid } = evaluation;
    setText(byId('evaluation-note'), `Of step ${count(step)}, on ${counted(rows, 'row')}`);
    this.numbers.replaceChildren(recallTable(recall));
    const isGiven = typeof grid === 'string' && grid.startsWith('api/');
    this.grid.replaceChildren(...(isGiven ? [gridLink(grid)] : []));
    this.showHistory([...(history ?? [])].sort((one, other) => one.step - other.step));
  }

  /** How recall came to be what it is. */
  showHistory(history) {
    this.chart.figure.hidden = history.length < 2;
    const values = (name) => history.map((entry) => (isNumber(entry[name]) ? entry[name] * 100 : null));
    const lines = [
      { name: DIRECTIONS.text_to_image, values: values('text_to_image_r1'), colour: 'c0' },
      { name: DIRECTIONS.image_to_text, values: values('image_to_text_r1'), colour: 'c1' },
    ];
    this.chart.show({ xs: history.map(({ step }) => step), lines });
  }
}
