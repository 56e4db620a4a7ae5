/** Turns the program into one file that the image runs. The only file that imports esbuild. Plane: control. */
import { build } from "esbuild"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { BUILDER_LIMITS } from "./limits.ts"

/**
 * What stays out of the image: the builder is loaded lazily by the composition root and never there (an image does not
 * build images), and with it the tools that it drives.
 */
const EXTERNAL = ["zx", "esbuild", "*/builder/build.ts", "*/builder/progress.ts"]

/**
 * The first lines of the bundle. An ES module, because the composition root awaits at its top; packages that are
 * CommonJS inside ask for `require`, which such a module does not have.
 *
 * /init starts Node while the network card still negotiates, because Node takes a second to start on a slow machine.
 * Here it waits until /init has written who it is on the network. /init halts the machine when the network never comes,
 * so this loop needs no end of its own. It declares nothing outside of its block: esbuild does not know of it.
 */
const PROLOGUE = `import { createRequire as __createRequire } from "node:module"
const require = __createRequire(import.meta.url)
if (process.env.MANDALA_NETWORK !== undefined) {
  const { existsSync } = process.getBuiltinModule("node:fs")
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(process.env.MANDALA_NETWORK)) {
    Atomics.wait(sleeper, 0, 0, 5)
  }
}
`

/** `entry` is relative to `root`. */
export type Program = { readonly root: string; readonly entry: string }

/** The bundle's bytes; the same sources give the same bytes. */
export async function bundle(program: Program): Promise<Result<Uint8Array, BuildError>> {
  try {
    const result = await build({
      absWorkingDir: program.root,
      entryPoints: [program.entry],
      outfile: "mandala.mjs",
      bundle: true,
      write: false,
      platform: "node",
      target: "node24",
      format: "esm",
      charset: "utf8",
      legalComments: "none",
      sourcemap: false,
      external: EXTERNAL,
      banner: { js: PROLOGUE },
      logLevel: "silent",
    })
    const file = result.outputFiles[0]
    return file === undefined ? err({ kind: "bundle_failed", detail: "no output" }) : ok(file.contents)
  } catch (cause) {
    return err({ kind: "bundle_failed", detail: firstMessage(cause) })
  }
}

function firstMessage(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause)
  const line = text.split("\n").find((candidate) => candidate.includes("ERROR")) ?? text
  return line.slice(0, BUILDER_LIMITS.detail_chars_max)
}
