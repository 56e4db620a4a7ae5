/** Contexts and the site's keys: which counts, who may read them, and what a boot server makes. Plane: control. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  authorityPath,
  type Config,
  configPath,
  type Context,
  readConfig,
  withContext,
  writeConfig,
} from "../../../appliance/cli/config_store.ts"
import { CONTEXTS_MAX } from "../../../appliance/cli/limits.ts"
import { type Handlers, runProgram } from "../../../appliance/cli/program.ts"
import { openSite } from "../../../appliance/cli/site_keys.ts"
import { chooseTarget } from "../../../appliance/cli/target.ts"
import { parseCertificate, Trust } from "../../../appliance/keys/trust.ts"
import { assert } from "../../../appliance/types/assert.ts"

let directory = ""
let path = ""
let environment: Record<string, string> = {}
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-config-"))
  path = join(directory, "deep/config.json")
  environment = { MANDALA_CONFIG: path }
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

function context(name: string, change: Partial<Context> = {}): Context {
  const pem = { authority: "a", certificate: "c", key: "SECRET" }
  return { name, endpoint: `10.0.0.${name.length}`, boot_endpoint: "https://10.0.0.9:7443", ...pem, ...change }
}

function keep(config: Config): void {
  expect(writeConfig(path, config).ok).toBe(true)
}

function originOf(options: Parameters<typeof chooseTarget>[0], more: Record<string, string> = {}): string {
  const target = chooseTarget(options, { ...environment, ...more })
  return target.ok
    ? `${target.value.endpoint.origin} ${target.value.credentials?.certificate ?? "-"}`
    : target.error.text
}

async function mandala(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const texts = { out: "", err: "" }
  const none = (): Promise<number> => Promise.resolve(0)
  const handlers: Handlers = { version: "1", serve: none, build: none, doctor: none, appliance: none }
  const code = await runProgram(args, handlers, {
    out: (text) => void (texts.out += text),
    err: (text) => void (texts.err += text),
    input: Readable.from([]),
    environment,
  })
  return { code, ...texts }
}

describe("the file", () => {
  test("lies where the environment says, and is its owner's alone", () => {
    expect(configPath({ MANDALA_CONFIG: "/c", HOME: "/h" })).toBe("/c")
    expect(configPath({ XDG_CONFIG_HOME: "/x", HOME: "/h" })).toBe("/x/mandala/config.json")
    expect(configPath({ HOME: "/h" })).toBe("/h/.config/mandala/config.json")
    expect(configPath({})).toBeUndefined()
    expect(authorityPath({ HOME: "/h" })).toBe("/h/.config/mandala/authority.json")
    keep({ current: "a", contexts: [context("a")] })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(join(directory, "deep")).mode & 0o777).toBe(0o700)
  })

  test("that others can read, or that is none, is an error and never an empty list", () => {
    expect(readConfig(path)).toEqual({ ok: true, value: { current: "", contexts: [] } })
    keep({ current: "a", contexts: [context("a")] })
    chmodSync(path, 0o644)
    expect(originOf({})).toMatch(/can be read by others than its owner: chmod 600 it/)
    chmodSync(path, 0o600)
    for (const text of ["", "{}", "[]", '{"current":"a","contexts":[{}]}', '{"current":1,"contexts":[]}']) {
      writeFileSync(path, text)
      expect(readConfig(path).ok).toBe(false)
    }
    const many = Array.from({ length: CONTEXTS_MAX + 1 }, (_, index) => context(`c${index}`))
    expect(writeConfig(path, { current: "", contexts: many }).ok).toBe(false)
  })
})

describe("whom a command asks", () => {
  test("flag before environment before the file before this machine", () => {
    expect(originOf({})).toBe("http://127.0.0.1:7443 -")
    expect(originOf({ endpoint: "https://10.0.0.1" })).toMatch(/needs a key: there is no context/)
    keep({
      current: "a",
      contexts: [context("a"), context("bb", { certificate: "d" }), context("ccc", { endpoint: "" })],
    })
    expect(originOf({})).toBe("https://10.0.0.1:7443 c")
    expect(originOf({ context: "bb" })).toBe("https://10.0.0.2:7443 d")
    expect(originOf({}, { MANDALA_CONTEXT: "bb" })).toBe("https://10.0.0.2:7443 d")
    expect(originOf({ context: "a" }, { MANDALA_CONTEXT: "bb" })).toBe("https://10.0.0.1:7443 c")
    expect(originOf({}, { MANDALA_ENDPOINT: "m:1" })).toBe("https://m:1 c")
    expect(originOf({ endpoint: "n" }, { MANDALA_ENDPOINT: "m:1" })).toBe("https://n:7443 c")
    expect(originOf({ context: "ccc" })).toBe("https://127.0.0.1:7443 c")
    expect(originOf({ context: "none" })).toBe("there is no context 'none'; there are: a, bb, ccc")
    expect(originOf({ place: "boot" })).toBe("https://10.0.0.9:7443 c")
    expect(originOf({ place: "boot" }, { MANDALA_BOOT_ENDPOINT: "b", MANDALA_ENDPOINT: "m" })).toBe("https://b:7443 c")
  })

  test("no key goes over a connection in plain", () => {
    keep({ current: "a", contexts: [context("a")] })
    expect(originOf({ endpoint: "http://10.0.0.1" })).toBe("http://10.0.0.1:7443 -")
  })
})

test("the commands show, choose and forget contexts, and never a key", async () => {
  keep({ current: "a", contexts: [context("a"), context("bb")] })
  const listed = await mandala("config", "list")
  expect(listed.out).toMatch(/^CURRENT +NAME +ENDPOINT +BOOT SERVER\n\* +a +10.0.0.1 /)
  expect(`${listed.out}${(await mandala("config", "list", "-o", "json")).out}`).not.toContain("SECRET")
  expect((await mandala("config", "use", "bb")).code).toBe(0)
  expect(await mandala("config", "use", "none")).toMatchObject({
    code: 3,
    err: "mandala: there is no context 'none'; there are: a, bb\n",
  })
  expect((await mandala("config", "endpoint", "bb", "10.0.0.77")).code).toBe(0)
  expect(originOf({})).toBe("https://10.0.0.77:7443 c")
  expect((await mandala("config", "remove", "bb")).code).toBe(0)
  expect(readConfig(path)).toMatchObject({ value: { current: "", contexts: [{ name: "a" }] } })
  expect(readFileSync(path, "utf8")).toContain("SECRET")
})

test("a context takes the place of the one of its name, and the first is current", () => {
  const one = withContext({ current: "", contexts: [] }, context("a"))
  expect(one.current).toBe("a")
  expect(withContext(one, context("a", { endpoint: "x" })).contexts).toMatchObject([{ name: "a", endpoint: "x" }])
})

describe("a site", () => {
  const open = (file?: string) => openSite({ environment, file, bootEndpoint: "https://10.0.0.1:7443" })

  test("is made once, with an admin's key, and is the same afterwards", async () => {
    const first = await open()
    assert(first.ok, "test: a site is made")
    expect(first.value.made).toHaveLength(2)
    const file = authorityPath(environment) ?? ""
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const again = await open()
    assert(again.ok, "test: a site is opened")
    expect(again.value.made).toEqual([])
    expect(again.value.authority.certificate).toBe(first.value.authority.certificate)
    const config = readConfig(path)
    assert(config.ok, "test: there is a context")
    const [kept] = config.value.contexts
    const trust = new Trust({ authority: first.value.authority.x509, cluster_id: "", now: () => Date.now() })
    expect(trust.identify(parseCertificate(kept?.certificate ?? ""))).toMatchObject({ value: { role: "admin" } })
    // Another site's beside it is another context.
    const other = await open(join(directory, "other.json"))
    expect(other.ok && other.value.made[1]).toMatch(/^made a context with an admin's key: 'site-2'/)
  })

  test("whose file is not to be trusted does not open, and is not written over", async () => {
    const file = join(directory, "authority.json")
    writeFileSync(file, "{}", { mode: 0o600 })
    expect(await open(file)).toMatchObject({ error: { text: `${file} is no authority of a site` } })
    chmodSync(file, 0o640)
    expect(await open(file)).toMatchObject({ error: { kind: "config" } })
    expect(readFileSync(file, "utf8")).toBe("{}")
    expect(await openSite({ environment: {}, file: undefined, bootEndpoint: "" })).toMatchObject({
      error: { text: "there is no home directory to keep the authority in: give --authority FILE" },
    })
  })
})
