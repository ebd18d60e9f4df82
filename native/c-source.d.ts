// `import text from "./file.c" with { type: "text" }`, for the type checker.

declare module "*.c" {
  const text: string;
  export default text;
}
