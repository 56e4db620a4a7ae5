/**
 * The binary form of a batch: what a gateway writes, a prepare carries and `apply` reads. All integers little-endian.
 *
 * A batch is commands one after another, to the end of the body:
 *
 *   offset size
 *        0    1  code                     (CommandCode)
 *        1    1  flags                    (CommandFlag; a TableNumber for record_*; 0 where none apply)
 *        2    2  key bytes                (0..key_bytes_max)
 *        4    4  value bytes              (0..value_bytes_max)
 *        8    8  argument, signed 64 bits (delta of incr_by; milliseconds of set with `expires`)
 *       16    k  key
 *     16+k    v  value
 *
 * A reply is results one after another, one a command, in the commands' order:
 *
 *   offset size
 *        0    1  kind                     (ResultKind)
 *   nil, ok        nothing follows
 *   integer        8  signed 64 bits
 *   bytes          4  length, then the bytes
 *   error          1  ResultError
 *
 * Plane: data.
 */
export const COMMAND_HEADER_BYTES = 16

export const CommandCode = {
  set: 1,
  get: 2,
  del: 3,
  exists: 4,
  incr_by: 5,
  db_size: 6,
  /** Answers the value or nil, and removes the key. */
  get_del: 7,
  /** Answers the value or nil; `expires` gives a new deadline, `persist` takes it away, neither leaves it. */
  get_ex: 8,
  /** Puts the value behind what is stored. Answers how many bytes there are then. */
  append: 9,
  /** Answers the bytes of the value, 0 for none. */
  str_len: 10,
  /** Argument: offset. Overwrites from there, with zeros before it where nothing was. Answers as append. */
  set_range: 11,
  /** Argument: first byte (low half) and last (high half), both signed and from the end where negative. */
  get_range: 12,
  /** Argument: time to live, or with `absolute` wall time. Answers 1 or 0. A deadline in the past removes the key. */
  expire: 13,
  /** Answers milliseconds to live, or with `absolute` the deadline's wall time; -1 without one, -2 without a key. */
  ttl: 14,
  /** Takes the deadline away. Answers 1 or 0. */
  persist: 15,
  /** Key: machine id. Value: a machine record (machine_record.ts). Inserts or replaces. */
  machine_put: 16,
  /** Key: machine id. Answers the record or nil. */
  machine_get: 17,
  /** Argument: index of the first record wanted. Answers bytes: as many whole records as fit, in table order. */
  machine_list: 18,
  /**
   * The same for every table of records (record_tables.ts), whose number stands in the flags. Key: the record's; value:
   * the whole record. `events` has no keys: its put appends the value's EVENT_BODY_BYTES.
   */
  record_put: 24,
  /** Answers the record or nil. Of an event the argument is its number. */
  record_get: 25,
  /** Answers 1 or 0. Not for events. */
  record_remove: 26,
  /**
   * As machine_list; not for secrets. Of events the argument is the first number wanted: answers that and what follows,
   * from the oldest kept, up to the end of the ring; the next list goes on from there.
   */
  record_list: 27,
  /**
   * Value: the new key. The deadline goes along, and what had the new key is replaced. Answers nil without a key, ok,
   * or with `nx` 1 or 0.
   */
  rename: 32,
  /**
   * Argument: the first entry that is looked at (low half) and how many at the most (high half). Value: a pattern,
   * which the asker applies. Answers bytes: the next scan's first entry, 4 bytes, 0 at the end; then each live key, its
   * length in 2 bytes before it. It ends early where the reply does.
   */
  scan: 33,
} as const
export type CommandCode = (typeof CommandCode)[keyof typeof CommandCode]

export const CommandFlag = {
  /** set, rename: only if the key is absent. expire: only if there is no deadline. */
  nx: 1,
  /** set: only if the key is present. expire: only if there is a deadline. */
  xx: 2,
  /** set: answer the old value (bytes or nil) instead of ok. */
  get: 4,
  /** set: `argument` is the time to live in milliseconds. Without it any old deadline is removed. */
  expires: 8,
  /** expire: only if later than the deadline; none is the latest. */
  gt: 16,
  /** expire: only if earlier than the deadline. */
  lt: 32,
  /** set, get_ex, expire: the argument is wall time, milliseconds since 1970; ttl: the answer is. */
  absolute: 64,
  /** set: an old deadline stays. get_ex: it goes. */
  keeps: 128,
  persist: 128,
} as const

export const ResultKind = { nil: 0, ok: 1, integer: 2, bytes: 3, error: 4 } as const
export type ResultKind = (typeof ResultKind)[keyof typeof ResultKind]

/** Deterministic refusals of `apply`; each changed nothing. The first three name the limit that was reached. */
export const ResultError = {
  kv_entries_max: 1,
  kv_slab_bytes: 2,
  machines_max: 3,
  not_an_integer: 4,
  overflow: 5,
  /** The batch's reply has no room left for this command's answer. */
  reply_bytes_max: 6,
  /** The stored value is not what was written: a memory fault of this machine. */
  corrupt: 7,
  /** A record under another key than its own, or none at all. */
  malformed: 8,
  /** The value would become longer than one may be. */
  value_bytes_max: 9,
  /** Wall time is asked for, and no machine has told it yet. */
  no_wall_clock: 10,
  /** Tables of records, each by the name of its limit. */
  leases_max: 16,
  rules_max: 17,
  secrets_max: 18,
  images_max: 19,
  templates_max: 20,
  workloads_max: 21,
  exports_max: 22,
} as const
export type ResultError = (typeof ResultError)[keyof typeof ResultError]
