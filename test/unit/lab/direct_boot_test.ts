/** The stages of a boot are read from the console, each by the kernel's clock. Plane: control. */
import { expect, test } from "vitest"
import { readBootTimes } from "../../lab/direct_boot.ts"

const CONSOLE = `[    2.541711] mandala: init\r
[    2.543715] mandala: /proc/cmdline: console=ttyS0 quiet\r
[    3.929311] mandala: 69 files are as built, 1375 ms\r
[    6.430500] mandala: 10.0.2.15 on eth0 (52-54-00-12-34-56), lease 86400 s\r
mandala: /etc/mandala/node.json does not exist\r
[    7.379157] mandala: the process ended with exit code 78 (start 1)\r
`

test("every stage of a whole boot", () => {
  const times = { init: 2.541711, checked: 3.929311, address: 6.4305, program: 7.379157, halted: undefined }
  expect(readBootTimes(CONSOLE)).toEqual(times)
})

test("a boot that halts has its reason and no later stage", () => {
  const halted = "[    2.1] mandala: init\r\n[    3.4] mandala: HALTED: base_corrupt: /bin/node is not the file\r\n"
  expect(readBootTimes(halted)).toMatchObject({ init: 2.1, checked: undefined, program: undefined })
  expect(readBootTimes(halted).halted).toBe("base_corrupt")
})

test("another end of the process is not the program's first line", () => {
  const killed = CONSOLE.replace("exit code 78", "exit code 127")
  expect(readBootTimes(killed).program).toBeUndefined()
})
