/** Which machine a command asks. Plane: control. */
import { expect, test } from "vitest"
import { chooseEndpoint } from "../../../appliance/cli/api_client.ts"

const CASES: readonly (readonly [string | undefined, string | undefined, string])[] = [
  [undefined, undefined, "http://127.0.0.1:7443"],
  [undefined, "", "http://127.0.0.1:7443"],
  [undefined, "http://10.0.0.11:7443", "http://10.0.0.11:7443"],
  ["10.0.0.12", "http://10.0.0.11:7443", "http://10.0.0.12:7443"],
  ["m1:1234", undefined, "http://m1:1234"],
  ["http://m1:80/", undefined, "http://m1"],
  ["http://[fe80::1]", undefined, "http://[fe80::1]:7443"],
]

test.each(CASES)("flag %j, environment %j: %s", (flag, environment, expected) => {
  const chosen = chooseEndpoint({ flag, environment, variable: "MANDALA_ENDPOINT", kept: undefined, isSecured: false })
  expect(chosen.ok && chosen.value.origin).toBe(expected)
})

test.each([
  ["ftp://x", undefined, "--endpoint"],
  [undefined, "http://", "MANDALA_ENDPOINT"],
  ["a b", undefined, "--endpoint"],
])("flag %j, environment %j is no address, and whose it is is said", (flag, environment, name) => {
  const chosen = chooseEndpoint({ flag, environment, variable: "MANDALA_ENDPOINT", kept: undefined, isSecured: false })
  expect(chosen.ok ? "" : chosen.error.text).toMatch(new RegExp(`^${name} '.*' is no address`))
})
