/**
 * Copies the certified state of a cluster, as a machine that joins copies it: digests first, then the pages that
 * differ, again for what has changed meanwhile, until all of it is of one op and has its root. Plane: control.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { CheckpointReceiver, type Wanted } from "../replication/checkpoint_transfer.ts"
import { blankVector } from "../replication/crash_vector.ts"
import type { Piece } from "../replication/state_image.ts"
import { arenaBytes, PAGE_BYTES } from "../state_machine/arena.ts"
import { ArenaPages, pagesBytes } from "../state_machine/pages.ts"
import type { Digest, DigestFunction } from "../types/contracts.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { COPY_PAUSE_MS, COPY_SILENT_MS } from "./limits.ts"

/** `later`: there is no such piece at this moment; another error ends the copy. */
export type PieceError = { readonly kind: "later" | "failed"; readonly text: string }
/** A body must not change before the promise of the next round is asked for. */
export type PieceSource = (wanted: Wanted) => Promise<Result<Piece, PieceError>>

export type CopyOptions = {
  readonly limits: ClusterLimits
  readonly digest: DigestFunction
  readonly source: PieceSource
  /** What was acknowledged up to this op is to be in the copy. */
  readonly afterOp: number
  /** Pieces that are asked for at once. */
  readonly parallel: number
  readonly now: () => number
  readonly progress: (copied: { readonly pages: number; readonly pages_left: number; readonly op: number }) => void
}

export type CopiedImage = {
  readonly arena: Uint8Array
  readonly op: number
  readonly op_checksum: Digest
  readonly root: Digest
  /** Images that were begun: more than one where writes went on for longer than a checkpoint. */
  readonly images: number
  readonly bytes: number
}

export async function copyImage(options: CopyOptions): Promise<Result<CopiedImage, PieceError>> {
  const { limits, digest, source, afterOp, parallel, now, progress } = options
  const arena = new Uint8Array(arenaBytes(limits))
  const count = arena.length / PAGE_BYTES
  const memory = new Uint8Array(pagesBytes(count))
  const pages = new ArenaPages({ arena, pageBytes: PAGE_BYTES, memory, pool: new Uint8Array(0) })
  const receiver = new CheckpointReceiver({ pages, chunkBytes: limits.chunk_bytes, digest })
  receiver.start({ donor: 0, nonce: 1, now: 0, isBlank: true })
  const envelope = { type: "checkpoint_chunk", from: 0, nonce: 1, epoch: 0, cv: blankVector(limits.slots_max) } as const
  let movedAt = now()
  let reason = "nothing came"
  // A round is the receiver's clock: what was asked for in one may be asked for again in the next.
  for (let round = 1; !receiver.isComplete; round += 1) {
    const wanted: Wanted[] = []
    for (let asked = 0; asked < parallel; asked += 1) {
      const one = receiver.nextWanted({ now: round, retryMs: 1, inFlightMax: parallel })
      if (one === undefined) {
        break
      }
      wanted.push(one)
    }
    let isLater = false
    const pieces = await Promise.all(wanted.map(async (one) => ({ one, piece: await source(one) })))
    for (const { one, piece } of pieces) {
      if (!piece.ok && piece.error.kind === "failed") {
        return piece
      }
      if (!piece.ok) {
        reason = piece.error.text
        isLater = true
      } else if (piece.value.op < afterOp) {
        reason = `the checkpoint of op ${piece.value.op} is older than what was acknowledged, op ${afterOp}`
        isLater = true
      } else if (receiver.accept({ ...envelope, ...piece.value, part: one.part, index: one.index }, round)) {
        movedAt = now()
      }
    }
    progress({ pages: count, pages_left: receiver.op < 0 ? count : receiver.pagesLeft, op: receiver.op })
    if (now() - movedAt > COPY_SILENT_MS) {
      return err({ kind: "later", text: `no piece of the state came for ${COPY_SILENT_MS / 1000} s: ${reason}` })
    }
    if (isLater || wanted.length === 0) {
      receiver.forgetAsked()
      await sleep(COPY_PAUSE_MS)
    }
  }
  const { op, opChecksum, root, images, pagesReceived } = receiver
  return ok({ arena, op, op_checksum: opChecksum, root, images, bytes: pagesReceived * PAGE_BYTES })
}
