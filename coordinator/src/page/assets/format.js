// Numbers, durations and times as people read them.

/** What stands where a value is missing. */
export const NONE = '–';

/** Whether a value from the server is a number that can be shown. */
export const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** A whole number with separators: 1,200. */
export const count = (value) => (isNumber(value) ? whole.format(value) : NONE);

/** A number with its noun in the right form: 1 worker, 4 workers. */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? '' : 's'}`;

/** A share as per cent: 97.0 %. */
export const percent = (value, digits = 1) =>
  isNumber(value) ? `${(value * 100).toFixed(digits)}\u202f%` : NONE;

/** A measured value with `digits` significant digits; very small and very large ones with an exponent. */
export function measure(value, digits = 4) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-3 || size >= 1e7) return trimExponent(value.toExponential(digits - 2));
  return size >= 1000 ? whole.format(value) : value.toPrecision(digits);
}

/** 2.50e-4 becomes 2.5e-4, 1.0e+7 becomes 1e7. */
export const trimExponent = (text) => text.replace(/\.?0*e\+?/, 'e');

/** The time of a part of a step: 320 ms, 1.24 s. */
export function seconds(value) {
  if (!isNumber(value)) return NONE;
  if (value === 0) return '0 s';
  if (value >= 100) return duration(value);
  if (value >= 1) return `${value.toFixed(2)} s`;
  const millis = value * 1000;
  return `${millis >= 10 ? millis.toFixed(0) : millis.toFixed(1)} ms`;
}

/** A span of time in its two largest units: 4 s, 3 min 5 s, 1 h 23 min, 2 d 4 h. */
export function duration(value) {
  if (!isNumber(value) || value < 0) return NONE;
  const total = Math.round(value);
  const units = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const first = units.findIndex(([size]) => total >= size);
  if (first < 0) return '0 s';
  const [size, name] = units[first];
  const text = `${count(Math.floor(total / size))} ${name}`;
  const next = units[first + 1];
  const rest = next ? Math.floor((total % size) / next[0]) : 0;
  return rest > 0 ? `${text} ${rest} ${next[1]}` : text;
}

const two = (value) => String(value).padStart(2, '0');

/** The time of day: 14:03:09. */
export function clock(millis) {
  const at = new Date(millis);
  if (!isNumber(millis) || Number.isNaN(at.getTime())) return NONE;
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

/** The day: 21 Sep, with the year if it is not that of `now`. */
export function day(millis, now) {
  const at = new Date(millis);
  if (!isNumber(millis) || Number.isNaN(at.getTime())) return NONE;
  const year = at.getFullYear() === new Date(now).getFullYear() ? '' : `\u00a0${at.getFullYear()}`;
  return `${at.getDate()}\u00a0${MONTHS[at.getMonth()]}${year}`;
}

/** The time of day, and the day too if it is not that of `now`. */
export function moment(millis, now) {
  const [time, date] = [clock(millis), day(millis, now)];
  return time === NONE || date === day(now, now) ? time : `${date} ${time}`;
}

/** The time of day without seconds; the day instead of it at midnight. */
export function timeTick(millis, step) {
  const text = clock(millis);
  if (step >= 86400e3) return day(millis, millis);
  return step >= 60e3 ? text.slice(0, 5) : text;
}

/** A text of anybody's, cut where it would fill the page; what is no text at all is left out. */
export function short(text, most = 80) {
  if (text === null || text === undefined) return '';
  const whole = String(text);
  return whole.length > most ? `${whole.slice(0, most)}…` : whole;
}

/** The name of a series as a label: learning_rate becomes learning rate. */
export const label = (name) => short(name).replaceAll('_', ' ');

/** Order in which people expect names with numbers: 2-0 before 10-0. */
export const natural = new Intl.Collator('en', { numeric: true }).compare;
