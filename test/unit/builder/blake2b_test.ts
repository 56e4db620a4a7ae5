/** The hash of /init against Node's, around the lengths at which its blocks and its reads end. Plane: control. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { blake2b } from "../../../builder/files.ts"

const INIT = resolve(import.meta.dirname, "../../../images/base/init")
const MAIN = `#include <stdio.h>
#include "init.h"
int main(int count, char **words) {
  char hash[HASH_DIGITS + 1];
  if (count != 2 || hash_file(words[1], hash) != 0) return 1;
  puts(hash);
  return 0;
}
`
let directory = ""

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-blake2b-"))
  writeFileSync(join(directory, "main.c"), MAIN)
  const sources = [join(directory, "main.c"), join(INIT, "blake2b.c")]
  execFileSync("musl-gcc", ["-static", "-Os", `-I${INIT}`, "-o", join(directory, "hash"), ...sources])
})

afterAll(() => rmSync(directory, { recursive: true }))

test.each([0, 1, 127, 128, 129, 255, 256, 257, 65_535, 65_536, 65_537, 65_664, 200_000])("%i bytes", (length) => {
  const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * 31 + length) & 0xff))
  const path = join(directory, "file")
  writeFileSync(path, bytes)
  expect(execFileSync(join(directory, "hash"), [path], { encoding: "utf8" })).toBe(`${blake2b(bytes)}\n`)
})

test("a file that is not there has no hash", () => {
  expect(() => execFileSync(join(directory, "hash"), [join(directory, "nothing")])).toThrow("Command failed")
})
