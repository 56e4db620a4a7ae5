/** The arguments of the process that /init starts, and its version. Plane: control. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { parseApplianceOptions } from "../../../appliance/orchestration/appliance_options.ts"

test("what /init gives is enough; everything can be given otherwise", () => {
  expect(parseApplianceOptions([], { MANDALA_NETWORK: "/n.json" })).toEqual({
    ok: true,
    value: {
      nodeFile: "/etc/mandala/node.json",
      networkFile: "/n.json",
      ports: { replica: 7400, data: 6379, api: 7443 },
      advertise: undefined,
      bind: "0.0.0.0",
      growTo: null,
      runDirectory: "/run/mandala",
      console: "",
    },
  })
  const args = ["--node", "/a", "--replica-port", "1", "--data-port", "2", "--api-port", "0"]
  const more = ["--advertise", "10.0.0.1", "--bind", "127.0.0.1", "--run-directory", "/r", "--console", "/dev/null"]
  more.push("--grow-to", "large")
  expect(parseApplianceOptions([...args, ...more], { MANDALA_NODE_JSON: "/b" })).toEqual({
    ok: true,
    value: {
      nodeFile: "/a",
      networkFile: "/run/mandala/network.json",
      ports: { replica: 1, data: 2, api: 0 },
      advertise: "10.0.0.1",
      bind: "127.0.0.1",
      growTo: "large",
      runDirectory: "/r",
      console: "/dev/null",
    },
  })
})

test("what is wrong is said in one line", () => {
  for (const args of [
    ["--port"],
    ["--data-port", "70000"],
    ["--data-port", "1e3"],
    ["--bind", "::"],
    ["--grow-to", "big"],
    ["stray"],
  ]) {
    const parsed = parseApplianceOptions(args, {})
    expect(parsed.ok ? "ok" : parsed.error, args.join(" ")).not.toMatch(/^ok$|\n/)
  }
})

test("the version is package.json's", () => {
  const root = join(import.meta.dirname, "../../..")
  const manifest: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const main = readFileSync(join(root, "appliance/main.ts"), "utf8")
  expect(manifest).toMatchObject({ version: /const VERSION = "(.+)"/.exec(main)?.[1] })
})
