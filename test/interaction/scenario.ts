/**
 * One script as three tests, so that what is wrong can be told from what merely reads differently:
 *   - `is safe`: no acknowledged write is lost, no read is wrong, no assertion of the product fails;
 *   - `goes as scripted`: every state and letter that the script counts on is there;
 *   - `reads as its golden text`: byte for byte. Plane: control.
 */
import { describe, expect, test } from "vitest"
import { AssertionError } from "../../appliance/types/assert.ts"
import type { ScriptLimits } from "./limits.ts"
import { Script } from "./script.ts"

export type Scenario = {
  /** Of the golden file, without its ending. */
  readonly name: string
  readonly title: string
  readonly prose: string
  readonly voters: number
  /** Machines beyond the voters. */
  readonly machines?: number
  /** The machines are off when the script begins, and no cluster has been founded. */
  readonly blank?: boolean
  readonly limits?: ScriptLimits
  readonly play: (script: Script) => void
}

type Played = { readonly violations: readonly string[]; readonly unexpected: readonly string[]; readonly text: string }

export function scenario(options: Scenario): void {
  let played: Played | undefined
  const once = (): Played => {
    played ??= play(options)
    return played
  }
  describe(`${options.name}: ${options.title}`, () => {
    test("is safe", () => {
      expect(once().violations).toEqual([])
    })
    test("goes as scripted", () => {
      expect(once().unexpected).toEqual([])
    })
    test("reads as its golden text", async () => {
      await expect(once().text).toMatchFileSnapshot(`golden/${options.name}.txt`)
    })
  })
}

function play(options: Scenario): Played {
  const script = new Script(options)
  const head = `${options.title}\n${"=".repeat(options.title.length)}\n`
  try {
    script.say(options.prose)
    if (options.blank !== true) {
      script.form()
    }
    options.play(script)
    script.finish()
  } catch (error) {
    if (!(error instanceof AssertionError) || error.message.startsWith("script: ")) {
      script.unexpected.push(`the script ends early: ${String(error)}`)
    } else {
      script.ledger.violated(`assertion: ${error.message}`)
    }
  }
  return { violations: script.ledger.violations, unexpected: script.unexpected, text: `${head}${script.text()}` }
}
