/**
 * Runs inside a network namespace of its own (boot_server_test.ts starts it so): a boot server on one end of a virtual
 * cable, busybox's DHCP client and a second boot server on the other. Prints what happened as JSON. Plane: control.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { type BootServerOptions, startBootServer } from "../../../pxe/boot_server.ts"
import { makeLogger } from "./ports.ts"

const WAIT_MS = 15_000
const POLL_MS = 20
const BLOB = new Uint8Array(1_000).fill(1)

function optionsFor(interfaceName: string, force: boolean): BootServerOptions {
  return {
    interfaceName,
    dhcp: "full",
    voters: 3,
    size: "small",
    growTo: null,
    force,
    isTFTPSinglePort: false,
    pool: { first: "10.99.0.100", last: "10.99.0.110" },
    image: { kernel: BLOB, init: BLOB, base: BLOB, manifest: {} },
    nbp: { "snponly.efi": BLOB, "undionly.kpxe": BLOB, "ipxe.efi": BLOB },
    log: makeLogger(),
    admission: undefined,
  }
}

/** What a start ended in, in a word. */
async function startAndClose(options: BootServerOptions): Promise<string> {
  const started = await startBootServer(options)
  if (!started.ok) {
    return `${started.error.kind}: ${started.error.message}`
  }
  await started.value.close()
  return "started"
}

function run(command: string, ...args: readonly string[]): string {
  const done = spawnSync(command, args, { encoding: "utf8" })
  if (done.status !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${done.error?.message ?? done.stderr}`)
  }
  return done.stdout
}

async function until(what: string, isDone: () => boolean): Promise<void> {
  for (let waited = 0; waited < WAIT_MS; waited += POLL_MS) {
    if (isDone()) {
      return
    }
    await sleep(POLL_MS)
  }
  throw new Error(`did not come within ${WAIT_MS} ms: ${what}`)
}

/** What the test runs. */
export const SCENE_FILE = import.meta.filename

const children: ChildProcess[] = []

function start(command: string, ...args: readonly string[]): ChildProcess & { readonly pid: number } {
  const child = spawn(command, args, { stdio: "ignore" })
  child.on("error", () => undefined)
  children.push(child)
  if (child.pid === undefined) {
    throw new Error(`${command} is missing`)
  }
  return Object.assign(child, { pid: child.pid })
}

/** busybox calls it with what happened; the address must be set for renewals by unicast. */
const CLIENT_SCRIPT = `#!/bin/sh
case "$1" in
  deconfig) ip address flush dev "$interface" ;;
  bound|renew) ip address replace "$ip/24" dev "$interface" ;;
esac
echo "$1 $ip $serverid $lease $subnet $siaddr" >> "$(dirname "$0")/events"
`

async function scene(folder: string): Promise<object> {
  const holder = start("unshare", "--net", "sleep", "300")
  const namespaceOf = (pid: number | string): string => readlinkSync(`/proc/${pid}/ns/net`)
  await until("a second namespace", () => namespaceOf(holder.pid) !== namespaceOf("self"))
  const there = ["nsenter", "--net", "--target", String(holder.pid)] as const
  run("ip", "link", "set", "lo", "up")
  run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
  run("ip", "link", "set", "there", "netns", String(holder.pid))
  run("ip", "link", "set", "here", "up")
  const report: Record<string, unknown> = {}
  report["no_interface"] = await startAndClose(optionsFor("absent", true))
  report["no_address"] = await startAndClose(optionsFor("here", true))
  run("ip", "address", "add", "10.99.0.1/24", "dev", "here")
  // The other end is still down, so this one has no link.
  report["no_link"] = await startAndClose(optionsFor("here", true))
  run(...there, "ip", "link", "set", "there", "up")
  report["bad_pool"] = await startAndClose({
    ...optionsFor("here", true),
    pool: { first: "10.9.0.1", last: "10.9.0.2" },
  })

  const capture = join(folder, "capture.pcapng")
  const referee = start("tshark", "-q", "-i", "here", "-w", capture)
  await until("tshark to capture", () => existsSync(capture))
  const server = await startBootServer(optionsFor("here", false))
  if (!server.ok) {
    throw new Error(server.error.message)
  }
  report["twice"] = await startAndClose(optionsFor("here", true))

  const script = join(folder, "script.sh")
  writeFileSync(script, CLIENT_SCRIPT, { mode: 0o755 })
  const events = (): string[] => {
    const path = join(folder, "events")
    return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : []
  }
  const count = (word: string): number => events().filter((event) => event.startsWith(word)).length
  const client = start(...there, "udhcpc", "-f", "-i", "there", "-s", script, "-t", "10", "-T", "1")
  await until("a lease", () => count("bound") === 1)
  client.kill("SIGUSR1")
  await until("its renewal", () => count("renew") === 1)
  client.kill("SIGUSR2")
  await until("its release", () => count("deconfig") === 2)
  client.kill("SIGUSR1")
  await until("a lease again", () => count("bound") === 2)
  client.kill("SIGTERM")
  report["client"] = events()

  run(...there, "ip", "address", "add", "10.99.0.50/24", "dev", "there")
  // Not spawnSync: the server in this process must go on answering.
  const second = spawn(there[0], [...there.slice(1), process.execPath, SCENE_FILE, "second"])
  children.push(second)
  report["second"] = (await text(second.stdout)).trim()
  const status = await fetch(`${server.value.url}/status`)
  report["status"] = await status.json()
  await server.value.close()
  await server.value.close()
  report["after_close"] = await startAndClose(optionsFor("here", true))

  referee.kill("SIGINT")
  await until("tshark to end", () => referee.exitCode !== null || referee.signalCode !== null)
  const frames = (filter: string): number => {
    return run("tshark", "-r", capture, "-Y", filter)
      .split("\n")
      .filter((line) => line !== "").length
  }
  report["frames_ours"] = frames("dhcp && ip.src == 10.99.0.1 && udp.srcport == 67")
  report["frames_malformed"] = frames("ip.src == 10.99.0.1 && (_ws.malformed || _ws.expert.severity == error)")
  return report
}

async function main(): Promise<void> {
  if (process.argv[2] === "second") {
    process.stdout.write(`${await startAndClose(optionsFor("there", false))}\n`)
    return
  }
  const folder = mkdtempSync(join(tmpdir(), "mandala-dhcp-"))
  try {
    process.stdout.write(`${JSON.stringify(await scene(folder))}\n`)
  } finally {
    for (const child of children) {
      child.kill("SIGKILL")
    }
    rmSync(folder, { recursive: true })
  }
}

if (import.meta.main) {
  await main()
}
