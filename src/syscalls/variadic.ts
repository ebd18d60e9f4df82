// Variadic functions where their unnamed arguments go to the stack: Apple's arm64
// (facts: #variadic-functions). A call with a fixed signature puts the first eight arguments into
// registers and the ninth onto the stack, where va_arg looks for the first one without a name.

import { ARGUMENT_REGISTERS, type Signature, variadic } from "../../native/symbols.ts";

type Group = Readonly<Record<string, Signature>>;
type Call = (...args: unknown[]) => number;

/**
 * The same functions, declared with so many fixed arguments that the variable ones lie on the
 * stack.
 */
export function paddedSignatures(group: Group): Record<string, Signature> {
  const padded: Record<string, Signature> = { ...group };
  for (const [name, named] of Object.entries(variadic)) {
    const signature = group[name];
    if (signature === undefined) continue;
    const { args, returns } = signature;
    const fillers = new Array<"i32">(ARGUMENT_REGISTERS - named).fill("i32");
    // each has eight bytes of the stack, and all of them are written
    const rest = args.slice(named).map((type) => (type === "ptr" ? type : "i64"));
    padded[name] = { args: [...args.slice(0, named), ...fillers, ...rest], returns };
  }
  return padded;
}

/** Functions that were opened with padded signatures, to be called as if they had not been. */
export function withPadding(symbols: object): object {
  const calls: Record<string, Call> = { ...(symbols as Record<string, Call>) };
  for (const [name, named] of Object.entries(variadic)) {
    const call = calls[name];
    if (call === undefined) continue;
    const zeros = new Array<number>(ARGUMENT_REGISTERS - named).fill(0);
    calls[name] = (...args) => call(...args.slice(0, named), ...zeros, ...args.slice(named));
  }
  return calls;
}
