// npm run docs: the pages as a reader has them, in Chromium: no dead link, no error, nothing asked
// for from outside, a search that finds, both colour schemes, and a narrow screen.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import manifest from "../../package.json";
import { root, run, slower } from "../support/child.ts";
import { facts } from "../support/facts.ts";
import { documents, textOf } from "../support/markdown.ts";
import { peer, peerTest } from "../support/peers.ts";
import { Browser, type Scheme, Site, serveFolder } from "../support/site.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";

const TIMEOUT_MS = 120_000;
const NARROW = 360;
const WIDE = 1280;
const views: readonly (readonly [Scheme, number])[] = [
  ["light", NARROW],
  ["dark", NARROW],
  ["dark", WIDE],
  ["light", WIDE],
];
/** Of programs and of the reference one in so many is looked at; links are read in all of them. */
const EVERY = 12;

let dir: TempDir;
let site: Site;
let server: ReturnType<typeof serveFolder>;
let browser: Browser;

beforeAll(async () => {
  dir = tempDir();
  const out = dir.file("site");
  const command = [process.execPath, join(root, "scripts/docs.ts"), out];
  const env = { NO_COLOR: "1", FORCE_COLOR: undefined };
  const { code, stdout, stderr } = await run(command, { env, timeoutMs: TIMEOUT_MS });
  if (code !== 0) throw new Error(`npm run docs: ${code}\n${stdout}\n${stderr}`);
  site = new Site(out);
  server = serveFolder(out);
  if (peer("chromium").available) browser = await Browser.start(server.url.href);
}, TIMEOUT_MS * slower);

afterAll(async () => {
  await browser?.[Symbol.asyncDispose]();
  await server?.stop(true);
  dir.remove();
});

const browserTest = (name: string, fn: () => Promise<void>): void =>
  peerTest(name, ["chromium"], fn, TIMEOUT_MS);

const urlOf = (page: string): string => new URL(page, server.url).href;

/** Each view of a page, and what is wrong with it. */
async function complaintsAbout(url: string): Promise<string[]> {
  const found: string[] = [];
  const [[first, width]] = views as [(typeof views)[number]];
  await browser.prefer(first, width);
  await browser.page.goto(url, { waitUntil: "load" });
  for (const [scheme, width] of views) {
    await browser.prefer(scheme, width);
    found.push(...(await browser.look(scheme)).map((what) => `${scheme}, ${width}: ${what}`));
  }
  return [...found, ...browser.noted()].map((what) => `${url}: ${what}`);
}

describe("the pages", () => {
  test("there is one for each guide, door and public class", () => {
    const guides = documents.filter((file) => file !== "README.md" && file !== "docs/README.md");
    const pages = guides.map((file) => file.replace(/\.md$/, ".html"));
    const doors = Object.keys(manifest.exports).filter((key) => /^\.\/[\w-]+$/.test(key));
    const modules = doors.map((key) => `modules/bunix_${key.slice(2)}.html`);
    const wanted = ["index.html", "docs/index.html", "docs/security.html", ...pages, ...modules];
    wanted.push("classes/bunix_socket.StreamSocket.html", "docs/examples-dbus.ts.html");
    expect(wanted.filter((page) => !site.pages.has(page))).toEqual([]);
    expect(site.pages.size).toBeGreaterThan(300);
  });

  test("no link of any page is dead, and nothing is loaded from outside", () => {
    expect(site.complaints()).toEqual([]);
    const links = Array.from(site.pages.values(), (page) => page.links.length);
    expect(links.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(5_000);
  });

  test("each fact can be linked to", () => {
    const { anchors } = site.pages.get("docs/facts.html")!;
    expect(facts().filter(({ anchor }) => !anchors.has(anchor))).toEqual([]);
  });

  test("the README's picture is there", () => {
    expect(site.pages.get("index.html")?.loaded).toContain("media/picture.svg");
  });
});

describe("in a browser", () => {
  /** Looks at each of them until one has something wrong. */
  async function lookAt(pages: readonly string[], min: number): Promise<void> {
    expect(pages.length).toBeGreaterThan(min);
    for (const page of pages) expect(await complaintsAbout(urlOf(page))).toEqual([]);
  }

  const isProgram = (page: string): boolean => /^docs\/(?:examples|test)-/.test(page);
  const isDocument = (page: string): boolean => /^(?:docs\/|index)/.test(page);
  const chosen = (wanted: (page: string) => boolean): string[] =>
    [...site.pages.keys()].filter(wanted);
  const some = (pages: readonly string[]): string[] => pages.filter((_, i) => i % EVERY === 0);

  browserTest("every guide can be read, in both colour schemes, on a narrow screen", () =>
    lookAt(
      chosen((page) => isDocument(page) && !isProgram(page)),
      30,
    ),
  );

  browserTest("so can programs", () => lookAt(some(chosen(isProgram)), 3));

  browserTest("so can the reference", () => lookAt(some(chosen((page) => !isDocument(page))), 15));

  browserTest("the picture of the README can be read in both", async () => {
    await browser.page.goto(urlOf("media/picture.svg"));
    const fills = (): Promise<string[]> =>
      browser.page.evaluate(
        `Array.from(document.querySelectorAll("text, rect"), (one) => getComputedStyle(one).fill)`,
      );
    const schemes: string[][] = [];
    for (const scheme of ["light", "dark"] as const) {
      await browser.prefer(scheme, WIDE);
      schemes.push(await fills());
    }
    expect(new Set(schemes[0]).intersection(new Set(schemes[1])).size).toBe(0);
    browser.noted();
  });

  browserTest("the navigation, which a program makes, leads to every guide and door", async () => {
    await browser.page.goto(urlOf("docs/index.html"));
    const all = "#tsd-nav-container a";
    await browser.page.locator(all).first().waitFor({ state: "attached" });
    const links = await browser.page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("${all}"), (a) => a.getAttribute("href"))`,
    );
    expect(links.flatMap((to) => site.wrongLink("docs/index.html", to) ?? [])).toEqual([]);
    for (const page of site.pages.keys()) {
      if (/^docs\/[^.]+\.html$/.test(page)) expect(links).toContain(`../${page}`);
      if (page.startsWith("modules/")) expect(links).toContain(`../${page}`);
    }
    expect(browser.noted()).toEqual([]);
  });

  /** Types into the search; the results' links. */
  async function search(words: string): Promise<string[]> {
    await browser.page.locator("#tsd-search-trigger").click();
    await browser.page.locator("#tsd-search-input").fill(words);
    await browser.page.locator("#tsd-search-results a").first().waitFor();
    return browser.page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("#tsd-search-results a"), (a) => a.href)`,
    );
  }

  browserTest("the search finds a function and a guide, and leads there", async () => {
    await browser.prefer("light", WIDE);
    await browser.page.goto(urlOf("docs/who-is-calling.html"));
    const found = await search("socketPair");
    const page = "functions/bunix_socket.socketPair.html";
    expect(found.slice(0, 3)).toContain(urlOf(page));
    await browser.page.locator(`#tsd-search-results a[href$="${page}"]`).first().click();
    await browser.page.waitForURL(urlOf(page));
    expect(await browser.page.title()).toContain("socketPair");
    expect(await search("downtime")).toContain(urlOf("docs/upgrade.html"));
    expect(browser.noted()).toEqual([]);
  });

  browserTest("a colour scheme that the reader chose stays", async () => {
    await browser.prefer("light", WIDE);
    await browser.page.goto(urlOf("docs/locks.html"));
    await browser.page.getByText("Settings", { exact: true }).click();
    await browser.page.locator("#tsd-theme").selectOption("dark");
    expect(await browser.look("dark")).toEqual([]);
    await browser.page.goto(urlOf("docs/graph.html"));
    expect(await browser.look("dark")).toEqual([]);
    expect(await browser.look("light")).not.toEqual([]);
    await browser.page.evaluate("localStorage.clear()");
    expect(browser.noted()).toEqual([]);
  });

  browserTest("it needs no server", async () => {
    const folder = pathToFileURL(`${site.folder}/`).href;
    await using local = await Browser.start(folder);
    await local.page.goto(`${folder}index.html`);
    await local.page.getByRole("link", { name: "who is calling" }).first().click();
    await local.page.waitForURL(/who-is-calling\.html$/);
    await local.page.locator("#tsd-search-trigger").click();
    await local.page.locator("#tsd-search-input").fill("peerCredentials");
    await local.page.locator("#tsd-search-results a").first().waitFor();
    // its icons come from a program there, after Chromium has refused the file of them
    const icons = await local.page.evaluate<string[]>(
      `Array.from(document.querySelectorAll("use"), (use) => use.getAttribute("href"))`,
    );
    expect(icons.length).toBeGreaterThan(10);
    expect(icons.filter((icon) => !icon.startsWith("#"))).toEqual([]);
    expect(local.noted().filter((what) => !what.includes("assets/icons.svg"))).toEqual([]);
  });
});

describe("the checks find what they look for", () => {
  const BAD = `<!doctype html><title>bad</title><link rel="icon" href="data:,">
    <body style="background: #fff; color: #888">pale
    <p id="here"><a href="#here">good</a> <a href="#there">bad</a> <a href="no.html">bad</a>
    <a href="https://bun.sh">outside</a> <img src="no.svg" width="9" height="9">
    <pre style="width: 500px; font-size: 9px; white-space: pre-wrap">code</pre>
    <script src="https://example.com/x.js"></script>
    <script>console.error("no"); nothing()</script>`;

  test("links", () => {
    const bad = dir.file("bad");
    mkdirSync(bad, { recursive: true });
    writeFileSync(join(bad, "index.html"), BAD);
    expect(new Site(bad).complaints()).toEqual([
      "index.html: no #there in index.html",
      "index.html: no file no.html",
      "index.html: no file no.svg",
      "index.html: loads https://example.com/x.js",
    ]);
  });

  browserTest("pages", async () => {
    using bad = serveFolder(dir.file("bad"));
    await using other = await Browser.start(bad.url.href);
    await other.prefer("dark", NARROW);
    await other.page.goto(`${bad.url.href}index.html`);
    const [seen, noted] = [(await other.look("dark")).join("\n"), other.noted().join("\n")];
    expect(seen).toMatch(/^dark was asked for: luminance 1/m);
    expect(seen).toMatch(/^\d+ pixels wide on a screen of 360$/m);
    expect(seen).toMatch(/^contrast 3\.\d+: <body.* "pale/m);
    expect(seen).toMatch(/^an image without a picture: no\.svg$/m);
    expect(seen).toMatch(/^code of 9 pixels: <pre/m);
    expect(seen).toMatch(/^rows of code are broken/m);
    expect(seen).toMatch(/^does not scroll/m);
    expect(seen).toMatch(/^out of the screen/m);
    expect(noted).toMatch(/^asks for https:\/\/example\.com\/x\.js$/m);
    expect(noted).toMatch(/^failed: https:/m);
    expect(noted).toMatch(/^404: .*no\.svg$/m);
    expect(noted).toMatch(/^console: no$/m);
    expect(noted).toMatch(/^error: nothing is not defined$/m);
  });
});

test("the workflow publishes what npm run docs makes", () => {
  const workflow = readFileSync(join(root, ".github/workflows/site.yml"), "utf8");
  const { out } = JSON.parse(textOf("typedoc.json")) as { out: string };
  expect(workflow).toContain("- run: npm run docs\n");
  expect(workflow).toMatch(
    new RegExp(`upload-pages-artifact@v\\d+\\n\\s+with:\\n\\s+path: ${out}\n`),
  );
  expect(readFileSync(join(root, ".gitignore"), "utf8").split("\n")).toContain(`/${out}/`);
});
