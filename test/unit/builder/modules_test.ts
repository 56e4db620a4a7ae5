/** What a kernel module says of itself, and the table that /init reads. Plane: control. */
import { expect, test } from "vitest"
import { BUILDER_LIMITS } from "../../../builder/limits.ts"
import { encodeModuleTable, type KernelModule, moduleName, readModuleInfo } from "../../../builder/modules.ts"
import { makeModule } from "./elf_file.ts"

const NO_BYTES = new Uint8Array(0)

function module(name: string, depends: readonly string[], aliases: readonly string[] = []): KernelModule {
  return { name, bytes: NO_BYTES, info: { depends, softDepends: [], aliases } }
}

test("names of files become the kernel's names", () => {
  const paths = ["a/virtio-net.ko", "b/e1000.ko.xz", "i2c-algo-bit.ko.zst", "kernel/x/tg3.ko.gz"]
  expect(paths.map(moduleName)).toEqual(["virtio_net", "e1000", "i2c_algo_bit", "tg3"])
})

test("dependencies, soft ones that come before, and the hardware of the two buses that /init looks at", () => {
  const info = readModuleInfo(
    makeModule([
      "softdep=pre: realtek marvell post: other",
      "alias=pci:v000010ECd00008168sv*sd*bc*sc*i*",
      "alias=virtio:d00000001v*",
      "alias=usb:v0BDAp8152d*",
      "alias=net-pf-10",
      "depends=libphy,mdio-devres",
    ]),
  )
  expect(info).toEqual({
    ok: true,
    value: {
      depends: ["libphy", "mdio_devres"],
      softDepends: ["realtek", "marvell"],
      aliases: ["pci:v000010ECd00008168sv*sd*bc*sc*i*", "virtio:d00000001v*"],
    },
  })
})

test("the table names only modules that are there", () => {
  const table = encodeModuleTable([module("net", ["core", "builtin"], ["pci:v*"]), module("core", [])])
  expect(table).toEqual({ ok: true, value: "module net core\nmodule core -\nalias pci:v* net\n" })
})

test("a cycle of dependencies is refused by the limit of their depth", () => {
  const table = encodeModuleTable([module("a", ["b"]), module("b", ["a"])])
  expect(!table.ok && table.error).toMatchObject({ kind: "limit_exceeded", limit: "module_depth_max" })
})

test("more modules than /init has room for are refused", () => {
  const many = Array.from({ length: BUILDER_LIMITS.modules_max + 1 }, (_, index) => module(`m${index}`, []))
  const table = encodeModuleTable(many)
  expect(!table.ok && table.error).toMatchObject({ kind: "limit_exceeded", limit: "modules_max" })
})
