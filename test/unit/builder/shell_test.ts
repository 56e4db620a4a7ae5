/** How a tool's end becomes a value. Plane: control. */
import { expect, test } from "vitest"
import { run, runAny } from "../../../builder/shell.ts"

const options = { signal: new AbortController().signal }

test("its output", async () => {
  expect(await run("echo", ["-n", "a b", "$HOME;ls"], options)).toEqual({ ok: true, value: "a b $HOME;ls" })
})

test("a tool that is not there", async () => {
  const tool = "mandala-no-such-tool"
  expect(await run(tool, [], options)).toEqual({ ok: false, error: { kind: "tool_missing", tool } })
})

test("a tool that fails, with the last line of its complaint", async () => {
  const script = "echo first >&2; echo last >&2; exit 3"
  expect(await run("sh", ["-c", script], options)).toEqual({
    ok: false,
    error: { kind: "tool_failed", tool: "sh", detail: "last" },
  })
  expect(await runAny("sh", ["-c", script], options)).toMatchObject({ ok: true, value: { exitCode: 3 } })
})

test("a full disk is told from any other failure", async () => {
  const script = "echo 'strip: out: No space left on device' >&2; exit 1"
  expect(await run("sh", ["-c", script], { ...options, directory: "/tmp" })).toEqual({
    ok: false,
    error: { kind: "disk_full", path: "/tmp" },
  })
})

test("an interruption ends the tool and is what is reported", async () => {
  const controller = new AbortController()
  const startedAt = performance.now()
  const running = run("sleep", ["30"], { signal: controller.signal })
  controller.abort()
  expect(await running).toEqual({ ok: false, error: { kind: "interrupted" } })
  expect(performance.now() - startedAt).toBeLessThan(5000)
  expect(await run("echo", [], { signal: controller.signal })).toEqual({ ok: false, error: { kind: "interrupted" } })
})
