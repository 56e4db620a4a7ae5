/** The bytes that RESP and its inline commands give a meaning to. Plane: data. */

export const LINE_FEED = 10
export const CARRIAGE_RETURN = 13
export const SPACE = 32
export const DOUBLE_QUOTE = 34
export const DOLLAR = 36
export const PERCENT = 37
export const SINGLE_QUOTE = 39
export const STAR = 42
export const PLUS = 43
export const MINUS = 45
export const ZERO = 48
const NINE = 57
export const COLON = 58
export const BACKSLASH = 92
export const UNDERSCORE = 95
const LOWER_A = 97
const LOWER_F = 102
export const LOWER_X = 120

export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE
}

/** As isspace() in the C locale. */
export function isSpace(byte: number | undefined): boolean {
  return byte === SPACE || (byte !== undefined && byte >= 9 && byte <= CARRIAGE_RETURN)
}

/** ASCII letters in lower case, all else as it is. */
export function lower(byte: number): number {
  return byte >= 65 && byte <= 90 ? byte + 32 : byte
}

/** The value of a hexadecimal digit, or -1. */
export function hexDigit(byte: number | undefined): number {
  if (byte === undefined) {
    return -1
  }
  if (isDigit(byte)) {
    return byte - ZERO
  }
  const letter = lower(byte)
  return letter >= LOWER_A && letter <= LOWER_F ? letter - LOWER_A + 10 : -1
}

/** What a backslash and this byte stand for between double quotes. */
export function unescaped(byte: number): number {
  switch (byte) {
    case 110: // n
      return LINE_FEED
    case 114: // r
      return CARRIAGE_RETURN
    case 116: // t
      return 9
    case 98: // b
      return 8
    case 97: // a
      return 7
    default:
      return byte
  }
}

/** The byte as a character that can stand in an error. */
export function printable(byte: number | undefined): string {
  return byte !== undefined && byte >= SPACE && byte < 127 ? String.fromCharCode(byte) : "?"
}
