// The documents of the site: README.md, docs/ and what they link to, as a tree of Markdown files
// that typedoc makes pages of. A link to a program, a folder or another text leads to a page, too,
// which is made here: the site needs nothing beside it.

import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, extname, join, normalize } from "node:path";

const root = join(import.meta.dir, "../..");

/** One document. */
interface Page {
  /** Where it is from, relative to the root. */
  readonly path: string;
  readonly text: string;
  /** Pages that stand below it in the navigation. */
  readonly children: readonly string[];
}

const PICTURES = new Set([".svg", ".png"]);
const LANGUAGES: Readonly<Record<string, string>> = { ".py": "python", ".c": "c", ".ts": "ts" };
/** A fence, or a link within the repository. */
const PART = /^```.*?^```$|\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)/gms;

export const INDEX = "docs/README.md";
const START = "README.md";
const OTHERS = ["SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"];

/** Paths that a document links to, relative to the root. */
function linksOf(path: string, text: string): string[] {
  return Array.from(text.matchAll(PART), ([, to]) => to)
    .filter((to) => to !== undefined)
    .map((to) => normalize(join(dirname(path), to)).replace(/\/$/, ""));
}

/** The comment that a program begins with: its first paragraph. */
function purposeOf(path: string): string {
  const comment = /^(?:#!.*\n)?((?:(?:\/\/|#) .*\n)+)/.exec(readFileSync(join(root, path), "utf8"));
  return (comment?.[1] ?? "")
    .replace(/^(?:\/\/|#) /gm, "")
    .replaceAll("\n", " ")
    .trim();
}

function folderPage(path: string): Page {
  const files = readdirSync(join(root, path)).sort();
  const entries = files.map((name) => {
    const purpose = purposeIfFile(join(path, name));
    return `- [${name}](${basename(path)}/${name})${purpose === "" ? "" : `: ${purpose}`}`;
  });
  const children = files.map((name) => join(path, name));
  return { path, text: `# ${path}\n\n${entries.join("\n")}\n`, children };
}

const purposeIfFile = (path: string): string =>
  statSync(join(root, path)).isDirectory() ? "" : purposeOf(path);

function filePage(path: string): Page {
  const code = readFileSync(join(root, path), "utf8").trimEnd();
  const language = LANGUAGES[extname(path)] ?? "text";
  return { path, text: `# ${path}\n\n\`\`\`\`${language}\n${code}\n\`\`\`\`\n`, children: [] };
}

function pageOf(path: string): Page {
  if (statSync(join(root, path)).isDirectory()) return folderPage(path);
  if (extname(path) !== ".md") return filePage(path);
  return { path, text: readFileSync(join(root, path), "utf8"), children: [] };
}

/** Those that are read first, and all that can be reached from them. */
function allPages(): Map<string, Page> {
  const pages = new Map<string, Page>();
  const wanted = [START, ...globSync("docs/*.md", { cwd: root }).sort(), ...OTHERS];
  for (const path of wanted) {
    if (pages.has(path) || PICTURES.has(extname(path))) continue;
    const page = pageOf(path);
    pages.set(path, page);
    wanted.push(...page.children, ...linksOf(path, page.text));
  }
  return pages;
}

/** Where a page stands in the tree: what is not Markdown gets that ending. */
const fileOf = (path: string): string => (extname(path) === ".md" ? path : `${path}.md`);

/** The page's name in its URL: docs/x.md is "x", bench/README.md is "bench". */
function slugOf(path: string): string {
  if (path === INDEX) return "index";
  const name = path.replace(/^docs\//, "").replace(/\/README\.md$|\.md$/, "");
  return name.replaceAll("/", "-").toLowerCase();
}

/** The lists of docs/README.md: guides, then protocols. */
function listed(index: Page): string[][] {
  const lists = index.text.match(/(?:^- .*\n(?: {2}.*\n)*)+/gm) ?? [];
  return lists.map((list) => linksOf(INDEX, list));
}

/** Links to what is not Markdown lead to its page. */
function linked({ path, text, children }: Page): string {
  const below = children.length > 0 ? dirname(path) : null;
  return text.replace(PART, (whole, to: string | undefined, anchor = "") => {
    if (to === undefined) return whole;
    const target = normalize(join(below ?? dirname(path), to)).replace(/\/$/, "");
    if (PICTURES.has(extname(target))) return whole;
    return `](${to.replace(/\/$/, "")}${fileOf(target) === target ? "" : ".md"}${anchor})`;
  });
}

function writePage(dir: string, page: Page, group: string): void {
  const title = /^# (.+)$/m.exec(page.text)?.[1]?.replaceAll("`", "") ?? page.path;
  const children = page.children.map(
    (child) => `  - ${basename(page.path)}/${fileOf(basename(child))}`,
  );
  const front = [
    `title: ${JSON.stringify(title)}`,
    `slug: ${slugOf(page.path)}`,
    `group: ${group}`,
    ...(children.length > 0 ? ["children:", ...children] : []),
  ];
  const file = join(dir, fileOf(page.path));
  mkdirSync(dirname(file), { recursive: true });
  const head = page.path === START ? "" : `---\n${front.join("\n")}\n---\n\n`;
  writeFileSync(file, `${head}${linked(page)}`);
}

/** Pictures go along. */
function copyPictures(dir: string, pages: Iterable<Page>): void {
  for (const { path, text } of pages) {
    for (const to of linksOf(path, text)) {
      if (!PICTURES.has(extname(to)) || !existsSync(join(root, to))) continue;
      mkdirSync(dirname(join(dir, to)), { recursive: true });
      cpSync(join(root, to), join(dir, to));
    }
  }
}

/** What typedoc is given: the start page, and the others in the order of the navigation. */
export interface Documents {
  readonly readme: string;
  readonly documents: readonly string[];
}

/** Write the tree of documents into `dir`. */
export function writeDocuments(dir: string): Documents {
  const pages = allPages();
  const [guides = [], protocols = []] = listed(pages.get(INDEX)!);
  const below = new Set(Array.from(pages.values(), ({ children }) => children).flat());
  const groupOf = (path: string): string => {
    if (path === INDEX || guides.includes(path)) return "Guides";
    return protocols.includes(path) ? "Protocols" : "More";
  };
  for (const page of pages.values()) writePage(dir, page, groupOf(page.path));
  copyPictures(dir, pages.values());
  const order = new Set([INDEX, ...guides, ...protocols, ...pages.keys()]);
  const documents = [...order].filter((path) => path !== START && !below.has(path));
  const inTree = (path: string): string => join(dir, fileOf(path));
  return { readme: inTree(START), documents: documents.map(inTree) };
}
