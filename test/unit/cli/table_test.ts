/** Tables, sizes and durations as people read them. Plane: control. */
import { expect, test } from "vitest"
import { clean, formatBytes, formatDuration, formatTable } from "../../../appliance/cli/table.ts"

test("columns are as wide as their widest cell, and no line ends in blanks", () => {
  const columns = [
    { header: "A", cell: (row: readonly string[]) => row[0] ?? "" },
    { header: "LONG HEADER", cell: (row: readonly string[]) => row[1] ?? "" },
  ]
  expect(
    formatTable(columns, [
      ["ü", "x"],
      ["longer", ""],
    ]),
  ).toBe("A        LONG HEADER\nü        x\nlonger   -\n")
  expect(formatTable(columns, [])).toBe("A   LONG HEADER\n")
})

test("cells hold no control characters and are cut", () => {
  expect(clean("a\u001b[0m\n\u202eb")).toBe("a?[0m??b")
  expect(clean("x".repeat(100))).toBe(`${"x".repeat(63)}…`)
})

test.each([
  [0, "0.0s"],
  [9_940, "9.9s"],
  [42_900, "42s"],
  [425_000, "7m5s"],
  [12_000_000, "3h20m"],
  [1_050_000_000, "12d3h"],
])("%d ms are %s", (ms, expected) => {
  expect(formatDuration(ms)).toBe(expected)
})

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1536, "1.5 KiB"],
  [2 ** 34, "16.0 GiB"],
  [2 ** 60, "1048576.0 TiB"],
])("%d bytes are %s", (bytes, expected) => {
  expect(formatBytes(bytes)).toBe(expected)
})
