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
 * An ES module, because the composition root awaits at its top. Packages that are CommonJS inside ask for `require`,
 * which such a module does not have.
 */
const BANNER = `import { createRequire as __createRequire } from "node:module"
const require = __createRequire(import.meta.url)
`

export type BundleOptions = {
  readonly root: string
  /** The program, relative to `root`. */
  readonly entry: string
  /** Statements that run before anything of the program. */
  readonly prologue: string
}

/** The bundle's bytes; the same sources give the same bytes. */
export async function bundle(options: BundleOptions): Promise<Result<Uint8Array, BuildError>> {
  const { root, entry, prologue } = options
  try {
    const result = await build({
      absWorkingDir: root,
      entryPoints: [entry],
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
      banner: { js: `${prologue}${BANNER}` },
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
