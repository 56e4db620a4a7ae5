/** A change of members finds its primary, once. Plane: control. */
import { expect, test } from "vitest"
import { type Change, type ChangeAnswer, Membership } from "../../../appliance/orchestration/membership.ts"
import type { MessageOf, ReconfigureOutcome } from "../../../appliance/replication/message.ts"

const WANTED: Change = {
  epoch: 4,
  voters: [0, 1, 2],
  standbys: [],
  synchronous: false,
  drops_standby: false,
  grows: false,
}

class Scene {
  now = 1_000
  primary = 1
  isReachable = true
  sent: { readonly slot: number; readonly change: number }[] = []
  answer: ChangeAnswer | undefined
  readonly membership = new Membership({
    send: (slot, change) => {
      if (this.isReachable) {
        this.sent.push({ slot, change })
      }
      return this.isReachable
    },
    primarySlot: () => this.primary,
    epoch: () => 4,
    now: () => this.now,
    timeoutMs: 5_000,
    retryMs: 100,
  })

  async ask(wanted = WANTED): Promise<void> {
    this.answer = await this.membership.change(wanted)
  }

  pass(ms: number): void {
    this.now += ms
    this.membership.tick(this.now)
  }

  reply(outcome: ReconfigureOutcome, change = this.sent.at(-1)?.change ?? 0): void {
    const message: MessageOf<"reconfigure_reply"> = {
      type: "reconfigure_reply",
      change,
      outcome,
      slot: 2,
      epoch_now: 5,
      from: 1,
      epoch: 4,
      cv: [],
    }
    this.membership.onReply(message)
  }
}

test("it goes to the primary, and its outcome comes back", async () => {
  const scene = new Scene()
  const asked = scene.ask()
  expect(scene.sent).toEqual([{ slot: 1, change: 1 }])
  scene.pass(1_000)
  expect(scene.sent.length).toBe(1)
  scene.reply("ok", 99)
  scene.reply("ok")
  await asked
  expect(scene.answer).toEqual({ outcome: "ok", slot: 2, epoch: 5 })
})

test("who is not the primary any more did nothing: it goes to the next", async () => {
  const scene = new Scene()
  const asked = scene.ask()
  scene.reply("not_primary")
  scene.primary = 2
  scene.pass(50)
  expect(scene.sent.length).toBe(1)
  scene.pass(50)
  expect(scene.sent.at(-1)?.slot).toBe(2)
  scene.reply("not_warm")
  await asked
  expect(scene.answer?.outcome).toBe("not_warm")
})

test("silence is unknown, and is not asked again", async () => {
  const scene = new Scene()
  const asked = scene.ask()
  scene.pass(4_900)
  expect(scene.sent.length).toBe(1)
  scene.pass(100)
  await asked
  expect(scene.answer).toEqual({ outcome: "unknown", slot: 0, epoch: 4 })
})

test("without a primary nothing was sent, and it says so", async () => {
  const scene = new Scene()
  scene.primary = -1
  const asked = scene.ask()
  scene.pass(200)
  scene.primary = 0
  scene.isReachable = false
  scene.pass(200)
  scene.pass(5_000)
  await asked
  expect(scene.answer?.outcome).toBe("no_primary")
  expect(scene.sent).toEqual([])
})

test("one at a time", async () => {
  const scene = new Scene()
  const asked = scene.ask()
  await expect(scene.membership.change(WANTED)).resolves.toMatchObject({ outcome: "busy" })
  scene.reply("ok")
  await asked
  const again = scene.ask()
  expect(scene.sent.at(-1)?.change).toBe(2)
  scene.reply("ok")
  await again
})

test("a machine that has grown into the epoch that it waits for has its answer, whoever sent none", async () => {
  const voters = [3, 4, 5]
  const members = (...slots: number[]): { slot: number }[] => slots.map((slot) => ({ slot }))
  const scene = new Scene()
  const asked = scene.ask({ ...WANTED, voters, grows: true })
  scene.membership.onGrown({ epoch: 6, voters: members(3, 4, 5) })
  scene.membership.onGrown({ epoch: 5, voters: members(3, 4, 6) })
  scene.membership.onGrown({ epoch: 5, voters: members(3) })
  await Promise.resolve()
  expect(scene.answer).toBeUndefined()
  scene.membership.onGrown({ epoch: 5, voters: members(5, 4, 3) })
  await asked
  expect(scene.answer).toEqual({ outcome: "ok", slot: 0, epoch: 5 })

  const other = new Scene()
  const still = other.ask()
  other.membership.onGrown({ epoch: 5, voters: members(...WANTED.voters) })
  other.pass(6_000)
  await still
  expect(other.answer?.outcome).toBe("unknown")
})
