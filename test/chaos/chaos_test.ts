/**
 * A short run of what `npm run chaos` does for as long as one likes: three voters and five, half of the kinds of faults
 * each. Plane: control.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { checkHistories, stageReport } from "./report.ts"
import { FIRST_KINDS } from "./schedule.ts"
import { runStage } from "./stage.ts"

const EPISODES_MS = 15_000
const TEST_MS = 200_000
const HALF = Math.ceil(FIRST_KINDS.length / 2)

test.each([
  { voters: 3, seed: 1, firstKind: 0 },
  { voters: 5, seed: 2, firstKind: HALF },
])(
  "$voters voters: every history is linearizable, and every copy holds it",
  async (stage) => {
    const directory = mkdtempSync(join(tmpdir(), "mandala-chaos-test-"))
    const { signal } = new AbortController()
    const result = await runStage({ ...stage, milliseconds: EPISODES_MS, directory, signal, progress: () => undefined })
    const report = stageReport(result, checkHistories(result.history))
    expect(report.problems, `logs are in ${directory}`).toEqual([])
    expect(report.ops.ok).toBeGreaterThan(500)
    expect(report.episodes).toBeGreaterThanOrEqual(2)
    expect(report.histories.decided).toBe(report.histories.keys)
    expect(report.copies_read).toBe(stage.voters)
    expect(report.records_compared).toBeGreaterThan(stage.voters)
    process.stdout.write(
      `${stage.voters} voters: ${report.ops.ok} operations, ${report.ops.unknown} unknown, ` +
        `${report.episodes} episodes, ${report.histories.keys} histories\n`,
    )
    rmSync(directory, { recursive: true, force: true })
  },
  TEST_MS,
)
