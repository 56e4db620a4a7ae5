/**
 * Boots an image in QEMU without a network boot: kernel and archives handed over directly, or the EFI program from a
 * USB stick. What it measures is the image's part of a boot, from the kernel's first instruction on. Plane: control.
 */
import { spawn } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { CONSOLE_BYTES_MAX, DIRECT_BOOT_MS } from "./limits.ts"

export type DirectBoot = {
  /** "bios" hands kernel and archives over; "usb" has OVMF find mandala.efi on a stick. */
  readonly way: "bios" | "usb"
  readonly image: string
  readonly memoryMib: number
  readonly processor: string
  /** One bit of a file is wrong, and the archive is whole. */
  readonly hasFlippedBit?: boolean
}

/** Seconds by the kernel's own clock; undefined is a stage that was not reached. */
export type BootTimes = {
  readonly init: number | undefined
  readonly checked: number | undefined
  readonly address: number | undefined
  /** Node ran our program to its first line: it has no node.json here, and says so. */
  readonly program: number | undefined
  /** Why the machine halted, if it did. */
  readonly halted: string | undefined
}

/** Between two archives the kernel skips zeros up to a word. */
const ALIGNMENT = 4
const PROGRAM_ENDED = /^\[ *([0-9.]+)\] mandala: the process ended with exit code 78/m

export function readBootTimes(text: string): BootTimes {
  const at = (pattern: RegExp): number | undefined => {
    const seconds = pattern.exec(text)?.[1]
    return seconds === undefined ? undefined : Number(seconds)
  }
  return {
    init: at(/^\[ *([0-9.]+)\] mandala: init\r?$/m),
    checked: at(/^\[ *([0-9.]+)\] mandala: \d+ files are as built/m),
    address: at(/^\[ *([0-9.]+)\] mandala: \S+ on \S+ \(/m),
    program: at(PROGRAM_ENDED),
    halted: /mandala: HALTED: (\w+)/.exec(text)?.[1],
  }
}

/** What the machine wrote on its serial line until the program had spoken, the machine halted, or time was over. */
export async function bootDirectly(boot: DirectBoot): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "mandala-boot-"))
  try {
    return await run([
      ...["-accel", "tcg,thread=multi", "-cpu", boot.processor, "-m", String(boot.memoryMib), "-no-reboot"],
      ...["-nodefaults", "-display", "none", "-vga", "none", "-serial", "stdio", "-device", "virtio-rng-pci"],
      ...["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="],
      ...(boot.way === "bios" ? handedOver(boot, directory) : fromStick(boot.image, directory)),
    ])
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function handedOver(boot: DirectBoot, directory: string): string[] {
  const { image } = boot
  const archives = join(directory, "all.img")
  const base = readFileSync(join(image, "base.img"))
  const given = boot.hasFlippedBit === true ? flipBit(base) : base
  writeFileSync(archives, Buffer.concat([readFileSync(join(image, "init.img")), given]))
  const words = "console=ttyS0 rootfstype=ramfs quiet cryptomgr.notests loglevel=4 init_on_free=1 panic=-1"
  return ["-kernel", join(image, "kernel"), "-initrd", archives, "-append", words]
}

/** In the middle of Node, and packed again: the kernel's own checksum finds nothing wrong. */
function flipBit(base: Buffer): Buffer {
  const archive = zstdDecompressSync(base)
  const middle = Math.floor(archive.length / 2)
  archive[middle] = (archive[middle] ?? 0) ^ 1
  const packed = zstdCompressSync(archive, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
  return Buffer.concat([packed, Buffer.alloc(ALIGNMENT - (packed.length % ALIGNMENT))])
}

function fromStick(image: string, directory: string): string[] {
  const stick = join(directory, "stick")
  mkdirSync(join(stick, "EFI/BOOT"), { recursive: true })
  copyFileSync(join(image, "mandala.efi"), join(stick, "EFI/BOOT/BOOTX64.EFI"))
  copyFileSync("/usr/share/OVMF/OVMF_VARS_4M.fd", join(directory, "vars.fd"))
  return [
    ...["-machine", "q35", "-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"],
    ...["-drive", `if=pflash,format=raw,unit=1,file=${join(directory, "vars.fd")}`],
    ...["-drive", `file=fat:ro:${stick},format=raw,if=none,id=stick,readonly=on`],
    ...["-device", "qemu-xhci", "-device", "usb-storage,drive=stick"],
  ]
}

function run(args: readonly string[]): Promise<string> {
  const child = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "ignore"] })
  const timer = setTimeout(() => child.kill("SIGKILL"), DIRECT_BOOT_MS)
  let text = ""
  child.stdout.on("data", (chunk: Buffer) => {
    text = `${text}${chunk.toString("latin1")}`.slice(-CONSOLE_BYTES_MAX)
    if (PROGRAM_ENDED.test(text) || /HALTED: .*\n/.test(text)) {
      child.kill("SIGKILL")
    }
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
