// What the seconds of the workers' steps say. Pure functions. Tandem's workers tell of data, encode, gather, learn, vote and
// update; other phases are taken as their names say.

import { isNumber } from './format.js';
import { quantile } from './scale.js';

/**
 * Phases of nothing but talking with the others. Workers of one step take the same time in all, as the fast
 * wait here for the slow: it is the time outside of these that tells who holds the others up.
 */
const WAITING = /reduce|gather|broadcast|barrier|vote|sync|collective|commit|wait_for/;
/**
 * Phases of work with such talk in between: their time tells nothing of who is slow either. In learn gradients
 * are averaged over the ranks while backward goes on.
 */
const MIXED = new Set(['learn']);

/** Whether a phase is one of waiting for others. */
export const isWaiting = (phase) => WAITING.test(phase);

/** Whether a phase says nothing of a worker's own speed. */
export const isTogether = (phase) => isWaiting(phase) || MIXED.has(phase);

/** The phases of all workers, in the order in which they are told, those that they spend together last. */
export function phaseNames(members) {
  const names = new Set();
  for (const { seconds } of members) for (const name in seconds) names.add(name);
  const all = [...names];
  return [...all.filter((name) => !isTogether(name)), ...all.filter(isTogether)];
}

/** A worker's seconds: {member, parts by phase, own, total}; `own` is NaN where nothing is known. */
function timed(member, names) {
  const parts = names.map((name) =>
    isNumber(member.seconds?.[name]) ? Math.max(0, member.seconds[name]) : 0,
  );
  const sum = (test) => parts.reduce((all, part, at) => (test(names[at]) ? all + part : all), 0);
  const isKnown = names.some((name) => isNumber(member.seconds?.[name]));
  return { member, parts, own: isKnown ? sum((name) => !isTogether(name)) : NaN, total: sum(() => true) };
}

/** Half of them take less, nine of ten take less, the slowest takes this. */
function spread(values) {
  const sorted = Float64Array.from(values).sort();
  return { median: quantile(sorted, 0.5), most: quantile(sorted, 0.9), longest: sorted.at(-1) ?? NaN };
}

/**
 * Everything that is told of the workers' steps: `names` of the phases, `rows` from the slowest to the
 * fastest and then those that tell nothing, `phases` with their spread, `own` with the spread of the own
 * work.
 */
export function compare(members) {
  const names = phaseNames(members);
  const rows = members.map((member) => timed(member, names));
  const known = rows.filter(({ own }) => isNumber(own));
  const own = spread(known.map((row) => row.own));
  const off = spread(known.map((row) => Math.abs(row.own - own.median))).median;
  for (const row of rows) {
    row.times = row.own / own.median;
    // Far from the others, and by more than they are from each other.
    row.isStraggler = known.length > 1 && row.times > 1.25 && row.own - own.median > 4 * off;
    // Steps of a twentieth: workers that are about as fast keep their places, and the table its peace.
    row.rank = row.member.rank ?? Infinity;
    row.order = isNumber(row.times) ? Math.round(row.times * 20) : -1;
  }
  rows.sort((one, other) => other.order - one.order || one.rank - other.rank);
  const phases = names.map((name, at) => ({ name, ...spread(known.map(({ parts }) => parts[at])) }));
  return { names, rows, known, phases, own };
}

/** Counts of `values` in about `wanted` bins of equal width: {from, width, counts}. */
export function histogram(values, [low, high], wanted) {
  const width = (high - low) / wanted || 1;
  const counts = new Array(wanted).fill(0);
  for (const value of values)
    counts[Math.min(wanted - 1, Math.max(0, Math.floor((value - low) / width)))] += 1;
  return { from: low, width, counts };
}
