// From values to pixels and back, and where an axis has its ticks. Pure functions.

import { count, isNumber, trimExponent } from './format.js';

/** A straight scale from `[low, high]` to `[from, to]`. */
export function linear([low, high], [from, to]) {
  const factor = (to - from) / (high - low || 1);
  const scale = (value) => from + (value - low) * factor;
  scale.invert = (pixel) => low + (pixel - from) / (factor || 1);
  return scale;
}

/** A logarithmic scale; both ends of its domain are above zero. */
export function logarithmic([low, high], range) {
  const inner = linear([Math.log10(low), Math.log10(high)], range);
  const scale = (value) => inner(Math.log10(value));
  scale.invert = (pixel) => 10 ** inner.invert(pixel);
  return scale;
}

/** The distance of about `wanted` ticks: 1, 2 or 5 times a power of ten. */
export function niceStep(span, wanted) {
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  // The borders are the geometric means of neighbours, so that none is preferred.
  const factor = [1, 2, 5].find((_, at) => rough / power < Math.sqrt([2, 10, 50][at])) ?? 10;
  return factor * power;
}

/** The multiples of `step` in `[low, high]`, without the noise of adding it up. */
export function multiples(low, high, step) {
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  if (!(last - first < 1000)) return [];
  return Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step);
}

/** Ticks of a straight axis, with their texts; `least` keeps an axis of whole numbers whole. */
export function ticks([low, high], wanted, least = 0) {
  const step = Math.max(niceStep(high - low || 1, wanted), least);
  return multiples(low, high, step).map((value) => ({ value, text: tickText(value, step) }));
}

/** Ticks of a logarithmic axis: powers of ten, with 2 and 5 between them while they are few. */
export function logTicks([low, high], wanted) {
  const decades = Math.log10(high / low);
  // Within less than a decade the marks of a straight axis are easier to read.
  if (decades < 0.7) return ticks([low, high], wanted).filter(({ value }) => value > 0);
  const factors = decades < wanted / 2 ? [1, 2, 5] : [1];
  const powers = multiples(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)), 1);
  const all = powers.flatMap((power) => factors.map((factor) => factor * 10 ** power));
  const inside = all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  const every = Math.max(1, Math.ceil(inside.length / (wanted + 2)));
  return inside.filter((_, at) => at % every === 0).map((value) => ({ value, text: tickText(value, value) }));
}

/** A tick's text, with as many decimals as the distance of the ticks asks for. */
export function tickText(value, step) {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (step < 0.9e-3) {
    // As many digits as tell neighbours apart.
    const digits = Math.max(0, Math.floor(Math.log10(size) + 1e-9) - Math.floor(Math.log10(step) + 1e-9));
    return size < 0.01 ? trimExponent(value.toExponential(digits)) : value.toFixed(digits + Math.ceil(-Math.log10(size)));
  }
  if (step >= 1e6) return `${Number((value / 1e6).toPrecision(6))}M`;
  if (step >= 1e4) return `${Number((value / 1e3).toPrecision(6))}k`;
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return decimals > 0 ? value.toFixed(decimals) : count(value);
}

const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
].map((value) => value * 1000);

/** Ticks of an axis of unix milliseconds, at full minutes and hours of local time. */
export function timeTicks([low, high], wanted) {
  const rough = (high - low) / Math.max(1, wanted);
  const step = TIME_STEPS.find((candidate) => candidate >= rough * 0.7) ?? Math.ceil(rough / 864e5) * 864e5;
  const shift = new Date(low).getTimezoneOffset() * 60e3;
  const values = multiples(low - shift, high - shift, step).map((value) => value + shift);
  return { step, values };
}

/** The smallest and largest of the numbers, or null if there is none. */
export function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!isNumber(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

/** An extent with air around it, from zero if `zero` says so. */
export function padded([low, high], zero) {
  if (zero) return [Math.min(0, low), high > 0 ? high * 1.08 : 1];
  const span = high - low || Math.abs(high) * 0.2 || 1;
  return [low - span * 0.06, high + span * 0.06];
}

/** An extent above zero with air around it, for a logarithmic scale. */
export function paddedLog([low, high]) {
  const air = Math.max((high / low) ** 0.06, 1.02);
  return [low / air, high * air];
}

/** The place of the value nearest to `wanted` in an ascending list; -1 in an empty one. */
export function nearest(values, wanted) {
  let [low, high] = [0, values.length - 1];
  if (high < 0) return -1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= wanted) low = middle;
    else high = middle;
  }
  return Math.abs(values[high] - wanted) < Math.abs(values[low] - wanted) ? high : low;
}

/** The place of the last value that is at most `wanted` in an ascending list; -1 if all are above. */
export function before(values, wanted) {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The values smoothed by a running mean that forgets over about `width` of them; gaps stay gaps. */
export function smoothed(values, width) {
  const keep = 1 - 1 / Math.max(1, width);
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    if (!isNumber(value)) return null;
    sum = sum * keep + value;
    weight = weight * keep + 1;
    return sum / weight;
  });
}

/** The value below which a share of the sorted numbers lies. */
export const quantile = (sorted, share) =>
  sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
