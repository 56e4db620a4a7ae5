/**
 * GET /v1/salvage: streams what this machine holds, a piece a turn of the loop and never more ahead than the client has
 * taken. An answer that is broken off has no trailer: nobody can take it for whole. Plane: control.
 */
import type { ServerResponse } from "node:http"
import type { Salvage } from "../orchestration/salvage.ts"
import { setImmediate as nextTurn } from "node:timers/promises"
import { SALVAGE_STALLED_MS } from "./limits.ts"
import type { ReplicaPort } from "./port.ts"
import { errorDocument } from "./status_document.ts"

const LINES_TYPE = "application/x-ndjson; charset=utf-8"
const JSON_TYPE = "application/json; charset=utf-8"

/** One salvage at a time: it costs the loop's time, and whoever needs it needs it once. */
export class SalvageAnswers {
  readonly #replica: Pick<ReplicaPort, "salvage">
  #isUnderWay = false

  constructor(replica: Pick<ReplicaPort, "salvage">) {
    this.#replica = replica
  }

  async answer(response: ServerResponse, isForced: boolean): Promise<void> {
    if (this.#isUnderWay) {
      refuse(response, {
        status: 503,
        kind: "busy",
        text: "one salvage is under way already: ask again when it is done",
      })
      return
    }
    const salvage = this.#replica.salvage(isForced)
    if (!salvage.ok) {
      refuse(response, { status: 409, ...salvage.error })
      return
    }
    this.#isUnderWay = true
    await stream(salvage.value, response)
    this.#isUnderWay = false
  }
}

async function stream(salvage: Salvage, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": LINES_TYPE, "cache-control": "no-store" })
  let piece = salvage.next()
  for (; piece.kind === "lines"; piece = salvage.next()) {
    if (!(await isTaken(response, piece.text))) {
      response.destroy()
      return
    }
  }
  if (piece.kind === "moved") {
    response.write(`${JSON.stringify({ record: "aborted", error: { kind: "commit_moved", text: piece.text } })}\n`)
  }
  response.end()
}

/** False: the client went away, or stood still for too long. */
async function isTaken(response: ServerResponse, text: string): Promise<boolean> {
  if (response.write(text)) {
    await nextTurn()
    return !response.destroyed
  }
  return await new Promise((resolve) => {
    const finish = (isGood: boolean) => (): void => {
      clearTimeout(deadline)
      response.off("drain", onDrain)
      response.off("close", onClose)
      resolve(isGood)
    }
    const onDrain = finish(true)
    const onClose = finish(false)
    const deadline = setTimeout(onClose, SALVAGE_STALLED_MS)
    response.once("drain", onDrain)
    response.once("close", onClose)
  })
}

function refuse(
  response: ServerResponse,
  refusal: { readonly status: number; readonly kind: string; readonly text: string },
): void {
  const body = `${JSON.stringify(errorDocument(refusal.kind, refusal.text))}\n`
  response.writeHead(refusal.status, { "content-type": JSON_TYPE, "content-length": Buffer.byteLength(body) })
  response.end(body)
}
