/**
 * Runs inside a network namespace of its own (doctor_test.ts starts it so): the doctor on one end of a virtual cable,
 * dnsmasq with one configuration after the other on the other end. Prints its findings as JSON. Plane: control.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { readlinkSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { examine } from "../../../pxe/doctor/doctor.ts"
import { reportText } from "../../../pxe/doctor/report.ts"

/** What the test runs. */
export const DOCTOR_SCENE_FILE = import.meta.filename

const WAIT_MS = 10_000
const POLL_MS = 20
const SECONDS = 1.2

const children: ChildProcess[] = []

function run(command: string, ...args: readonly string[]): void {
  const done = spawnSync(command, args, { encoding: "utf8" })
  if (done.status !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${done.error?.message ?? done.stderr}`)
  }
}

function start(command: string, ...args: readonly string[]): ChildProcess & { readonly pid: number } {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] })
  children.push(child)
  if (child.pid === undefined) {
    throw new Error(`${command} is missing`)
  }
  return Object.assign(child, { pid: child.pid })
}

/** A server that gives addresses in 10.98.0.0/24, with more options. */
const SERVER = ["--dhcp-range=10.98.0.100,10.98.0.120,1h", "--dhcp-authoritative"]
const CONFIGURATIONS: Readonly<Record<string, readonly string[]>> = {
  nobody: [],
  addresses_only: SERVER,
  names_a_file: [...SERVER, "--dhcp-boot=pxelinux.0"],
  says_pxe: [...SERVER, "--dhcp-option-force=60,PXEClient"],
  boots_pxe: [...SERVER, "--dhcp-option-force=60,PXEClient", "--dhcp-boot=pxelinux.0"],
  bad_43: [...SERVER, "--dhcp-option-force=43,06:09:01"],
  proxy_only: ["--dhcp-range=10.98.0.0,proxy", "--pxe-service=x86PC,boot,pxelinux"],
}

async function scene(): Promise<object> {
  const holder = start("unshare", "--net", "sleep", "120")
  const namespaceOf = (pid: number | string): string => readlinkSync(`/proc/${pid}/ns/net`)
  for (let waited = 0; namespaceOf(holder.pid) === namespaceOf("self"); waited += POLL_MS) {
    if (waited >= WAIT_MS) {
      throw new Error("no second namespace")
    }
    await sleep(POLL_MS)
  }
  const there = ["nsenter", "--net", "--target", String(holder.pid)] as const
  run("ip", "link", "set", "lo", "up")
  run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
  run("ip", "link", "set", "there", "netns", String(holder.pid))
  run("ip", "address", "add", "10.98.0.1/24", "dev", "here")
  run("ip", "link", "set", "here", "up")
  run(...there, "ip", "address", "add", "10.98.0.2/24", "dev", "there")
  run(...there, "ip", "link", "set", "there", "up")
  const reports: Record<string, unknown> = {}
  for (const [name, options] of Object.entries(CONFIGURATIONS)) {
    const common = ["--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=there", "--no-ping", "--user=root"]
    const files = ["--dhcp-leasefile=/dev/null", "--log-dhcp"]
    const server =
      options.length === 0 ? undefined : start(there[0], ...there.slice(1), "dnsmasq", ...common, ...files, ...options)
    if (server !== undefined) {
      await said(server, "DHCP")
    }
    const examined = await examine({ interfaceName: "here", seconds: SECONDS })
    reports[name] = examined.ok ? { ...examined.value, text: reportText(examined.value) } : examined.error
    if (server !== undefined) {
      const ended = new Promise((resolve) => server.once("exit", resolve))
      server.kill("SIGTERM")
      await ended
    }
  }
  reports["absent"] = await examine({ interfaceName: "absent", seconds: SECONDS })
  return reports
}

/** Until the server has said a word; it says that it serves DHCP once it does. */
async function said(child: ChildProcess, word: string): Promise<void> {
  let text = ""
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(new Error(`dnsmasq does not start: ${text}`)), WAIT_MS)
  child.stderr?.on("data", (chunk: Buffer) => {
    text += chunk.toString()
    if (text.includes(word)) {
      resolve()
    }
  })
  await promise
  clearTimeout(timer)
}

if (import.meta.main) {
  try {
    process.stdout.write(`${JSON.stringify(await scene())}\n`)
  } finally {
    for (const child of children) {
      child.kill("SIGKILL")
    }
  }
}
