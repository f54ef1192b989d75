// Runs that are no runs: hostile, or blank.

import { BEGAN, common } from './scenarios.mjs';

export const HOSTILE = '<script>window.broken = true</script><img src=x onerror="window.broken = true">';
const LONG = 'w'.repeat(3000);

/** A run whose texts attack the page and whose numbers are not there; `blank` has nothing at all. */
export function hostile() {
  const bad = (more) => ({
    member: HOSTILE,
    host: LONG,
    pid: null,
    rank: 0,
    seated: true,
    phase: HOSTILE,
    applied_step: null,
    seconds_since_heartbeat: null,
    spare: false,
    draining: false,
    lanes: null,
    seconds: {},
    ...more,
  });
  return (name) => {
    if (name === 'series')
      return {
        steps: [1, 2, 3, 4],
        values: {
          loss: [null, 'NaN', null, 3],
          [HOSTILE]: [null, null, null, null],
          [LONG]: [1, null, 1e300, -1e300],
          constructor: [1, 1, 1, 1],
        },
      };
    if (name === 'generations')
      return [
        { generation: 1, unix_millis: BEGAN, world_size: null, step: null, members: [HOSTILE, LONG, LONG] },
        { generation: 2, unix_millis: BEGAN, world_size: 2, step: 0, members: [] },
      ];
    if (name === 'events')
      return [
        { number: 1, unix_millis: 1e20, kind: HOSTILE, text: LONG },
        { number: 2, unix_millis: null, kind: 'committed', text: HOSTILE },
      ];
    if (name === 'quarantine')
      return [
        { step: 3, row: 18, substitute: null, reason: HOSTILE },
        { step: 3, row: 19, substitute: 21, reason: LONG },
        { step: 3, row: 19, substitute: 21, reason: '' },
      ];
    if (name === 'evaluation') {
      return {
        step: 10,
        rows: null,
        recall: { text_to_image: { 1: null, [HOSTILE]: 0.1 }, [LONG]: {} },
        history: [{ step: 1, text_to_image_r1: null }, { step: 2 }],
        grid: 'javascript:alert(1)',
      };
    }
    const members = [
      bad(),
      bad({
        member: LONG,
        host: HOSTILE,
        rank: null,
        lanes: [0, 5],
        seconds: { [HOSTILE]: 0.5, [LONG]: null },
      }),
      bad({ member: 'x', lanes: [null, 3], rank: 2, seconds: { data: -1, vote: 'NaN' } }),
    ];
    return {
      ...common(0, 1),
      run: HOSTILE,
      reason: LONG,
      state: HOSTILE,
      steps: 0,
      committed_checkpoint: null,
      pairs_per_second: null,
      workers: null,
      min_workers: null,
      max_workers: null,
      lanes: null,
      started_unix_millis: null,
      goodput: null,
      learning_rate_scale: HOSTILE,
      members,
      revision: { series: 1, events: 1, quarantine: 1, evaluation: 1 },
    };
  };
}

/** A run of which nothing is known yet. */
export function blank() {
  return (name) => {
    if (name === 'series') return { steps: [], values: {} };
    if (name === 'evaluation') return null;
    if (name !== 'run') return [];
    return {
      ...common(0, 0),
      state: 'waiting',
      reason: 'waiting for workers: 0 of 4 are ready (run.workers)',
      committed_checkpoint: 0,
      pairs_per_second: null,
      workers: 0,
      min_workers: 1,
      max_workers: 8,
      lanes: 64,
      goodput: null,
      members: [],
      revision: { series: 0, events: 0, quarantine: 0, evaluation: 0 },
    };
  };
}
