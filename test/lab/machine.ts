/**
 * One machine of the lab: QEMU with firmware that really boots from the network, its console in a file.
 * Plane: control.
 */
import { spawn } from "node:child_process"
import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs"
import { join } from "node:path"
import { ok, type Result } from "../../appliance/types/result.ts"
import { Child, type LabError } from "./host.ts"
import { createTap } from "./lan.ts"
import { CONSOLE_BYTES_MAX, KVM_TRY_MS, MEMORY_CHUNK_BYTES } from "./limits.ts"

/** iPXE's ROM under SeaBIOS, or OVMF's own PXE client, which has a driver for virtio but none for e1000. */
export type MachineKind = "bios-e1000" | "bios-virtio" | "uefi-virtio"
export const MACHINE_KINDS: readonly MachineKind[] = ["bios-e1000", "bios-virtio", "uefi-virtio"]

export type Acceleration = "kvm" | "tcg"

const QEMU = "qemu-system-x86_64"
const OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
const OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"

/** What the lab cannot do without and this host lacks, with what to type; undefined when it has all. */
export function missingPrograms(): string | undefined {
  const wanted = [
    [QEMU, "qemu-system-x86"],
    ["ip", "iproute2"],
    ["radvd", "radvd"],
  ] as const
  const directories = (process.env["PATH"] ?? "").split(":")
  const packages = new Set<string>()
  for (const [program, name] of wanted) {
    if (!directories.some((directory) => existsSync(join(directory, program)))) {
      packages.add(name)
    }
  }
  if (!existsSync(OVMF_CODE) || !existsSync(OVMF_VARS)) {
    packages.add("ovmf")
  }
  return packages.size === 0 ? undefined : `missing packages: sudo apt-get install ${[...packages].join(" ")}`
}

export type MachineOptions = {
  readonly number: number
  readonly kind: MachineKind
  readonly directory: string
  readonly memoryMib: number
  readonly acceleration: Acceleration
}

/** A machine that can be powered on, cut off and powered on again, each time blank. */
export class LabMachine {
  readonly kind: MachineKind
  /** As the boot server names it. */
  readonly name: string
  readonly mac: string
  /** Milliseconds since 1970 of each power-on. */
  readonly powerOns: number[] = []
  readonly #options: MachineOptions
  #child: Child | undefined
  #isCut = false

  constructor(options: MachineOptions) {
    this.#options = options
    this.kind = options.kind
    const last = options.number.toString(16).padStart(2, "0")
    this.mac = `52:54:00:77:00:${last}`
    this.name = this.mac.replaceAll(":", "-")
  }

  get isOn(): boolean {
    return this.#child !== undefined && !this.#child.exited
  }

  /** The process ended and nobody cut its power. */
  get hasFailed(): boolean {
    return this.#child !== undefined && this.#child.exited && !this.#isCut
  }

  /** Makes the machine's cable. Call it once, before the first power-on. */
  plugIn(): Result<null, LabError> {
    return createTap(this.#tap())
  }

  powerOn(): Result<null, LabError> {
    if (this.kind === "uefi-virtio") {
      // Firmware that forgets: its variables begin anew, as the machine's memory does.
      copyFileSync(OVMF_VARS, this.#varsFile())
    }
    this.#isCut = false
    this.powerOns.push(Date.now())
    rmSync(this.#consoleFile(), { force: true })
    this.#child = new Child({ command: this.#command(), logFile: this.#qemuLog() })
    return ok(null)
  }

  /** The plug is pulled: SIGKILL of the QEMU process. */
  async cutPower(): Promise<void> {
    this.#isCut = true
    await this.#child?.kill()
  }

  /**
   * One bit flips in each place of the machine's memory where `text` stands, as a weak cell's would: behind the back of
   * all that runs in it. How many places there were.
   */
  flipBits(text: string): number {
    const file = this.#memoryFile()
    if (file === undefined) {
      return 0
    }
    const memory = openSync(file, "r+")
    const chunk = Buffer.alloc(MEMORY_CHUNK_BYTES + text.length)
    let places = 0
    for (let start = 0; ; start += MEMORY_CHUNK_BYTES) {
      const bytes = readSync(memory, chunk, 0, chunk.length, start)
      // A place that lies across two chunks is whole in the first, since that is longer by the text's length.
      const read = chunk.subarray(0, bytes)
      for (let at = read.indexOf(text); at >= 0 && at < MEMORY_CHUNK_BYTES; at = read.indexOf(text, at + 1)) {
        writeSync(memory, Buffer.from([(read[at] ?? 0) ^ 1]), 0, 1, start + at)
        places += 1
      }
      if (bytes < chunk.length) {
        break
      }
    }
    closeSync(memory)
    return places
  }

  /** QEMU keeps the machine's memory in a file without a name. */
  #memoryFile(): string | undefined {
    const directory = `/proc/${this.#child?.pid}/fd`
    return readdirSync(directory)
      .map((name) => join(directory, name))
      .find(isMemory)
  }

  /** What the machine wrote on its serial console since it was powered on last, from the end. */
  consoleText(): string {
    const file = this.#consoleFile()
    if (!existsSync(file)) {
      return ""
    }
    const bytes = readFileSync(file)
    const text = bytes.subarray(Math.max(0, statSync(file).size - CONSOLE_BYTES_MAX)).toString("latin1")
    // Terminal control sequences of the firmware say nothing to a reader of the report.
    return text.replaceAll(/\u001b\[[0-9;?=]*[a-zA-Z]/g, "").replaceAll("\r", "")
  }

  qemuText(): string {
    return existsSync(this.#qemuLog()) ? readFileSync(this.#qemuLog(), "utf8") : ""
  }

  #command(): string[] {
    const { number, memoryMib, acceleration } = this.#options
    const nic = this.kind === "bios-e1000" ? "e1000" : "virtio-net-pci"
    const isUEFI = this.kind === "uefi-virtio"
    const id = number.toString(16).padStart(2, "0")
    const device = `${nic},netdev=n0,mac=${this.mac},bootindex=1${isUEFI ? ",romfile=" : ""}`
    return [
      QEMU,
      ...(acceleration === "kvm" ? ["-accel", "kvm", "-cpu", "host"] : ["-accel", "tcg,thread=multi", "-cpu", "EPYC"]),
      ...["-object", `memory-backend-memfd,id=memory,size=${memoryMib}M,share=on`],
      ...["-smp", "1", "-m", String(memoryMib), "-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"],
      ...["-serial", `file:${this.#consoleFile()}`, "-uuid", `4d616e64-616c-4100-8000-0000000000${id}`],
      ...["-smbios", `type=1,manufacturer=Mandala,product=lab,serial=LAB-${id}`],
      ...(isUEFI
        ? [
            ...["-machine", "q35,memory-backend=memory"],
            ...["-drive", `if=pflash,format=raw,unit=0,readonly=on,file=${OVMF_CODE}`],
            ...["-drive", `if=pflash,format=raw,unit=1,file=${this.#varsFile()}`],
            ...["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=no"],
          ]
        : ["-machine", "pc,memory-backend=memory"]),
      ...["-netdev", `tap,id=n0,ifname=${this.#tap()},script=no,downscript=no`, "-device", device],
      ...["-device", "virtio-rng-pci"],
    ]
  }

  #tap(): string {
    return `tap${this.#options.number}`
  }

  #consoleFile(): string {
    return join(this.#options.directory, `${this.name}.console`)
  }

  #varsFile(): string {
    return join(this.#options.directory, `${this.name}.vars`)
  }

  #qemuLog(): string {
    return join(this.#options.directory, `${this.name}.qemu.log`)
  }
}

function isMemory(file: string): boolean {
  try {
    return readlinkSync(file).includes("memory-backend-memfd")
  } catch {
    // Closed since its directory was read.
    return false
  }
}

/**
 * KVM where it really runs our kernel: the device may exist, open, and even run a BIOS, and still hang in Linux. So the
 * image's own /init must say its first word within KVM_TRY_MS (it then halts, having no base archive).
 */
export async function findAcceleration(image: string): Promise<Acceleration> {
  if (!existsSync("/dev/kvm")) {
    return "tcg"
  }
  const args = [
    ...[
      "-accel",
      "kvm",
      "-cpu",
      "host",
      "-machine",
      "pc",
      "-m",
      "512",
      "-nodefaults",
      "-display",
      "none",
      "-vga",
      "none",
    ],
    ...["-serial", "stdio", "-no-reboot", "-kernel", join(image, "kernel"), "-initrd", join(image, "init.img")],
    ...["-append", "console=ttyS0 rootfstype=ramfs quiet panic=-1"],
  ]
  const child = spawn(QEMU, args, { stdio: ["ignore", "pipe", "ignore"] })
  const spoke = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), KVM_TRY_MS)
    const answer = (value: boolean): void => {
      clearTimeout(timer)
      resolve(value)
    }
    let tail = ""
    child.stdout.on("data", (chunk: Buffer) => {
      tail = `${tail}${chunk.toString("latin1")}`.slice(-CONSOLE_BYTES_MAX)
      if (tail.includes("mandala: init")) {
        answer(true)
      }
    })
    child.once("exit", () => answer(false))
    child.once("error", () => answer(false))
  })
  child.kill("SIGKILL")
  return spoke ? "kvm" : "tcg"
}
