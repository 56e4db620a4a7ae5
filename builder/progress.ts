/** Shows a build to a person: one line a step, its seconds counted while it runs on a terminal. Plane: control. */

export const BUILD_STEPS = ["bundle", "inputs", "kernel", "node", "init", "archive", "write"] as const
export type BuildStep = (typeof BUILD_STEPS)[number]

export type BuildProgress =
  | { readonly kind: "started"; readonly step: BuildStep; readonly detail: string }
  | { readonly kind: "finished"; readonly step: BuildStep; readonly detail: string; readonly ms: number }
  /** Something that a person should know and that does not stop the build. */
  | { readonly kind: "note"; readonly text: string }
  | { readonly kind: "unchanged"; readonly ms: number }
  /** The build was given up; what it says goes with the error. */
  | { readonly kind: "failed" }

export type BuildProgressPort = (event: BuildProgress) => void

const REFRESH_MS = 200
const COLUMNS_DEFAULT = 80

/** A port that writes to `stream`, by rewriting the line where that is a terminal. */
export function showProgress(stream: NodeJS.WriteStream): BuildProgressPort {
  let timer: NodeJS.Timeout | undefined
  const clear = (): void => {
    clearInterval(timer)
    timer = undefined
    if (stream.isTTY) {
      stream.write("\r\u001b[K")
    }
  }
  return (event) => {
    clear()
    switch (event.kind) {
      case "started": {
        if (!stream.isTTY) {
          return
        }
        const startedAt = performance.now()
        const draw = (): void => {
          const text = `${place(event.step)} ${event.detail} … ${seconds(performance.now() - startedAt)}`
          stream.write(`\r\u001b[K${text.slice(0, (stream.columns ?? COLUMNS_DEFAULT) - 1)}`)
        }
        draw()
        timer = setInterval(draw, REFRESH_MS)
        timer.unref()
        return
      }
      case "finished":
        stream.write(`${place(event.step)} ${event.detail}  ${seconds(event.ms)}\n`)
        return
      case "note":
        stream.write(`${event.text}\n`)
        return
      case "unchanged":
        stream.write(`image unchanged  ${seconds(event.ms)}\n`)
        return
      case "failed":
        return
    }
  }
}

function place(step: BuildStep): string {
  return `[${BUILD_STEPS.indexOf(step) + 1}/${BUILD_STEPS.length}] ${step.padEnd(7)}`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
