/** How vitest finds and runs the tests; test/run.ts picks the folders. Plane: control. */
import { resolve } from "node:path"
import { defineConfig } from "vitest/config"

const TEST_TIMEOUT_MS = 60_000

export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, ".."),
    include: ["test/**/*_test.ts"],
    // The suite is planned for two cores (README.md); more workers would only make its times lie.
    maxWorkers: 2,
    // A forgotten `.only` would turn the rest of the suite off in silence.
    allowOnly: false,
    passWithNoTests: false,
    testTimeout: TEST_TIMEOUT_MS,
    hookTimeout: TEST_TIMEOUT_MS,
  },
})
