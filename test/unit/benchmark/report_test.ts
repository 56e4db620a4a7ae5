/** What the benchmark makes of its measurements; nothing is measured here. Plane: control. */
import { expect, test } from "vitest"
import { makeBodies, makePipelines } from "../../benchmark/commands.ts"
import { MEASUREMENTS, readOptions } from "../../benchmark/options.ts"
import { Figures, makeReport, textOfReport } from "../../benchmark/report.ts"
import { Latencies, median, percentile } from "../../benchmark/statistics.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"

test("options: defaults, and a name, number or checkout that is none", () => {
  const read = readOptions([])
  expect(read).toMatchObject({ ok: true, value: { only: MEASUREMENTS, isJSON: false } })
  expect(readOptions(["--only", "link,heap", "--seconds", "0.5", "-o", "json"])).toMatchObject({
    ok: true,
    value: { only: ["link", "heap"], seconds: 0.5, isJSON: true },
  })
  expect(readOptions(["--help"])).toMatchObject({ ok: true, value: "help" })
  const wrong = [
    ["--only", "everything"],
    ["--seconds", "0"],
    ["--rounds", "1.5"],
    ["--crashes", "-1"],
    ["--against", "/nowhere"],
    ["-o", "xml"],
    ["--fast"],
  ]
  for (const args of wrong) {
    expect(readOptions(args).ok).toBe(false)
  }
})

test("a percentile is a value that was measured", () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(percentile([5, 1, 4, 2, 3], 99)).toBe(5)
  expect(percentile([7], 50)).toBe(7)
  const latencies = new Latencies()
  for (let ms = 1; ms <= 100; ms += 1) {
    latencies.add(ms)
  }
  expect(latencies.count).toBe(100)
  expect(latencies.at(99)).toBeCloseTo(99, 0)
  latencies.reset()
  expect(latencies.at(99)).toBe(0)
})

test("figures: the median of the rounds against the target, in text and JSON", () => {
  const figures = new Figures()
  for (const rate of [100, 300, 200]) {
    figures.add("link 1 x 1", "ops/s", rate, { at_least: 250 })
  }
  figures.add("link 1 x 1: p99", "ms", 1.25, { at_most: 1.5 })
  const again = new Figures()
  again.add("link 1 x 1", "ops/s", 50)
  figures.addAll(again)
  const report = makeReport("replication", figures.all())
  expect(report.figures).toMatchObject([
    { name: "link 1 x 1", median: 100, low: 50, high: 300, samples: 4, target: ">= 250/s", is_met: false },
    { name: "link 1 x 1: p99", median: 1.25, target: "<= 1.500 ms", is_met: true },
  ])
  expect(report.commit).toMatch(/^([0-9a-f]{12}\+?|unknown)$/)
  expect(textOfReport(report)).toContain(
    "link 1 x 1  100/s [50/s .. 300/s] (>= 250/s MISSED); p99 1.250 ms (<= 1.500 ms met)",
  )
})

test("the load's batches are well-formed, of 64 bytes a command; a pipeline is as many SETs", () => {
  const arena = new Uint8Array(arenaBytes(CLUSTER_LIMITS))
  const machine = createStateMachine({ limits: CLUSTER_LIMITS, arena })
  for (const commands of [1, 32, 512]) {
    const bodies = makeBodies(commands)
    expect(bodies.length).toBeGreaterThan(1)
    for (const body of bodies.slice(0, 3)) {
      expect(body.length).toBe(64 * commands)
      expect(machine.isValidBatch(body, 0, body.length)).toBe(true)
      expect(machine.isReadOnlyBatch(body, 0, body.length)).toBe(false)
    }
  }
  const [pipeline = Buffer.alloc(0)] = makePipelines(16)
  expect(pipeline.toString("latin1").match(/\*3\r\n\$3\r\nSET\r\n/g)).toHaveLength(16)
})
