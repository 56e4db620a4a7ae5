/** What is made of a read request: which file, which of the asked options (RFC 2347 to 2349, 7440). Plane: control. */
import {
  BLOCK_BYTES_DEFAULT,
  BLOCK_BYTES_LIMIT,
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  FILE_NAME_BYTES_MAX,
  TIMEOUT_MS_DEFAULT,
  TIMEOUT_SECONDS_MAX,
  WINDOW_BLOCKS_MAX,
} from "./limits.ts"
import type { TFTPOptions } from "./packet.ts"

export type Terms = {
  readonly block_bytes: number
  readonly window_blocks: number
  readonly timeout_ms: number
  /** What goes into the OACK: only what was asked, or EDK2 ends the transfer. Empty means no OACK. */
  readonly options: TFTPOptions
}

export function negotiate(asked: TFTPOptions, fileBytes: number): Terms {
  const options = new Map<string, string>()
  let blockBytes = BLOCK_BYTES_DEFAULT
  let windowBlocks = 1
  let timeoutMs = TIMEOUT_MS_DEFAULT
  for (const [name, text] of asked) {
    const value = parseDecimal(text)
    if (value === undefined) {
      continue
    }
    if (name === "blksize" && value >= BLOCK_BYTES_MIN && value <= BLOCK_BYTES_LIMIT) {
      blockBytes = Math.min(value, BLOCK_BYTES_MAX)
      options.set(name, String(blockBytes))
    } else if (name === "windowsize" && value >= 1 && value <= 0xffff) {
      windowBlocks = Math.min(value, WINDOW_BLOCKS_MAX)
      options.set(name, String(windowBlocks))
    } else if (name === "timeout" && value >= 1 && value <= TIMEOUT_SECONDS_MAX) {
      timeoutMs = value * 1000
      options.set(name, String(value))
    } else if (name === "tsize") {
      options.set(name, String(fileBytes))
    }
  }
  return { block_bytes: blockBytes, window_blocks: windowBlocks, timeout_ms: timeoutMs, options }
}

function parseDecimal(text: string): number | undefined {
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : undefined
}

/**
 * The name as the table of files has it, or undefined for one that never is in it: firmware writes it with leading
 * slashes of both kinds, and some ROMs with a 0xFF behind it.
 */
export function normalizeFileName(asked: string): string | undefined {
  const name = asked
    .replaceAll("\\", "/")
    .replace(/\xff+$/, "")
    .replace(/^\/+/, "")
  const isSound = name.length > 0 && name.length <= FILE_NAME_BYTES_MAX && !name.split("/").includes("..")
  return isSound ? name : undefined
}
