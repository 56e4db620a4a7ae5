// First lines of the bundle. /init starts Node while the network card still negotiates, because Node takes a second to
// start on a slow machine; here it waits until /init has written who it is on the network. /init halts the machine when
// the network never comes, so this loop needs no end of its own.
if (process.env.MANDALA_NETWORK !== undefined) {
  // Nothing is declared outside of this block: the bundler does not know the names that are taken here.
  const { existsSync } = process.getBuiltinModule("node:fs")
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(process.env.MANDALA_NETWORK)) {
    Atomics.wait(sleeper, 0, 0, 5)
  }
}
