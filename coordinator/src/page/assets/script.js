// Tandem's live page. Asks the coordinator and hands its answers to the sections; each section is a module.

import { Curves } from './curves.js';
import { byId, el, setText } from './dom.js';
import { Evaluation } from './evaluation.js';
import { Checkpoints, Events } from './events.js';
import { clock } from './format.js';
import { Generations } from './generations.js';
import { Speed, howItEnded, isOver, notReachable, showBanner, showHeader } from './header.js';
import { Lanes } from './lanes.js';
import { Part, getJson, poll } from './poll.js';
import { Quarantine } from './quarantine.js';
import { Workers } from './workers.js';

const curves = new Curves();
const workers = new Workers();
const generations = new Generations();
const lanes = new Lanes();
const evaluation = new Evaluation();
const events = new Events();
const checkpoints = new Checkpoints();
const quarantine = new Quarantine();
const speed = new Speed();
let begun = null;

/** Shows at a section's head why its part of the answers did not come. */
function troubleAt(id, name = id) {
  const line = el('p', { class: 'trouble', hidden: true });
  byId(`${id}-body`).before(line);
  return (why) => {
    line.hidden = why === null;
    setText(line, why === null ? '' : `api/${name}: ${why}; asking again`);
  };
}

/** Asks for the generations in a worker, which makes spans of them. */
function getSpans() {
  const worker = new Worker(new URL('spans-worker.js', import.meta.url), { type: 'module' });
  const answer = new Promise((done, failed) => {
    worker.addEventListener('error', () => failed(new Error('spans-worker.js cannot be run')));
    worker.addEventListener('message', ({ data }) => {
      if (data.error) failed(new Error(data.error));
      else done(data.spans);
    });
  });
  worker.postMessage(new URL('api/generations', document.baseURI).href);
  return answer.finally(() => worker.terminate());
}

/** A part of the answers that has its own revision. */
const part = (name, id, show) =>
  new Part({
    revision: (run) => run.revision?.[name],
    get: () => getJson(`api/${name}`),
    show,
    trouble: troubleAt(id, name),
  });

const parts = [
  part('series', 'curves', (series) => curves.show(series)),
  part('events', 'events', (found) => {
    events.show(found);
    checkpoints.show(found);
  }),
  part('quarantine', 'quarantine', (rows) => quarantine.show(rows)),
  part('evaluation', 'evaluation', (found) => evaluation.show(found)),
  new Part({
    // Generations have no revision of their own: they begin and end with these.
    revision: (run) => `${run.generation} ${run.state}`,
    get: getSpans,
    show: (spans) => {
      begun = spans.beginnings.at(-1) ?? null;
      generations.show(spans);
      curves.mark(spans.beginnings);
    },
    trouble: troubleAt('generations'),
  }),
];

/** Shows an answer to api/run. */
function showRun(run) {
  speed.note(run);
  showHeader(run, speed.perSecond(run, begun));
  workers.show(run);
  lanes.show(run);
  checkpoints.showRun(run);
  generations.tick(run.unix_millis);
  const over = isOver(run);
  if (over) showBanner(howItEnded(run), run.state === 'failed' ? 'bad' : 'good');
  const polled = `Asked every second; the newest answer is of ${clock(run.unix_millis)}.`;
  setText(byId('polling'), over ? 'The run is over: nothing more is asked. Reload to look again.' : polled);
}

/** Says that the coordinator does not answer, or that it does again. */
function showFailure(since, why) {
  document.body.classList.toggle('stale', since !== null);
  showBanner(since === null ? null : notReachable(since, why));
}

poll({ parts, shown: showRun, failed: showFailure, over: isOver });
