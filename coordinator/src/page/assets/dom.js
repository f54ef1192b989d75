// Small tools for the document. Whatever comes from the server goes in as text nodes and attributes, never
// as markup.

/** A new element with attributes and children; strings become text. Absent attributes are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** Sets a text only where it changed: an unchanged one keeps the reader's selection. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets an attribute only where it changed. */
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

const known = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in their order: new ones are made by `create`, kept ones
 * are told by `update`.
 */
export function reconcile(parent, items, key, create, update = () => {}) {
  const old = known.get(parent) ?? new Map();
  const kept = new Map();
  items.forEach((item, at) => {
    const name = key(item);
    const node = kept.has(name) ? create(item) : (old.get(name) ?? create(item));
    kept.set(name, node);
    update(node, item, at);
    if (parent.children[at] !== node) parent.insertBefore(node, parent.children[at] ?? null);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  known.set(parent, kept);
}

/**
 * A picture that the server has, or a placeholder: bytes of a dataset's row need not be a picture.
 * Only addresses below api/ are asked for.
 */
export function picture(address, description) {
  const missing = () =>
    el('span', { class: 'picture missing', role: 'img', 'aria-label': description }, 'no image');
  if (typeof address !== 'string' || !address.startsWith('api/')) return missing();
  const image = el('img', { class: 'picture', alt: description, loading: 'lazy', decoding: 'async' });
  image.addEventListener('error', () => image.replaceWith(missing()));
  image.src = address;
  return image;
}

/** A button that shows `step` more of a list's items each time. */
export function moreButton(step, redraw) {
  let shown = step;
  const button = el('button', { type: 'button', class: 'more', hidden: true });
  button.addEventListener('click', () => {
    shown += step;
    redraw();
  });
  /** The items to show of `items`; the button says how many remain. */
  const cut = (items) => {
    const rest = items.length - shown;
    button.hidden = rest <= 0;
    setText(button, `Show ${Math.min(rest, step)} more of ${rest}`);
    return items.slice(0, shown);
  };
  return { button, cut };
}
