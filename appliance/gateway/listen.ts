/** Binds a server's port; what can go wrong is a value that says what to do. Plane: control. */
import type { Server } from "node:net"

export type ListenError = { readonly kind: "address_in_use" | "no_permission" | "listen_failed"; readonly text: string }

export function listen(
  server: Pick<Server, "listen" | "once" | "off" | "on">,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<ListenError | undefined> {
  return new Promise((resolve) => {
    const onError = (error: NodeJS.ErrnoException): void => resolve(listenError(error, host, port))
    server.once("error", onError)
    server.listen({ host, port }, () => {
      server.off("error", onError)
      // Errors of accept() later (too many open files): the listener lives on, and the client tries again.
      server.on("error", () => undefined)
      resolve(undefined)
    })
  })
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): ListenError {
  const where = `${host}:${port}`
  switch (error.code) {
    case "EADDRINUSE":
      return { kind: "address_in_use", text: `${where} is in use: stop what listens there, or choose another port` }
    case "EACCES":
      return {
        kind: "no_permission",
        text: `no permission to listen on ${where}: run as root, or choose a port ≥ 1024`,
      }
    default:
      return { kind: "listen_failed", text: `cannot listen on ${where}: ${error.message}` }
  }
}
