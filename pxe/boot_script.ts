/**
 * The scripts that iPXE runs. Written for Debian's build of 2019: no `params`, no `poweroff`. Whatever is put into one
 * is either ours or was matched against a whitelist, since it lands on a kernel's command line. Plane: control.
 */
import { assert } from "../appliance/types/assert.ts"
import { HEX_128 } from "./pool/announce.ts"
import { BOOT_ATTEMPTS_MAX, BOOT_RETRY_SECONDS, HOLD_SECONDS } from "./limits.ts"

/** What may be interpolated: nothing that iPXE, a URL or a kernel command line would read as more than text. */
const INERT = /^[A-Za-z0-9._:/-]*$/

const MAGIC = "#!ipxe"

/** Sends iPXE to the real script with all that it knows of its machine; DHCP's file name has no room for that. */
export function renderChainScript(serverURL: string): string {
  assertInert(serverURL)
  const query = [
    "mac=${netX/mac:hexhyp}",
    "uuid=${uuid}",
    "serial=${serial:uristring}",
    "manufacturer=${manufacturer:uristring}",
    "product=${product:uristring}",
    "platform=${platform}",
  ].join("&")
  return lines([
    MAGIC,
    "set attempt:int32 0",
    ":retry",
    `chain --replace --autofree ${serverURL}/boot.ipxe?${query} ||`,
    ...retryLines(`no script from ${serverURL}`),
  ])
}

export type BootScript = {
  readonly server_url: string
  readonly machine: string
  readonly boot_id: string
}

/** The names are those of the image's files; under UEFI the kernel finds its archives by these `initrd=` words. */
const ARCHIVES = ["init.img", "base.img"] as const
const NODE_ARCHIVE = "node.img"

export function renderBootScript({ server_url: server, machine, boot_id: bootID }: BootScript): string {
  assertInert(server)
  assertInert(machine)
  assert(HEX_128.test(bootID), "boot script: a boot id is 32 hexadecimal digits")
  const query = `mac=${machine}&boot=${bootID}`
  const kernelWords = [
    ...[...ARCHIVES, NODE_ARCHIVE].map((name) => `initrd=${name}`),
    "console=tty0",
    "console=ttyS0,115200",
    // The interface that booted, not the first one: machines have several.
    "BOOTIF=01-${netX/mac:hexhyp}",
    `mandala.boot=${bootID}`,
    `mandala.server=${server}`,
    // A tmpfs would be capped at half of the memory, the archive that is being unpacked included.
    "rootfstype=ramfs",
    "quiet",
    // The self-tests of ciphers cost 0.3 s under emulation, and nothing here uses them before they have run.
    "cryptomgr.notests",
    "loglevel=4",
    // What one process gave back holds keys and values: nothing that comes after may read them.
    "init_on_free=1",
    "panic=10",
  ].join(" ")
  return lines([
    MAGIC,
    // Old images would be put in front of ours: iPXE hands the kernel all that it holds.
    "imgfree",
    `echo mandala: ${machine} boots from ${server}`,
    "set attempt:int32 0",
    ":retry",
    `imgfetch --name beacon ${server}/beacon/script?${query} && imgfree beacon ||`,
    `kernel --name kernel ${server}/image/kernel?${query} ${kernelWords} || goto failed`,
    ...ARCHIVES.map((name) => `initrd --name ${name} ${server}/image/${name}?${query} || goto failed`),
    `initrd --name ${NODE_ARCHIVE} ${server}/machine/${machine}/${NODE_ARCHIVE}?boot=${bootID} || goto failed`,
    "boot || goto failed",
    ":failed",
    "imgfree",
    ...retryLines(`${machine} could not boot from ${server}`),
  ])
}

/** For a machine that must not boot now: says why on its screen, then asks anew. */
export function renderHoldScript(serverURL: string, reason: string, seconds = HOLD_SECONDS): string {
  assertInert(serverURL)
  assertInert(reason.replaceAll(" ", ""))
  return lines([
    MAGIC,
    `echo mandala: ${reason}`,
    `echo mandala: asking again in ${seconds} seconds`,
    `sleep ${seconds}`,
    `chain --replace --autofree ${serverURL}/boot.ipxe || reboot`,
  ])
}

/** Tries again a bounded number of times, then leaves it to the firmware to begin anew. */
function retryLines(what: string): string[] {
  return [
    "inc attempt",
    `iseq \${attempt} ${BOOT_ATTEMPTS_MAX} && goto give_up ||`,
    `echo mandala: ${what}, attempt \${attempt} of ${BOOT_ATTEMPTS_MAX}`,
    `sleep ${BOOT_RETRY_SECONDS}`,
    "goto retry",
    ":give_up",
    `echo mandala: ${what}, starting over`,
    `sleep ${BOOT_RETRY_SECONDS}`,
    "reboot",
  ]
}

function assertInert(text: string): void {
  assert(INERT.test(text), "boot script: what is interpolated was whitelisted before")
}

function lines(texts: readonly string[]): string {
  return `${texts.join("\n")}\n`
}
