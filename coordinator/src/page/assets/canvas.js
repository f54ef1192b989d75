// What all drawings share: sharp canvases that follow their size and the colour scheme, and a cursor.

let colours = null;

/** The colour of this name in style.css, as it is in the scheme of now. */
export function colour(name) {
  colours ??= getComputedStyle(document.documentElement);
  return colours.getPropertyValue(`--${name}`).trim();
}

const surfaces = new Set();
let due = false;

/** Paints everything that asked for it, once before the next picture of the browser. */
function paintDue() {
  due = false;
  for (const surface of surfaces) surface.paintIfDue();
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  colours = null;
  for (const surface of surfaces) surface.redraw();
});

/** The font of all texts in drawings. */
export const FONT = '11px system-ui, sans-serif';

/** A canvas with a function that paints it; it is painted only when it is due and can be seen. */
export class Surface {
  constructor(canvas, paint) {
    Object.assign(this, { canvas, paint, width: 0, height: 0, isDue: true, isSeen: false });
    surfaces.add(this);
    new ResizeObserver(() => this.measure()).observe(canvas);
    const seen = new IntersectionObserver(
      (entries) => {
        this.isSeen = entries.at(-1).isIntersecting;
        if (this.isSeen) this.ask();
      },
      { rootMargin: '200px' },
    );
    seen.observe(canvas);
  }

  /** Follows the size that the layout gives to the canvas. */
  measure() {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = devicePixelRatio || 1;
    Object.assign(this, { width: clientWidth, height: clientHeight });
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    // At once: a canvas whose size was set is blank until it is painted.
    this.isDue = true;
    if (this.isSeen) this.paintIfDue();
  }

  /** What is shown has changed. */
  redraw() {
    this.isDue = true;
    if (this.isSeen) this.ask();
  }

  ask() {
    if (due) return;
    due = true;
    requestAnimationFrame(paintDue);
  }

  paintIfDue() {
    if (!this.isDue || !this.isSeen || this.width === 0) return;
    this.isDue = false;
    const context = this.canvas.getContext('2d');
    const ratio = this.canvas.width / this.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = FONT;
    context.textBaseline = 'middle';
    this.paint(context, this.width, this.height);
  }
}

/** A place on an axis that several drawings point at together. */
export class Cursor {
  constructor() {
    Object.assign(this, { at: null, listeners: [] });
  }

  /** Calls `listener` whenever the place changes. */
  listen(listener) {
    this.listeners.push(listener);
  }

  /** Points at `at`, or at nothing if it is null. */
  point(at) {
    if (this.at === at) return;
    this.at = at;
    this.listeners.forEach((listener) => listener());
  }
}

/** Lets a pointer over the canvas say where it is: `moved` gets x and y, and null when it has left. */
export function followPointer(canvas, moved) {
  const tell = (event) => moved(event.offsetX, event.offsetY);
  canvas.addEventListener('pointermove', tell);
  canvas.addEventListener('pointerdown', tell);
  canvas.addEventListener('pointerleave', () => moved(null, null));
}

/**
 * Lets arrow keys move over `length()` places on a focused element: `place()` tells the present one or null,
 * `moved` gets the new one, and null on Escape.
 */
export function followKeys(node, [back, forth], length, place, moved) {
  const steps = { [back]: -1, [forth]: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
  node.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') moved(null);
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey || length() === 0) return;
    event.preventDefault();
    const last = length() - 1;
    const from = place() ?? (steps[event.key] < 0 ? last + 1 : -1);
    moved(Math.min(last, Math.max(0, from + steps[event.key])));
  });
}

/** A vertical line, one pixel wide and sharp. */
export function verticalLine(context, x, top, bottom, style) {
  context.fillStyle = style;
  context.fillRect(Math.round(x - 0.5), top, 1, bottom - top);
}

/** The text, shortened to `room` pixels. */
export function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let length = text.length - 1;
  while (length > 0 && context.measureText(`${text.slice(0, length)}…`).width > room) length -= 1;
  return `${text.slice(0, length)}…`;
}

/** Texts under a horizontal axis, inside of [left, right], left out where they would touch. */
export function labelAxis(context, labels, [left, right], y) {
  context.fillStyle = colour('soft');
  context.textAlign = 'left';
  let free = -Infinity;
  for (const { x, text } of labels) {
    const width = context.measureText(text).width;
    const start = Math.max(left, Math.min(right - width, x - width / 2));
    if (start < free) continue;
    context.fillText(text, start, y);
    free = start + width + 10;
  }
}

/** Lines at which generations began; where they are too close to be told apart, short ones at the bottom. */
export function paintMarks(context, marks, scale, [left, right], [top, bottom]) {
  const columns = new Set();
  for (const mark of marks) {
    const x = Math.round(scale(mark) - 0.5);
    if (x >= left && x <= right) columns.add(x);
  }
  const isDense = columns.size > (right - left) / 8;
  context.globalAlpha = isDense ? 0.6 : 0.75;
  for (const x of columns) verticalLine(context, x, isDense ? bottom - 5 : top, bottom, colour('mark'));
  context.globalAlpha = 1;
}
