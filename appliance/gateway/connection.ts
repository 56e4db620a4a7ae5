/**
 * One RESP connection without its socket: bytes in, commands to its session, replies out in the order of the commands.
 * Objects and buffers are made once and lent to one client after the other. Plane: data.
 */
import { assert } from "../types/assert.ts"
import type { Owner } from "./batch.ts"
import type { LoginState } from "./resp_access.ts"
import {
  CONNECTION_COMMAND_MS,
  CONNECTION_LOGIN_MS,
  CONNECTION_OUT_BYTES_MAX,
  CONNECTION_OUT_PAUSE_BYTES,
  CONNECTION_OUT_STALLED_MS,
} from "./limits.ts"
import { ParseStatus, RequestParser } from "./resp/parser.ts"
import { type ReplyDrain, ReplyWriter } from "./resp/reply_writer.ts"
import type { Session } from "./session.ts"

/** The socket, as far as a connection needs one. */
export interface ConnectionSink {
  /** Copies `bytes[0, length)` and sends it; several writes of one turn leave together. */
  write(bytes: Buffer, length: number): void
  /** Everything of this turn was written. */
  endTurn(): void
  /** Bytes written that the other side has not taken. */
  pendingBytes(): number
  /** No more receive() until resume(). */
  pause(): void
  resume(): void
  /** Closes when all that was written is sent. */
  end(): void
  /** Closes now. */
  destroy(): void
}

/** What a connection asks of its gateway. */
export interface ConnectionHost {
  /** Executes the command that the parser holds. False: there is no room, try again later. */
  execute(connection: Connection): boolean
  /** Answers the parser's error as the connection's last reply. False: there is no room, try again later. */
  executeError(connection: Connection): boolean
  /** There is something to flush. */
  onWork(connection: Connection): void
  /** Waits for room in its session. */
  onWait(connection: Connection): void
  /** Took more than it reads. */
  onSlow(connection: Connection): void
  /** Nothing is owed to it any more: the object may be lent again. */
  onReleased(connection: Connection): void
}

export class Connection implements Owner, ReplyDrain {
  readonly out: ReplyWriter
  readonly parser: RequestParser
  readonly #host: ConnectionHost
  #sink: ConnectionSink | undefined
  #session: Session | undefined
  #id = 0

  pending = 0
  answeredIn = 0
  retainedIn = 0
  /** 2 or 3. */
  protocol = 2
  name = ""
  readonly login: LoginState = { generation: 0, failures: 0, answerAt: 0 }
  /** The gateway's: in its list of connections with work, in its list of those that wait. */
  isListed = false
  isWaiting = false

  /** From open() until nothing is owed any more, which may be later than the end of the socket. */
  #isLent = false
  #isOpen = false
  /** The last reply is written or on its way: what still comes in is dropped. */
  #isClosing = false
  #isAllAnswered = false
  #isOutFull = false
  #isPaused = false
  /** Bytes that were received and not yet parsed: at most one chunk, since the socket is paused meanwhile. */
  #chunk: Buffer | undefined
  #offset = 0
  #hasCommand = false
  #pendingBytes = 0
  #progressAt = 0
  /** Commands of this client, the one that was amid at the last look, and since when. */
  #commands = 0
  #amidCommand = -1
  #amidAt = 0
  /** Since when it was seen to owe the password; -1: it does not. */
  #owesLoginAt = -1

  constructor(options: { readonly host: ConnectionHost; readonly input: Buffer; readonly output: Buffer }) {
    this.#host = options.host
    this.parser = new RequestParser(options.input)
    this.out = new ReplyWriter(options.output, this)
  }

  get id(): number {
    return this.#id
  }
  get isOpen(): boolean {
    return this.#isOpen
  }
  get session(): Session {
    assert(this.#session !== undefined, "connection: belongs to a session while it is open")
    return this.#session
  }

  open(sink: ConnectionSink, session: Session, id: number): void {
    assert(!this.#isOpen && !this.#isLent && this.pending === 0, "connection: lent to one client at a time")
    // Not at release: that may happen amid a command that still reads its arguments and writes its reply.
    this.parser.reset()
    this.out.clear()
    this.#isLent = true
    this.#sink = sink
    this.#session = session
    this.#id = id
    session.connections += 1
    this.protocol = 2
    this.name = ""
    this.login.generation = 0
    this.login.failures = 0
    this.login.answerAt = 0
    this.#isOpen = true
    this.#isClosing = false
    this.#isAllAnswered = false
    this.#isOutFull = false
    this.#isPaused = false
    this.#hasCommand = false
    this.#pendingBytes = 0
    this.#commands = 0
    this.#amidCommand = -1
    this.#owesLoginAt = -1
  }

  // ---------------------------------------------------------------- in

  /** Bytes from the socket. The chunk is kept until it is parsed: nobody may write to it any more. */
  receive(chunk: Buffer): void {
    if (!this.#isOpen || this.#isClosing) {
      return
    }
    assert(this.#chunk === undefined, "connection: a paused socket brings nothing")
    this.#chunk = chunk
    this.#offset = 0
    this.#run()
  }

  /** There may be room now. */
  retry(): void {
    if (this.#isOpen && !this.#isClosing && this.#isPaused && !this.isWaiting) {
      this.#run()
    }
  }

  /** The socket took all that was written. */
  onDrained(): void {
    if (this.#isOutFull) {
      this.#isOutFull = false
      this.retry()
    }
  }

  #run(): void {
    const isDone = this.#runCommands()
    if (isDone) {
      this.#chunk = undefined
      this.#setPaused(false)
    } else {
      this.#setPaused(true)
    }
    this.#host.onWork(this)
  }

  /** False: has to wait. Each turn of the loop takes a command or bytes, so it ends with the chunk. */
  #runCommands(): boolean {
    for (;;) {
      if (!this.#hasCommand) {
        const status = this.parser.next()
        if (status === ParseStatus.more) {
          const chunk = this.#chunk
          if (chunk === undefined || this.#offset === chunk.length) {
            return true
          }
          this.#offset += this.parser.write(chunk, this.#offset)
          continue
        }
        if (status === ParseStatus.error) {
          return !this.#isOutFull && this.#wait(this.#host.executeError(this))
        }
        this.#hasCommand = true
      }
      if (this.#isOutFull || !this.#wait(this.#host.execute(this))) {
        return false
      }
      this.#hasCommand = false
      this.#commands += 1
      if (this.#isClosing || !this.#isOpen) {
        return true
      }
    }
  }

  #wait(hasRoom: boolean): boolean {
    if (!hasRoom) {
      this.#host.onWait(this)
    }
    return hasRoom
  }

  #setPaused(isPaused: boolean): void {
    if (isPaused !== this.#isPaused && this.#isOpen) {
      this.#isPaused = isPaused
      if (isPaused) {
        this.#sink?.pause()
      } else {
        this.#sink?.resume()
      }
    }
  }

  // ---------------------------------------------------------------- out

  /** What is executed next will be the last: QUIT, or a protocol error. */
  beginClosing(): void {
    this.#isClosing = true
  }

  onAnswer(closes: boolean): void {
    if (closes) {
      this.#isAllAnswered = true
    }
    if (this.#isOpen) {
      this.#host.onWork(this)
    } else if (this.pending === 0 && this.#isLent) {
      this.#release()
    }
  }

  drain(bytes: Buffer, length: number): void {
    const sink = this.#sink
    if (!this.#isOpen || sink === undefined) {
      return
    }
    sink.write(bytes, length)
    const pending = sink.pendingBytes()
    if (pending > CONNECTION_OUT_BYTES_MAX) {
      this.#disconnectSlow()
    } else if (pending > CONNECTION_OUT_PAUSE_BYTES) {
      this.#isOutFull = true
    }
  }

  /** The end of a turn: everything answered so far leaves in one write. */
  flush(): void {
    if (!this.#isOpen) {
      return
    }
    this.out.flush()
    // Flushing may have found the client too slow, and closed it.
    this.#sink?.endTurn()
    if (this.#isOpen && this.#isAllAnswered) {
      const sink = this.#sink
      this.#leave()
      sink?.end()
    }
  }

  /** Disconnects a client that reads nothing of what waits for it, that drips, or that never says who it is. */
  checkProgress(now: number, isLoggedIn: boolean): void {
    const sink = this.#sink
    if (!this.#isOpen || sink === undefined) {
      return
    }
    if (this.#isStalled(now, sink.pendingBytes()) || this.#isDripping(now) || this.#isNobody(now, isLoggedIn)) {
      this.#disconnectSlow()
    }
  }

  #isStalled(now: number, pending: number): boolean {
    if (pending === 0 || pending !== this.#pendingBytes) {
      this.#pendingBytes = pending
      this.#progressAt = now
    }
    return now - this.#progressAt >= CONNECTION_OUT_STALLED_MS
  }

  /** Not while it is this machine that lets it wait. */
  #isDripping(now: number): boolean {
    if (this.#isPaused || this.#hasCommand || !this.parser.isAmid) {
      this.#amidCommand = -1
      return false
    }
    if (this.#amidCommand !== this.#commands) {
      this.#amidCommand = this.#commands
      this.#amidAt = now
    }
    return now - this.#amidAt >= CONNECTION_COMMAND_MS
  }

  #isNobody(now: number, isLoggedIn: boolean): boolean {
    if (isLoggedIn) {
      this.#owesLoginAt = -1
      return false
    }
    if (this.#owesLoginAt < 0) {
      this.#owesLoginAt = now
    }
    return now - this.#owesLoginAt >= CONNECTION_LOGIN_MS
  }

  #disconnectSlow(): void {
    this.#host.onSlow(this)
    this.destroy()
  }

  /** Closes without another word. */
  destroy(): void {
    const sink = this.#sink
    if (this.#isOpen) {
      this.#leave()
      sink?.destroy()
    }
  }

  /** The socket is gone. Answers that are still to come are dropped: over RESP a broken connection means unknown. */
  onClosed(): void {
    if (this.#isOpen) {
      this.#leave()
    }
  }

  #leave(): void {
    assert(this.#isOpen, "connection: leaves once")
    this.#isOpen = false
    this.#isClosing = true
    this.session.connections -= 1
    this.#sink = undefined
    this.#chunk = undefined
    this.#hasCommand = false
    if (this.pending === 0) {
      this.#release()
    }
  }

  #release(): void {
    assert(!this.#isOpen && this.pending === 0, "connection: released when nothing is owed to it")
    assert(this.#isLent, "connection: released once")
    this.#isLent = false
    this.#host.onReleased(this)
  }
}
