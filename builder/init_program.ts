/** Compiles images/base/init into the static /init. Plane: control. */
import { ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { discard, listNames, makeDirectory, readBytes, sha256 } from "./files.ts"
import { type RunOptions, run } from "./shell.ts"

/** Small before fast; no build id, so that the same sources give the same bytes. */
const FLAGS = [
  "-std=gnu11",
  "-static",
  "-Os",
  "-s",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-fno-asynchronous-unwind-tables",
  "-ffunction-sections",
  "-fdata-sections",
  "-Wl,--gc-sections,-z,noseparate-code,--build-id=none",
]

export type InitSources = { readonly directory: string; readonly names: readonly string[]; readonly sha256: string }

export async function readInitSources(directory: string): Promise<Result<InitSources, BuildError>> {
  const names = await listNames(directory)
  if (!names.ok) {
    return names
  }
  const sources = names.value.filter((name) => /\.[ch]$/.test(name))
  const hashes: string[] = [...FLAGS]
  for (const name of sources) {
    const bytes = await readBytes(`${directory}/${name}`)
    if (!bytes.ok) {
      return bytes
    }
    hashes.push(`${name} ${sha256(bytes.value)}`)
  }
  return ok({ directory, names: sources, sha256: sha256(hashes.join("\n")) })
}

export async function compileInit(
  sources: InitSources,
  cache: string,
  options: RunOptions,
): Promise<Result<Uint8Array, BuildError>> {
  const partial = `${cache}/init.partial-${process.pid}`
  const made = await makeDirectory(cache)
  if (!made.ok) {
    return made
  }
  const files = sources.names.filter((name) => name.endsWith(".c"))
  const compiled = await run("musl-gcc", [...FLAGS, "-o", partial, ...files], {
    ...options,
    directory: sources.directory,
  })
  const bytes = compiled.ok ? await readBytes(partial) : compiled
  await discard(partial)
  return bytes
}
