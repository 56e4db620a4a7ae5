/**
 * `npm run diskless`: compiles the kernel without storage (once: it is cached), proves on the running kernel that no
 * disk could be touched, and plays the whole scene on it. Not a part of `npm test`, for which the compilation is too
 * long. Plane: control.
 */
import { spawn } from "node:child_process"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { bootDirectly, type DirectBoot, readBootTimes } from "./direct_boot.ts"
import { parseProbe, probeKernel, storageFound } from "./storage.ts"

const USAGE = `usage: npm run diskless -- [--no-scene]

Builds the image with the kernel that has no block layer, boots it with two disks attached and shows that it has
no way to them, boots it once more as one EFI program from a stick; then the scene of \`npm start\` on that image.

  npm run diskless                  compiles the first time: 9 minutes of processor time
  npm run diskless -- --no-scene    the kernel only`

/** Of a console that shows a failure. */
const CONSOLE_SHOWN = 2_000
const ROOT = resolve(import.meta.dirname, "../..")
const MAIN = join(ROOT, "appliance/main.ts")
const IMAGE = join(ROOT, "build/diskless")
/** The kernel that must be caught: it has a block layer. */
const CONTROL = join(ROOT, "build/image")

/** The first processors of 64 bits had no more than this one. */
const BIOS_BOOT: DirectBoot = { way: "bios", image: IMAGE, memoryMib: 1024, processor: "qemu64" }

async function main(): Promise<number> {
  const options = readOptions()
  if (typeof options === "number") {
    return options
  }
  const builds = [
    ["build", "--kernel", "diskless", "--form", "uki", "--compression", "small", "--out", IMAGE],
    ["build", "--out", CONTROL],
  ]
  for (const words of builds) {
    const code = await runNode([MAIN, ...words])
    if (code !== 0) {
      return code
    }
  }
  const control = storageFound(parseProbe(await probeKernel(join(CONTROL, "kernel"))))
  if (!control.includes("/sys/block")) {
    return fail(`the probe does not see the block layer of Debian's kernel: ${control.join("; ")}`)
  }
  const facts = parseProbe(await probeKernel(join(IMAGE, "kernel")))
  const found = storageFound(facts)
  if (found.length > 0) {
    return fail(`the kernel without storage has: ${found.join("; ")}`)
  }
  process.stdout.write(`ok     no block layer, no file system for a disk, no modules (${facts.config.length} lines)\n`)
  for (const way of ["bios", "usb"] as const) {
    const text = await bootDirectly({ ...BIOS_BOOT, way })
    const times = readBootTimes(text)
    if (times.checked === undefined || times.program === undefined) {
      return fail(`the image did not come to its program (${way}):\n${text.slice(-CONSOLE_SHOWN)}`)
    }
    process.stdout.write(
      `ok     ${way}: files checked after ${times.checked} s, Node had spoken at ${times.program} s\n`,
    )
  }
  const flipped = await bootDirectly({ ...BIOS_BOOT, hasFlippedBit: true })
  if (readBootTimes(flipped).halted !== "base_corrupt" || readBootTimes(flipped).program !== undefined) {
    return fail(`a machine with a flipped bit did not halt:\n${flipped.slice(-CONSOLE_SHOWN)}`)
  }
  process.stdout.write("ok     a flipped bit behind the archive's checksum: the machine halts with base_corrupt\n")
  return options.scene
    ? runNode([join(import.meta.dirname, "start.ts"), "--once", "--image", IMAGE, "--report", `${IMAGE}_report.json`])
    : 0
}

function readOptions(): { readonly scene: boolean } | number {
  try {
    const { values } = parseArgs({ options: { "no-scene": { type: "boolean" }, help: { type: "boolean" } } })
    if (values.help === true) {
      process.stdout.write(`${USAGE}\n`)
      return 0
    }
    return { scene: values["no-scene"] !== true }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`)
    return 2
  }
}

function fail(text: string): number {
  process.stderr.write(`npm run diskless: ${text}\n`)
  return 1
}

function runNode(words: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, words, { cwd: ROOT, stdio: "inherit" })
  return new Promise((done) => {
    child.once("error", () => done(1))
    child.once("exit", (code) => done(code ?? 1))
  })
}

process.exitCode = await main()
