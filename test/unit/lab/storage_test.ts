/** What the probe says is read, and each trace of storage is named. Plane: control. */
import { gzipSync } from "node:zlib"
import { expect, test } from "vitest"
import { parseProbe, storageFound } from "../../lab/storage.ts"

const CONFIG = gzipSync("# CONFIG_BLOCK is not set\nCONFIG_64BIT=y\n").toString("hex")
const CLEAN = `[    0.9] Run /init as init process\r
probe devices= 0\r
probe filesystem= nodev\tsysfs\r
probe filesystem= nodev\tramfs\r
probe partition: No such file or directory\r
probe module: No such file or directory\r
probe sys_block= 0\r
probe open= No such device\r
probe mount= No such device\r
probe config= ${CONFIG.slice(0, 40)}\r
probe config= ${CONFIG.slice(40)}\r
probe done\r
`

test("a kernel without storage has nothing to be named", () => {
  expect(storageFound(parseProbe(CLEAN))).toEqual([])
  expect(parseProbe(CLEAN).config).toContain("CONFIG_64BIT=y")
})

test.each([
  ["a disk", CLEAN.replace("probe devices= 0", "probe device= vda\r\nprobe devices= 1"), "/dev/vda"],
  ["a file system", CLEAN.replace("nodev\tramfs", "\text4"), "the file system ext4"],
  ["the block class", CLEAN.replace("sys_block= 0", "sys_block= 1"), "/sys/block"],
  ["modules", CLEAN.replace("probe module: No such file or directory", "probe module= e1000 1"), "loadable modules"],
  ["a driver", CLEAN.replace("open= No such device", "open= opened"), 'a disk\'s node answers "opened"'],
  [
    "a block layer",
    CLEAN.replaceAll(/config= .*/g, `config= ${gzipSync("CONFIG_BLOCK=y\n").toString("hex")}`),
    "CONFIG_BLOCK",
  ],
  [
    "a kernel that keeps its configuration to itself",
    CLEAN.replaceAll(/probe config[^\n]*\n/g, ""),
    "the kernel does not tell its configuration",
  ],
  ["a probe that was cut", CLEAN.replace("probe done", "Kernel panic"), "the probe did not come to its end"],
])("%s is found", (_, text, found) => {
  expect(storageFound(parseProbe(text))).toContain(found)
})
