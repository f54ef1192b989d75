// Asking the coordinator: the run every second, the rest when the run says that it changed.

/** Time between two questions. */
const PAUSE = 1000;
/** How long an answer may take before the coordinator counts as not reachable. */
const PATIENCE = 10e3;

/** The answer to a GET; anything but JSON with a good status is an error that says what came. */
export async function getJson(address) {
  let response;
  try {
    response = await fetch(address, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
  } catch (error) {
    throw new Error(error.name === 'TimeoutError' ? 'no answer in 10 s' : 'no connection', { cause: error });
  }
  if (!response.ok) throw new Error(`answered ${response.status} ${response.statusText}`.trim());
  try {
    return await response.json();
  } catch (error) {
    throw new Error('the answer is not JSON', { cause: error });
  }
}

const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

/** Resolves when the page is looked at. */
function isLookedAt() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => document.addEventListener('visibilitychange', done, { once: true }));
}

const NEVER = Symbol('never asked');

/** Something that is asked for again when its revision changed, one question at a time. */
export class Part {
  constructor({ revision, get, show, trouble }) {
    Object.assign(this, { revision, get, show, trouble, known: NEVER, asking: null });
  }

  /** The next poll asks again, whatever the revision. */
  forget() {
    this.known = NEVER;
  }

  /** Asks if `run` tells of another revision; never fails, a failure is tried again after the next poll. */
  follow(run) {
    const wanted = this.revision(run);
    if (this.asking || wanted === this.known) return this.asking ?? Promise.resolve();
    this.asking = this.ask(wanted).finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  async ask(wanted) {
    let answer;
    try {
      answer = await this.get();
    } catch (error) {
      this.trouble(error.message);
      return;
    }
    this.known = wanted;
    this.trouble(null);
    guarded(() => this.show(answer));
  }
}

/**
 * Polls until the run is over, as `over` tells. `shown` gets each answer to api/run; `failed` gets the time
 * of the first question that found no answer and why, or null when answers come again.
 */
export async function poll({ parts, shown, failed, over }) {
  let since = null;
  for (;;) {
    const began = performance.now();
    try {
      const run = await getJson('api/run');
      // Another coordinator may count its revisions from the start again.
      if (since !== null) parts.forEach((part) => part.forget());
      if (since !== null) failed(null);
      since = null;
      guarded(() => shown(run));
      const followed = parts.map((part) => part.follow(run));
      if (over(run)) return await lastLook(parts, run, followed);
    } catch (error) {
      since ??= Date.now();
      failed(since, error.message);
    }
    await sleep(Math.max(100, PAUSE - (performance.now() - began)));
    await isLookedAt();
  }
}

/** An error of the page's own is told to the browser's console; it is no reason to stop asking. */
function guarded(action) {
  try {
    action();
  } catch (error) {
    reportError(error);
  }
}

/** What a run that is over leaves: asked for until it is there, and not forever. */
async function lastLook(parts, run, followed) {
  await Promise.all(followed);
  for (let tries = 0; tries < 3; tries += 1) {
    await sleep(PAUSE);
    await Promise.all(parts.map((part) => part.follow(run)));
  }
}
