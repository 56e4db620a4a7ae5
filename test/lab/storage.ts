/**
 * What a running kernel could do with a disk: boots images/probe on it with two disks attached, reads what the probe
 * says, and judges it. Plane: control.
 */
import { execFileSync, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { gunzipSync } from "node:zlib"
import { encodeCpio } from "../../appliance/types/cpio.ts"
import { PROBE_BYTES_MAX, PROBE_DISK_BYTES, PROBE_MS } from "./limits.ts"

type StorageFacts = {
  /** The probe came to its end. */
  readonly isWhole: boolean
  readonly blockDevices: readonly string[]
  /** Those that the kernel would mount from a device. */
  readonly diskFilesystems: readonly string[]
  readonly hasBlockClass: boolean
  readonly hasModules: boolean
  /** What opening a block device's node answered. */
  readonly open: string
  /** The running kernel's own configuration; empty where it does not tell. */
  readonly config: readonly string[]
}

export function parseProbe(text: string): StorageFacts {
  const values = (title: string): string[] =>
    [...text.matchAll(new RegExp(`^probe ${title}= (.*?)\\r?$`, "gm"))].map((match) => match[1] ?? "")
  return {
    isWhole: /^probe done\r?$/m.test(text),
    blockDevices: values("device"),
    diskFilesystems: values("filesystem")
      .filter((line) => !line.startsWith("nodev"))
      .map((line) => line.trim()),
    hasBlockClass: values("sys_block")[0] !== "0",
    hasModules: !/^probe module: No such file/m.test(text),
    open: values("open")[0] ?? "",
    config: unpack(values("config").join("")),
  }
}

function unpack(hexadecimal: string): string[] {
  try {
    const text = gunzipSync(Buffer.from(hexadecimal, "hex")).toString("latin1")
    return text.split("\n").filter((line) => line.includes("CONFIG_"))
  } catch {
    // A kernel without /proc/config.gz, or a console that was cut: no line, which the judge names.
    return []
  }
}

const OFF = ["CONFIG_BLOCK", "CONFIG_MODULES", "CONFIG_SWAP", "CONFIG_DEVMEM"]

/** Every way in which this kernel could touch a disk, in words; none for the kernel we want. */
export function storageFound(facts: StorageFacts): string[] {
  const found: string[] = []
  if (!facts.isWhole) {
    found.push("the probe did not come to its end")
  }
  if (facts.config.length === 0) {
    found.push("the kernel does not tell its configuration")
  }
  found.push(...OFF.filter((name) => facts.config.includes(`${name}=y`)))
  found.push(...facts.blockDevices.map((name) => `/dev/${name}`))
  found.push(...facts.diskFilesystems.map((name) => `the file system ${name}`))
  if (facts.hasBlockClass) {
    found.push("/sys/block")
  }
  if (facts.hasModules) {
    found.push("loadable modules")
  }
  // ENODEV: there is no such driver, and no way to one.
  if (facts.open !== "No such device") {
    found.push(`a disk's node answers "${facts.open}"`)
  }
  return found
}

/** Boots `kernel` with a virtio and an IDE disk; what the probe wrote on the console. */
export async function probeKernel(kernel: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "mandala-probe-"))
  try {
    const program = join(directory, "init")
    const source = resolve(import.meta.dirname, "../../images/probe/probe.c")
    execFileSync("musl-gcc", ["-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o", program, source])
    writeFileSync(
      join(directory, "probe.img"),
      encodeCpio([{ path: "init", mode: 0o755, bytes: readFileSync(program) }]),
    )
    const disks = ["virtio", "ide"].map((bus) => {
      const path = join(directory, `${bus}.disk`)
      writeFileSync(path, "")
      truncateSync(path, PROBE_DISK_BYTES)
      return ["-drive", `file=${path},format=raw,if=${bus}`]
    })
    return await runQEMU([
      ...["-accel", "tcg", "-m", "256", "-nodefaults", "-display", "none", "-vga", "none", "-serial", "stdio"],
      ...["-no-reboot", "-kernel", kernel, "-initrd", join(directory, "probe.img")],
      ...["-append", "console=ttyS0 quiet panic=-1", ...disks.flat()],
    ])
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function runQEMU(args: readonly string[]): Promise<string> {
  const child = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "ignore"] })
  const timer = setTimeout(() => child.kill("SIGKILL"), PROBE_MS)
  let text = ""
  child.stdout.on("data", (chunk: Buffer) => {
    text = `${text}${chunk.toString("latin1")}`.slice(-PROBE_BYTES_MAX)
  })
  return new Promise((done) => {
    const end = (): void => {
      clearTimeout(timer)
      done(text)
    }
    child.once("error", end)
    child.once("close", end)
  })
}
