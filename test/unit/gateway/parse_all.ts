/** Feeds a request parser in chunks of one size and collects what it says. Plane: control. */
import { COMMAND_BYTES_MAX } from "../../../appliance/gateway/limits.ts"
import { ParseStatus, RequestParser } from "../../../appliance/gateway/resp/parser.ts"

export type Parsed = {
  readonly commands: string[][]
  readonly error: string
  readonly lengths?: number[][]
  readonly parser?: RequestParser
}

/** A chunk may be as small as a byte; the parser may take less of it than there is. */
export function parseAll(bytes: Buffer, chunkBytes: number, withLengths?: true): Parsed & { parser?: RequestParser } {
  const parser = new RequestParser(Buffer.alloc(COMMAND_BYTES_MAX))
  const commands: string[][] = []
  const lengths: number[][] = []
  let status: ParseStatus = ParseStatus.more
  for (let start = 0; start < bytes.length && status !== ParseStatus.error; start += chunkBytes) {
    const chunk = Buffer.from(bytes.subarray(start, Math.min(bytes.length, start + chunkBytes)))
    for (let offset = 0; offset < chunk.length && status !== ParseStatus.error; ) {
      offset += parser.write(chunk, offset)
      for (status = parser.next(); status === ParseStatus.command; status = parser.next()) {
        const indexes = Array.from({ length: parser.argumentCount }, (_, index) => index)
        commands.push(indexes.map((index) => textOf(parser, index)))
        lengths.push(indexes.map((index) => parser.bytes(index)))
      }
    }
  }
  const parsed = { commands, error: parser.error }
  Object.defineProperty(parsed, "parser", { value: parser, enumerable: false })
  return withLengths === true ? { ...parsed, lengths } : parsed
}

function textOf(parser: RequestParser, index: number): string {
  const start = parser.start(index)
  return parser.buffer.toString("latin1", start, start + parser.keptBytes(index))
}
