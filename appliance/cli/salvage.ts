/**
 * Fetches a salvage: line by line into a file that appears whole or not at all, or to standard output. Believes nothing
 * that has no header, no trailer, or another checksum than its trailer says. Plane: control.
 */
import { createHash } from "node:crypto"
import { closeSync, existsSync, fsyncSync, linkSync, openSync, unlinkSync, writeSync } from "node:fs"
import { err, ok, type Result } from "../types/result.ts"
import { type APIError, apiErrorOf } from "./api_client.ts"
import type { Credentials } from "./config_store.ts"
import { isTrueAt, type JSONObject, numberAt, objectAt, parseObject, textAt } from "./json.ts"
import { SALVAGE_LINE_BYTES_MAX } from "./limits.ts"
import { openRequest } from "./transport.ts"

/** Gets the lines as they come; closed well when all was good, else it leaves nothing behind. */
type LineSink = {
  write(text: string): void
  close(isGood: boolean): Result<void, APIError>
}

export type SalvageOptions = {
  readonly endpoint: URL
  readonly credentials: Credentials | undefined
  readonly isForced: boolean
  /** Without a byte for so long the machine is given up. */
  readonly timeoutMs: number
  readonly progress: (bytes: number) => void
}

export type SalvageReport = { readonly header: JSONObject; readonly trailer: JSONObject; readonly bytes: number }

export async function fetchSalvage(options: SalvageOptions, sink: LineSink): Promise<Result<SalvageReport, APIError>> {
  const reader = new SalvageReader(sink)
  const fetched = await fetchLines(options, reader)
  const judged = fetched.ok ? reader.judge() : fetched
  const closed = sink.close(judged.ok)
  return judged.ok && !closed.ok ? closed : judged
}

async function fetchLines(options: SalvageOptions, reader: SalvageReader): Promise<Result<void, APIError>> {
  const { endpoint, timeoutMs } = options
  const where = endpoint.origin
  const silence = new AbortController()
  let deadline = setTimeout(() => silence.abort(), timeoutMs)
  let bytes = 0
  try {
    const url = new URL(options.isForced ? "/v1/salvage?force=1" : "/v1/salvage", endpoint)
    const { credentials } = options
    const response = await openRequest({ url, method: "GET", body: undefined, credentials, signal: silence.signal })
    const status = response.statusCode ?? 0
    if (status !== 200) {
      const text = await readHead(response)
      return err(apiErrorOf(status, parseObject(text) ?? {}, where))
    }
    const body: AsyncIterable<Uint8Array> = response
    for await (const chunk of body) {
      clearTimeout(deadline)
      deadline = setTimeout(() => silence.abort(), timeoutMs)
      bytes += chunk.length
      options.progress(bytes)
      const taken = reader.take(chunk)
      if (!taken.ok) {
        return taken
      }
    }
    return ok(undefined)
  } catch (cause) {
    if (silence.signal.aborted) {
      return err({ kind: "timeout", text: `${where} sent nothing for ${timeoutMs / 1000} s` })
    }
    const reason = cause instanceof Error ? cause.message : String(cause)
    return err(
      bytes === 0
        ? { kind: "unreachable", text: `${where} does not answer (${reason}): check the machine and --endpoint` }
        : { kind: "failed", text: `${where} broke off after ${bytes} bytes (${reason})` },
    )
  } finally {
    clearTimeout(deadline)
  }
}

/** The beginning of an answer that is none of lines. */
async function readHead(response: AsyncIterable<Uint8Array>): Promise<string> {
  let text = ""
  for await (const chunk of response) {
    text += Buffer.from(chunk).toString("utf8")
    if (text.length >= SALVAGE_LINE_BYTES_MAX) {
      break
    }
  }
  return text.slice(0, SALVAGE_LINE_BYTES_MAX)
}

class SalvageReader {
  readonly #sink: LineSink
  readonly #checksum = createHash("sha256")
  #rest = Buffer.alloc(0)
  #bytes = 0
  #header: JSONObject | undefined
  #trailer: JSONObject | undefined
  #sha256 = ""
  #aborted: string | undefined

  constructor(sink: LineSink) {
    this.#sink = sink
  }

  take(chunk: Uint8Array): Result<void, APIError> {
    this.#bytes += chunk.length
    let data = Buffer.concat([this.#rest, chunk])
    for (let end = data.indexOf(0x0a); end >= 0; end = data.indexOf(0x0a)) {
      this.#line(data.subarray(0, end + 1).toString("utf8"))
      data = data.subarray(end + 1)
    }
    this.#rest = data
    return data.length <= SALVAGE_LINE_BYTES_MAX
      ? ok(undefined)
      : err({ kind: "failed", text: `a line has more than ${SALVAGE_LINE_BYTES_MAX} bytes: this is no salvage` })
  }

  #line(line: string): void {
    if (this.#header === undefined) {
      this.#header = parseObject(line) ?? {}
    } else if (line.startsWith('{"record":"trailer"')) {
      this.#trailer = parseObject(line)
      this.#sha256 = this.#checksum.copy().digest("hex")
    } else if (line.startsWith('{"record":"aborted"')) {
      this.#aborted = textAt(objectAt(parseObject(line), "error"), "text") ?? "the machine broke off"
    }
    this.#checksum.update(line)
    this.#sink.write(line)
  }

  judge(): Result<SalvageReport, APIError> {
    const header = this.#header
    const trailer = this.#trailer
    if (this.#aborted !== undefined) {
      return err({ kind: "conflict", text: `not one state: ${this.#aborted}` })
    }
    if (textAt(header, "kind") !== "mandala_salvage" || header === undefined || isTrueAt(header, "authoritative")) {
      return err({ kind: "failed", text: "what came is no salvage" })
    }
    if (trailer === undefined || this.#rest.length > 0) {
      return err({ kind: "failed", text: "the salvage was cut off: it has no trailer" })
    }
    if (textAt(trailer, "sha256") !== this.#sha256 || numberAt(trailer, "commit") !== numberAt(header, "commit")) {
      return err({ kind: "failed", text: "the salvage was damaged on its way: its checksum is another" })
    }
    return ok({ header, trailer, bytes: this.#bytes })
  }
}

export function streamSink(out: (text: string) => void): LineSink {
  return { write: out, close: () => ok(undefined) }
}

/** A file beside `path` that takes its name when it is whole; one that is there already is never written over. */
export function fileSink(path: string): Result<LineSink, APIError> {
  const temporary = `${path}.${process.pid}.partial`
  if (existsSync(path)) {
    return err({ kind: "failed", text: `${path} exists already: choose another name` })
  }
  let file: number
  try {
    file = openSync(temporary, "wx", 0o600)
  } catch (cause) {
    return err(fileError(temporary, cause))
  }
  let failure: APIError | undefined
  const write = (text: string): void => {
    try {
      failure ??= void writeSync(file, text)
    } catch (cause) {
      failure = fileError(temporary, cause)
    }
  }
  const close = (isGood: boolean): Result<void, APIError> => {
    try {
      fsyncSync(file)
      closeSync(file)
      if (isGood && failure === undefined) {
        // Unlike a rename, this fails where somebody made a file of that name meanwhile.
        linkSync(temporary, path)
      }
    } catch (cause) {
      failure ??= fileError(path, cause)
    }
    try {
      unlinkSync(temporary)
    } catch (cause) {
      failure ??= fileError(temporary, cause)
    }
    return failure === undefined ? ok(undefined) : err(failure)
  }
  return ok({ write, close })
}

function fileError(path: string, cause: unknown): APIError {
  return {
    kind: "failed",
    text: `${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
  }
}
