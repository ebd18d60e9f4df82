// npm run docs: the guides and the reference as static pages, in site/ or in the folder that is
// named. They need no server and nothing from outside. Warnings are errors.
//
//   bun scripts/docs.ts [folder]

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  Application,
  type DocumentReflection,
  KindRouter,
  type ProjectReflection,
  type Reflection,
} from "typedoc";
import manifest from "../package.json";
import { type Documents, writeDocuments } from "./docs/pages.ts";

const root = join(import.meta.dir, "..");
const out = resolve(process.argv[2] ?? join(root, "site"));

/** Documents have the names of their files: docs/who-is-calling.html. */
class Router extends KindRouter {
  protected override getIdealBaseName(reflection: Reflection): string {
    if (!reflection.isDocument()) return super.getIdealBaseName(reflection);
    return `docs/${(reflection as DocumentReflection).frontmatter["slug"] as string}`;
  }
}

/** Modules are called what users import. */
function nameModules(project: ProjectReflection): void {
  for (const module of project.children ?? []) module.name = `${manifest.name}/${module.name}`;
}

async function build({ readme, documents }: Documents): Promise<boolean> {
  const app = await Application.bootstrapWithPlugins({
    options: join(root, "typedoc.json"),
    readme,
    projectDocuments: [...documents],
    out,
    router: "bunix",
    customCss: join(root, "scripts/docs/style.css"),
    favicon: join(root, "scripts/docs/icon.svg"),
  });
  app.renderer.defineRouter("bunix", Router);
  const project = await app.convert();
  if (project === undefined) return false;
  app.validate(project);
  nameModules(project);
  await app.generateOutputs(project);
  return !app.logger.hasErrors() && !app.logger.hasWarnings();
}

process.chdir(root);
const tree = mkdtempSync(join(tmpdir(), "bunix-docs-"));
try {
  if (!(await build(writeDocuments(tree)))) process.exitCode = 1;
} finally {
  rmSync(tree, { recursive: true });
}
