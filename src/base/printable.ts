// Foreign text (names of processes, paths, messages of peers), made safe to print. Nothing else in
// the library escapes such text.

/** Characters with an effect on a terminal or a log: controls, text directions, line ends. */
const obeyed = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** Most texts; to build the other pattern takes a millisecond. */
const plain = /^[\x20-\x7e]*$/;
const encoder = new TextEncoder();

const hex = (byte: number): string => `\\x${byte.toString(16).padStart(2, "0")}`;

/** The text with `\xHH` for each byte of such a character. Escaping twice changes nothing. */
export const printable = (text: string): string =>
  plain.test(text)
    ? text
    : text.replace(obeyed, (character) => Array.from(encoder.encode(character), hex).join(""));

/** JSON with `\uXXXX` for such characters: it means the same; the type of what has no JSON. */
export function toJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent) as string | undefined;
  return (text ?? typeof value).replace(obeyed, unicode);
}

/** A line's end between the members is JSON.stringify's own; inside of a string there is none. */
function unicode(character: string): string {
  if (character === "\n") return character;
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
