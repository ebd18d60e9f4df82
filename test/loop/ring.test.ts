// The queue without an object of its own, against an array.

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  append,
  entries,
  type Link,
  prepend,
  without,
  withoutFirst,
} from "../../src/loop/waiter-ring.ts";

class Entry implements Link<Entry> {
  next: Entry | null = null;
}

type Step = (last: Entry | null, model: Entry[]) => Entry | null;

const steps = (at: number): Record<string, Step> => ({
  append: (last, model) => {
    model.push(new Entry());
    return append(last, model.at(-1)!);
  },
  prepend: (last, model) => {
    model.unshift(new Entry());
    return prepend(last, model[0]!);
  },
  withoutFirst: (last, model) => {
    if (last === null) return null;
    const gone = model.shift()!;
    const left = withoutFirst(last);
    expect(gone.next).toBeNull();
    return left;
  },
  without: (last, model) => {
    if (last === null) return null;
    const [gone] = model.splice(at % model.length, 1);
    const left = without(last, gone!);
    expect(gone!.next).toBeNull();
    return left;
  },
  stranger: (last) => {
    if (last === null) return null;
    const stranger = new Entry();
    append(null, stranger);
    expect(without(last, stranger)).toBe(last);
    return last;
  },
});

const names = Object.keys(steps(0));

test("a ring holds what an array would, in its order", () => {
  const step = fc.tuple(fc.constantFrom(...names), fc.nat(20));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (taken) => {
      const model: Entry[] = [];
      let last: Entry | null = null;
      for (const [name, at] of taken) {
        last = steps(at)[name]!(last, model);
        expect(entries(last)).toEqual(model);
        expect(last).toBe(model.at(-1) ?? null);
      }
    }),
  );
});
