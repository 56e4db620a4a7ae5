/** What every table of the arena is made from. Plane: data. */
import type { ClusterLimits } from "../types/limits.ts"
import type { ArenaLayout } from "./arena.ts"
import type { PageWrites } from "./pages.ts"

export type TableOptions = {
  readonly view: DataView
  readonly layout: ArenaLayout
  readonly limits: ClusterLimits
  /** Is told of every write before it happens; of the header, which every op changes, by whoever applies the op. */
  readonly pages: PageWrites
}
