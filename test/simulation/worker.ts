/** One thread of a run of many seeds: takes options, gives back results. Plane: control. */
import { parentPort } from "node:worker_threads"
import { type SimulationOptions, simulate } from "./simulate.ts"

parentPort?.on("message", (options: SimulationOptions) => {
  parentPort?.postMessage(simulate(options))
})
