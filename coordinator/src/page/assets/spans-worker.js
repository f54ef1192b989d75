// Gets the generations and hands back spans, away from the page's own thread.

import { getJson } from './poll.js';
import { spans } from './spans.js';

addEventListener('message', async ({ data: address }) => {
  try {
    postMessage({ spans: spans((await getJson(address)) ?? []) });
  } catch (error) {
    postMessage({ error: String(error.message ?? error) });
  }
});
