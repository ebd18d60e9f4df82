// Static pages as a reader meets them: their links, read from the HTML, and a real browser.

import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { root, slower } from "./child.ts";
import { tempDir } from "./tmp.ts";

/** One page: where its links lead, what can be linked to, and what it loads by itself. */
interface Html {
  readonly links: string[];
  readonly loaded: string[];
  readonly anchors: Set<string>;
}

function read(text: string): Html {
  const html: Html = { links: [], loaded: [], anchors: new Set() };
  const note = (list: string[], value: string | null): void => {
    if (value !== null) list.push(value.replaceAll("&amp;", "&"));
  };
  const rewriter = new HTMLRewriter()
    .on("a[href]", { element: (a) => note(html.links, a.getAttribute("href")) })
    .on("link[href]", { element: (link) => note(html.loaded, link.getAttribute("href")) })
    .on("[src]", { element: (one) => note(html.loaded, one.getAttribute("src")) })
    .on("[id]", { element: (one) => void html.anchors.add(one.getAttribute("id") ?? "") });
  rewriter.transform(text);
  return html;
}

const isOutside = (link: string): boolean =>
  /^(?:[a-z][a-z+.-]*:|\/\/)/i.test(link) && !link.startsWith("data:");

/** The pages in `folder`, by their path in it. */
export class Site {
  readonly folder: string;
  readonly pages: ReadonlyMap<string, Html>;
  readonly #files: ReadonlySet<string>;

  constructor(folder: string) {
    this.folder = folder;
    const files = Array.from(new Bun.Glob("**/*").scanSync({ cwd: folder, dot: true })).sort();
    this.#files = new Set(files);
    const pages = files.filter((file) => file.endsWith(".html"));
    this.pages = new Map(
      pages.map((file) => [file, read(readFileSync(join(folder, file), "utf8"))]),
    );
  }

  /** Why a link on `page` leads nowhere; null where it is good, or leads outside. */
  wrongLink(page: string, link: string): string | null {
    if (isOutside(link) || link.startsWith("data:")) return null;
    const [path = "", anchor = ""] = link.split("#", 2).map(decodeURIComponent);
    const file = path === "" ? page : posix.normalize(posix.join(posix.dirname(page), path));
    if (!this.#files.has(file)) return `${page}: no file ${file}`;
    if (anchor === "" || this.pages.get(file)?.anchors.has(anchor)) return null;
    return `${page}: no #${anchor} in ${file}`;
  }

  /** Links and files that are not there, and files from outside, which a page must not load. */
  complaints(): string[] {
    return [...this.pages].flatMap(([page, { links, loaded }]) => [
      ...[...links, ...loaded].flatMap((link) => this.wrongLink(page, link) ?? []),
      ...loaded.filter(isOutside).map((link) => `${page}: loads ${link}`),
    ]);
  }
}

/** Serves a folder on a free port of this machine. */
export function serveFolder(folder: string): Bun.Server<undefined> {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch({ url }) {
      const file = Bun.file(join(folder, decodeURIComponent(new URL(url).pathname)));
      return (await file.exists()) ? new Response(file) : new Response("", { status: 404 });
    },
  });
}

const TIMEOUT_MS = 30_000;

const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
  ...["--disable-background-networking", "--disable-component-update"],
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const LOOK = readFileSync(join(root, "test/fixtures/site/look.js"), "utf8");

export type Scheme = "light" | "dark";

/** Chromium with an empty profile; it notes what goes wrong while a page is open. */
export class Browser implements AsyncDisposable {
  readonly page: Page;
  readonly #noted: string[] = [];
  readonly #context: BrowserContext;
  readonly #profile: Disposable;

  private constructor(page: Page, profile: Disposable, allowed: string) {
    this.page = page;
    this.#context = page.context();
    this.#profile = profile;
    const note = (what: string): void => void this.#noted.push(what);
    page.on("console", (said) => {
      if (said.type() === "error" || said.type() === "warning") note(`console: ${said.text()}`);
    });
    page.on("pageerror", ({ message }) => note(`error: ${message}`));
    page.on("requestfailed", (request) => note(`failed: ${request.url()}`));
    page.on("response", (response) => {
      if (response.status() >= 400) note(`${response.status()}: ${response.url()}`);
    });
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(allowed) && !/^(?:data|blob):/.test(url)) note(`asks for ${url}`);
    });
  }

  /** URLs that begin with `allowed` may be asked for. */
  static async start(allowed: string): Promise<Browser> {
    const profile = tempDir();
    const context = await chromium.launchPersistentContext(profile.path, {
      executablePath: Bun.which("chromium") ?? "/usr/bin/chromium",
      headless: true,
      timeout: TIMEOUT_MS * slower,
      args: FLAGS,
    });
    context.setDefaultTimeout(TIMEOUT_MS * slower);
    return new Browser(context.pages()[0] ?? (await context.newPage()), profile, allowed);
  }

  /** What went wrong since the last time. */
  noted(): string[] {
    return this.#noted.splice(0);
  }

  async prefer(colorScheme: Scheme, width: number): Promise<void> {
    await this.page.emulateMedia({ colorScheme });
    await this.page.setViewportSize({ width, height: 800 });
  }

  /** What a reader of the open page would complain about. */
  look(scheme: Scheme): Promise<string[]> {
    return this.page.evaluate(`(() => {\n${LOOK}\nreturn look("${scheme}");\n})()`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
    this.#profile[Symbol.dispose]();
  }
}
