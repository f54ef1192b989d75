// Who was alive when: from the members of every generation to spans of generations. It runs beside the page,
// in a worker, because a long run of thousands of workers has millions of memberships.

import { natural } from './format.js';

/**
 * The generations' beginnings, and for each member its spans, each the places of its first and last
 * generation in the list. Members are ordered by arrival, then by name.
 */
export function spans(generations) {
  const places = new Map();
  const found = [];
  let previous = [];
  generations.forEach(({ members }, generation) => {
    const now = [];
    (members ?? []).forEach((name, at) => {
      // Most members keep their place from one generation to the next: no look-up for those.
      let member = previous[at];
      if (member === undefined || found[member].name !== name) member = places.get(name);
      if (member === undefined) {
        member = found.length;
        places.set(name, member);
        found.push({ name, spans: [] });
      }
      const all = found[member].spans;
      if (all.length > 0 && all.at(-1) === generation - 1) all[all.length - 1] = generation;
      else if (all.at(-1) !== generation) all.push(generation, generation);
      now.push(member);
    });
    previous = now;
  });
  const beginnings = generations.map(({ generation, unix_millis: millis, world_size: world, step }) => {
    return { generation, millis, world, step };
  });
  found.sort((one, other) => one.spans[0] - other.spans[0] || natural(one.name, other.name));
  return { beginnings, members: found };
}

/** The place of the generation before which a member last came or went, `generations` being all. */
export const lastChange = ({ spans }, generations) =>
  spans.at(-1) < generations - 1 ? spans.at(-1) + 1 : spans.at(-2);

/** Whether a member was not in all generations. */
export const cameOrWent = (member, generations) =>
  !(member.spans.length === 2 && member.spans[0] === 0 && member.spans[1] === generations - 1);
