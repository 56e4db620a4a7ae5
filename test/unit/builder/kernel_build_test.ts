/** The kernel of our own: what was asked of Kconfig and did not come true is found. Plane: control. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { expect, test } from "vitest"
import { describeKernelBuild, findUnmet, releaseOf } from "../../../builder/kernel_build.ts"

const CONFIG = resolve(import.meta.dirname, "../../../images/diskless/kernel.config")
const WHOLE = "#\n# Automatically generated\n#\nCONFIG_64BIT=y\n# CONFIG_BLOCK is not set\nCONFIG_NR_CPUS=256\n"

test.each([
  ["all of it", "# why\nCONFIG_64BIT=y\n# CONFIG_BLOCK is not set\n# CONFIG_MODULES is not set\n", undefined],
  ["an option that Kconfig dropped", "CONFIG_64BIT=y\nCONFIG_KEXEC_FILE=y\n", "CONFIG_KEXEC_FILE=y"],
  ["another value", "CONFIG_NR_CPUS=64\n", "CONFIG_NR_CPUS=64"],
  ["one that is on all the same", "# CONFIG_64BIT is not set\n", "# CONFIG_64BIT is not set"],
])("%s", (_, asked, unmet) => {
  expect(findUnmet(asked, WHOLE)).toBe(unmet)
})

test("our configuration asks for no storage", () => {
  const config = readFileSync(CONFIG, "utf8").split("\n")
  for (const off of ["BLOCK", "MODULES", "SWAP"]) {
    expect(config).toContain(`# CONFIG_${off} is not set`)
  }
  const on = config.filter((line) => /^CONFIG_\w+=/.test(line)).map((line) => line.replace(/=.*/, ""))
  expect(on.length).toBeGreaterThan(100)
  expect(
    on.filter((name) => /^CONFIG_(SCSI|ATA|NVME|MMC|USB_STORAGE|EXT4|XFS|NFS|MD|BLK_DEV_(?!INITRD))/.test(name)),
  ).toEqual([])
})

test("a kernel is named by its version, and compiled anew when a tool changes", () => {
  expect(releaseOf("6.1.192-2")).toBe("6.1.192-diskless")
  expect(releaseOf("1:6.12.3-1~deb13u1")).toBe("6.12.3-diskless")
  expect(describeKernelBuild("CONFIG_64BIT=y", ["gcc 12"]).key).not.toBe(
    describeKernelBuild("CONFIG_64BIT=y", ["gcc 13"]).key,
  )
})
