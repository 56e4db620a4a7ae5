/**
 * Turns what came back for a batch into the replies of its connections, each in the order of its commands.
 *
 * A command that the state machine refused because the batch's reply was full is not an error to a client that knows
 * nothing of batches: it is kept and sent again, unless a later command of the same connection was applied already
 * (then sending it again would change the order, and the client is told). Plane: data.
 */
import { COMMAND_HEADER_BYTES, ResultKind } from "../state_machine/command.ts"
import { assert } from "../types/assert.ts"
import { type Batch, EntryKind, type Owner } from "./batch.ts"
import type { Results } from "./results.ts"
import { isMatch } from "./resp/glob.ts"
import type { ReplyWriter } from "./resp/reply_writer.ts"
import type { Failure, Texts } from "./texts.ts"

const U32 = 0x1_0000_0000
const MS_PER_SECOND = 1000
/** What a scan's answer begins with. */
const SCAN_NEXT_BYTES = 4
const ANSWER = 0
const KEEP = 1
const REFUSE = 2

/** What of a batch was sent: its first entries, with their commands. */
export type Sent = { entries: number; commands: number; isRead: boolean }

export class Answers {
  readonly #texts: Texts
  readonly #empty: Buffer
  /** ANSWER, KEEP or REFUSE for each entry that was sent. */
  readonly #verdicts: Uint8Array
  #serial = 0
  #error = ""

  constructor(texts: Texts, entriesMax: number, empty: Buffer) {
    this.#texts = texts
    this.#empty = empty
    this.#verdicts = new Uint8Array(entriesMax)
  }

  /** Answers what has an answer. What is left in the batch afterwards must be sent again, before anything newer. */
  resolve(batch: Batch, sent: Sent, results: Results): void {
    assert(sent.entries <= batch.entries, "answers: no more was sent than there is")
    this.#serial += 1
    this.#error = sent.isRead ? this.#texts.readReplyTooLong : this.#texts.replyTooLong
    this.#judge(batch, sent, results)
    batch.beginKeeping()
    let command = 0
    for (let entry = 0; entry < batch.entries; entry += 1) {
      const count = batch.entryCommands(entry)
      const owner = batch.owner(entry)
      const isBehindKept = owner !== undefined && owner.retainedIn === this.#serial
      if (entry >= sent.entries || isBehindKept || this.#verdicts[entry] === KEEP) {
        if (owner !== undefined) {
          owner.retainedIn = this.#serial
        }
        this.#keep(batch, entry, command, entry < sent.entries ? results : undefined)
      } else {
        this.#answer(batch, entry, command, results)
      }
      command += count
    }
    assert(command === batch.commands || batch.entries === 0, "answers: every command belongs to an entry")
    batch.endKeeping()
  }

  /** From the last entry to the first, so that each knows whether a later one of its connection was answered. */
  #judge(batch: Batch, sent: Sent, results: Results): void {
    let end = sent.commands
    for (let entry = sent.entries - 1; entry >= 0; entry -= 1) {
      const count = batch.entryCommands(entry)
      const first = end - count
      end = first
      const refused = this.#refusals(results, first, count)
      const owner = batch.owner(entry)
      this.#verdicts[entry] = ANSWER
      if (refused > 0) {
        // At the front there is no more room than it had, unless it goes on from where it stopped, or was a read among
        // writes and may answer more as a read alone.
        const goesOn = batch.kind(entry) === EntryKind.sum && refused < count
        const mayFit = first > 0 || goesOn || (!sent.isRead && batch.isRead(entry))
        const isLast = owner === undefined || owner.answeredIn !== this.#serial
        this.#verdicts[entry] = mayFit && isLast ? KEEP : REFUSE
      }
      if (owner !== undefined && count > refused) {
        owner.answeredIn = this.#serial
      }
    }
    assert(end === 0, "answers: the entries that were sent have all commands that were sent")
  }

  #refusals(results: Results, first: number, count: number): number {
    let refusals = 0
    for (let index = first; index < first + count; index += 1) {
      refusals += results.isRefusedForRoom(index) ? 1 : 0
    }
    return refusals
  }

  #keep(batch: Batch, entry: number, command: number, results: Results | undefined): void {
    const count = batch.entryCommands(entry)
    if (results === undefined || batch.kind(entry) !== EntryKind.sum) {
      batch.keep(entry, command, count, batch.partial(entry))
      return
    }
    // The first of a DEL's keys may be deleted already: count them, and ask for the rest.
    let answered = 0
    let sum = batch.partial(entry)
    while (answered < count && results.kind(command + answered) === ResultKind.integer) {
      sum += results.low(command + answered)
      answered += 1
    }
    batch.keep(entry, command + answered, count - answered, sum)
  }

  /** Answers the entries of a batch that has no commands. */
  resolveLocal(batch: Batch): void {
    assert(batch.commands === 0, "answers: only local entries need nobody")
    for (let entry = 0; entry < batch.entries; entry += 1) {
      this.#local(batch, entry)
    }
    batch.clear()
  }

  /** No results came: every entry but the local ones is answered with the reason. */
  fail(batch: Batch, failure: Failure): void {
    for (let entry = 0; entry < batch.entries; entry += 1) {
      const kind = batch.kind(entry)
      if (kind === EntryKind.local) {
        this.#local(batch, entry)
      } else if (kind === EntryKind.call) {
        const outcome = failure.isUnknown && !batch.isRead(entry) ? "unknown" : "not_applied"
        batch.caller(entry)?.onResult(outcome, this.#empty, 0, 0)
      } else {
        const owner = batch.owner(entry)
        if (owner?.isOpen === true) {
          owner.out.error(this.#failureText(failure, batch, entry))
        }
        done(owner, false)
      }
    }
    batch.clear()
  }

  #failureText(failure: Failure, batch: Batch, entry: number): string {
    if (batch.isRead(entry)) {
      return failure.readText
    }
    return batch.partial(entry) > 0 ? this.#texts.partial : failure.text
  }

  // ---------------------------------------------------------------- one entry

  #local(batch: Batch, entry: number): void {
    const owner = batch.owner(entry)
    if (owner?.isOpen === true) {
      const start = batch.localStart(entry)
      owner.out.raw(batch.local.buffer, start, batch.localEnd(entry) - start)
    }
    done(owner, batch.closes(entry))
  }

  #answer(batch: Batch, entry: number, command: number, results: Results): void {
    const kind = batch.kind(entry)
    if (kind === EntryKind.local) {
      this.#local(batch, entry)
      return
    }
    if (kind === EntryKind.call) {
      batch.caller(entry)?.onResult("ok", results.reply, results.start(command), results.start(command + 1))
      return
    }
    const owner = batch.owner(entry)
    if (owner?.isOpen === true) {
      if (this.#verdicts[entry] === REFUSE) {
        owner.out.error(this.#error)
      } else if (kind === EntryKind.sum) {
        this.#sum(owner.out, batch, entry, command, results)
      } else if (kind === EntryKind.values) {
        this.#values(owner.out, batch, entry, command, results)
      } else if (kind === EntryKind.scan || kind === EntryKind.keys) {
        this.#keys(owner.out, batch, entry, command, results)
      } else if (kind === EntryKind.all) {
        this.#all(owner.out, batch, entry, command, results)
      } else {
        this.#one(owner.out, kind, results, command, batch.protocol(entry))
      }
    }
    done(owner, false)
  }

  #sum(out: ReplyWriter, batch: Batch, entry: number, command: number, results: Results): void {
    let sum = batch.partial(entry)
    for (let index = command; index < command + batch.entryCommands(entry); index += 1) {
      const kind = results.kind(index)
      if (kind !== ResultKind.integer) {
        this.#result(out, results, index, batch.protocol(entry))
        return
      }
      sum += results.high(index) * U32 + results.low(index)
    }
    out.integer(sum)
  }

  /** The first error; where others were applied, nobody may take it for "nothing was". */
  #all(out: ReplyWriter, batch: Batch, entry: number, command: number, results: Results): void {
    const count = batch.entryCommands(entry)
    let failed = -1
    let applied = 0
    for (let index = command + count - 1; index >= command; index -= 1) {
      if (results.kind(index) === ResultKind.error) {
        failed = index
      } else {
        applied += 1
      }
    }
    if (failed >= 0 && applied > 0) {
      out.error(this.#texts.partialSet)
    } else {
      this.#result(out, results, failed >= 0 ? failed : command, batch.protocol(entry))
    }
  }

  /** Counts the keys that match, then writes them: an array says its length first. */
  #keys(out: ReplyWriter, batch: Batch, entry: number, command: number, results: Results): void {
    const start = results.bytesStart(command)
    const isList = results.kind(command) === ResultKind.bytes && results.bytesLength(command) >= SCAN_NEXT_BYTES
    if (!isList) {
      this.#result(out, results, command, batch.protocol(entry))
      return
    }
    const next = results.reply.readUInt32LE(start)
    if (batch.kind(entry) === EntryKind.scan) {
      out.array(2)
      out.bulkText(String(next))
    } else if (next !== 0) {
      out.error(this.#texts.tooManyKeys)
      return
    }
    out.array(this.#matching(undefined, batch, command, results))
    this.#matching(out, batch, command, results)
  }

  /** How many keys match the pattern, which is the command's value; they are written where `out` is given. */
  #matching(out: ReplyWriter | undefined, batch: Batch, command: number, results: Results): number {
    const { reply } = results
    const end = results.bytesStart(command) + results.bytesLength(command)
    const pattern = batch.offset(command) + COMMAND_HEADER_BYTES
    const patternEnd = batch.offset(command + 1)
    let count = 0
    let at = results.bytesStart(command) + SCAN_NEXT_BYTES
    while (at + 2 <= end) {
      const key = at + 2
      // What another machine sent is not believed: no key goes beyond the result.
      at = Math.min(key + reply.readUInt16LE(at), end)
      if (isMatch(batch.body, pattern, patternEnd, reply, key, at)) {
        count += 1
        out?.bulk(reply, key, at - key)
      }
    }
    return count
  }

  /** The result of an entry's one command, as the entry's kind has it. */
  #one(out: ReplyWriter, kind: number, results: Results, index: number, protocol: number): void {
    const result = results.kind(index)
    if (kind === EntryKind.seconds && result === ResultKind.integer) {
      const ms = results.high(index) * U32 + results.low(index)
      // As Redis: rounded, and -1 and -2 are no times.
      out.integer(ms < 0 ? ms : Math.floor((ms + MS_PER_SECOND / 2) / MS_PER_SECOND))
    } else if (kind === EntryKind.type && result === ResultKind.integer) {
      out.simple(results.low(index) === 0 ? "none" : "string")
    } else if (kind === EntryKind.flag && (result === ResultKind.ok || result === ResultKind.nil)) {
      out.integer(result === ResultKind.ok ? 1 : 0)
    } else if (kind === EntryKind.renamed && result === ResultKind.nil) {
      out.error(this.#texts.noSuchKey)
    } else {
      this.#result(out, results, index, protocol)
    }
  }

  #values(out: ReplyWriter, batch: Batch, entry: number, command: number, results: Results): void {
    const count = batch.entryCommands(entry)
    out.array(count)
    for (let index = command; index < command + count; index += 1) {
      this.#result(out, results, index, batch.protocol(entry))
    }
  }

  #result(out: ReplyWriter, results: Results, index: number, protocol: number): void {
    switch (results.kind(index)) {
      case ResultKind.nil:
        out.null(protocol)
        return
      case ResultKind.ok:
        out.simple("OK")
        return
      case ResultKind.integer:
        out.integerHalves(results.high(index), results.low(index))
        return
      case ResultKind.bytes:
        out.bulk(results.reply, results.bytesStart(index), results.bytesLength(index))
        return
      default:
        out.error(this.#texts.ofResultError(results.error(index)))
    }
  }
}

function done(owner: Owner | undefined, closes: boolean): void {
  if (owner !== undefined) {
    assert(owner.pending > 0, "answers: an entry is answered once")
    owner.pending -= 1
    owner.onAnswer(closes)
  }
}
