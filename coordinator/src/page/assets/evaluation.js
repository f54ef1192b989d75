// The newest evaluation: recall now and before, and what was found for some queries.

import { Cursor } from './canvas.js';
import { LineChart } from './chart.js';
import { byId, el, moreButton, picture, reconcile, setText } from './dom.js';
import { count, counted, isNumber, label, measure, natural, percent, short } from './format.js';

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

/** An address of a picture that a later evaluation may give to another one. */
const ofStep = (address, step) => (typeof address === 'string' ? `${address}?step=${step}` : null);

/** One of the things that were found, with a word where it is right. */
function foundItem({ image, caption, right, score }, step, at) {
  const said = typeof caption === 'string' ? short(caption, 240) : '';
  const description = `found ${at + 1}: ${said || 'no caption'}`;
  const verdict = right ? el('span', { class: 'verdict' }, '✓ right') : null;
  const line = el('div', { class: 'found-line' }, verdict, el('span', { class: 'score' }, measure(score, 3)));
  const shown = image ? [picture(ofStep(image, step), description)] : [];
  return el(
    'li',
    { class: right ? 'found right' : 'found' },
    ...shown,
    line,
    el('p', { class: 'said' }, said),
  );
}

/** Whether captions were looked for: then what was found has no pictures. */
const isImageQuery = ({ found }) => (found ?? []).length > 0 && found.every(({ image }) => !image);

/** An example: the query, and what was found for it. */
function exampleCard(example, step) {
  const isImage = isImageQuery(example);
  const found = (example.found ?? []).map((item, at) => foundItem(item, step, at));
  const caption = typeof example.caption === 'string' ? short(example.caption, 240) : '';
  const own = example.image
    ? [picture(ofStep(example.image, step), isImage ? 'the query' : 'the picture of the query')]
    : [];
  const query = el(
    'div',
    { class: 'query' },
    el('small', {}, isImage ? 'Captions found for' : 'Images found for'),
    ...(isImage ? [] : [el('p', { class: 'asked' }, caption || 'no caption')]),
    ...own,
    isImage || own.length === 0 ? null : el('small', {}, 'its own picture'),
    ...(isImage && caption ? [el('p', { class: 'said' }, caption)] : []),
  );
  return el(
    'li',
    { class: isImage ? 'example captions' : 'example' },
    query,
    el('ol', { class: 'found-list' }, ...found),
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
    this.list = el('ol', { class: 'examples' });
    this.more = moreButton(4, () => this.redraw());
    const top = el('div', { class: 'evaluation-top' }, this.numbers, this.chart.figure);
    this.filled = el('div', { hidden: true }, top, this.grid, this.list, this.more.button);
    byId('evaluation-body').append(this.empty, this.filled);
  }

  /** Shows the answer to api/evaluation; null while there is none. */
  show(evaluation) {
    this.evaluation = evaluation;
    this.empty.hidden = evaluation !== null;
    this.filled.hidden = evaluation === null;
    if (evaluation === null) return;
    const { step, rows, recall, history, grid } = evaluation;
    setText(byId('evaluation-note'), `Of step ${count(step)}, on ${counted(rows, 'row')}`);
    this.numbers.replaceChildren(recallTable(recall));
    const isGiven = typeof grid === 'string' && grid.startsWith('api/');
    this.grid.replaceChildren(...(isGiven ? [gridLink(grid)] : []));
    this.showHistory([...(history ?? [])].sort((one, other) => one.step - other.step));
    this.redraw();
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

  /** The examples that are to be seen. */
  redraw() {
    const { examples, step } = this.evaluation;
    const numbered = (examples ?? []).map((example, at) => ({ example, name: `${step} ${at}` }));
    reconcile(
      this.list,
      this.more.cut(numbered),
      ({ name }) => name,
      ({ example }) => exampleCard(example, step),
    );
  }
}
