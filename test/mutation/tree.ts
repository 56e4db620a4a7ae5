/** A copy of the tree in a temporary folder, with a mutant's patches applied, and gone afterwards. Plane: control. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import type { Mutant } from "./mutants.ts"

const ROOT = resolve(import.meta.dirname, "../..")
/** All that the catchers read. */
const COPIED = ["appliance", "test", "package.json", "tsconfig.json"]

export type PatchError = { readonly mutant: string; readonly file: string; readonly found: number }

export function describePatchError({ mutant, file, found }: PatchError): string {
  return `mutant ${mutant}: its text occurs ${found} times in ${file}, and once is what it takes: anchor it anew`
}

/** The tree's path. Whoever makes one removes it. */
export function makeTree(): string {
  const path = mkdtempSync(join(tmpdir(), "mandala-mutant-"))
  for (const name of COPIED) {
    cpSync(join(ROOT, name), join(path, name), { recursive: true })
  }
  symlinkSync(join(ROOT, "node_modules"), join(path, "node_modules"))
  return path
}

export function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true })
}

export function applyMutant(tree: string, mutant: Mutant): Result<void, PatchError> {
  for (const { file, find, replace } of mutant.patches) {
    const path = join(tree, file)
    const text = readFileSync(path, "utf8")
    const found = text.split(find).length - 1
    if (found !== 1) {
      return err({ mutant: mutant.name, file, found })
    }
    writeFileSync(
      path,
      text.replace(find, () => replace),
    )
  }
  return ok(undefined)
}
