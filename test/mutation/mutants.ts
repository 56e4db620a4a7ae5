/**
 * The mutants: each takes one defence out of the protocol, as a patch of the source. A patch names text that occurs
 * exactly once; when the source moves on, the gate says which patch no longer applies. Plane: control.
 */

import type { CatcherName } from "./catchers.ts"

export type Patch = { readonly file: string; readonly find: string; readonly replace: string }

export type Mutant = {
  readonly name: string
  /** What it breaks, and which rule or defect that is. */
  readonly what: string
  readonly patches: readonly Patch[]
  /** The catcher that finds it soonest: what the bounded run uses. */
  readonly quick: CatcherName
  /** It shows where a bit has flipped, or a checkpoint is made and copied: not what the adversary is for. */
  readonly isOfCheckpoints?: true
  /** It shows where a cluster grows: only that catcher has machines that do. */
  readonly isOfGrowth?: true
}

const REPLICA = "appliance/replication/replica.ts"
const HELD = "appliance/replication/held_replies.ts"
const TRANSFER = "appliance/replication/checkpoint_transfer.ts"
const SESSIONS = "appliance/state_machine/sessions.ts"

/** The assertion of rule 8 taken out as well: the checkers themselves must find what follows. */
const NO_PAIRWISE: Patch = {
  file: HELD,
  find: 'assert(entryAt(a.cv, b.from) <= entryAt(b.cv, b.from), "held replies: quorum is not crash-consistent")',
  replace: "",
}
const NO_DOOR: Patch = {
  file: REPLICA,
  find: "    if (!isBlank && entry < entryAt(this.#cv, message.from)) {",
  replace: "    if (!isBlank && entry < 0) {",
}
const NO_EXIT_PRUNE: Patch = { file: REPLICA, find: "    this.#exitVotes.prune(slot, entry)\n", replace: "" }
const NO_JOIN_PRUNE: Patch = {
  file: REPLICA,
  find: 'if (this.#joinViews.prune(slot, entry) && this.#status === "view_change") {',
  replace: 'if (entry < 0 && this.#status === "view_change") {',
}
const NO_CHOSEN_ASSERT: Patch = {
  file: REPLICA,
  find: '    assert(commit <= best.op, "replica: what anyone committed is in the chosen log")\n',
  replace: "    commit = Math.min(commit, best.op)\n",
}
const CHOICE = "if (join.log_view > best.log_view || (join.log_view === best.log_view && join.op > best.op)) {"

function one(find: string, replace: string, file = REPLICA): Patch {
  return { file, find, replace }
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no_vectors",
    what: "no crash-vector check at all (rules 7 and 8; T1, T2, T4)",
    patches: [NO_DOOR, NO_EXIT_PRUNE, NO_JOIN_PRUNE, NO_PAIRWISE],
    quick: "scripted",
  },
  {
    name: "no_door",
    what: "what a dead process said is let in (rule 7)",
    patches: [NO_DOOR],
    quick: "scripted",
  },
  {
    name: "no_prune",
    what: "vectors are merged, held wishes and promises stay (rule 7), the assertion of rule 8 is on",
    patches: [NO_EXIT_PRUNE, NO_JOIN_PRUNE],
    quick: "scripted",
  },
  {
    name: "no_prune_no_assertion",
    what: "the same without the assertion of rule 8",
    patches: [NO_EXIT_PRUNE, NO_JOIN_PRUNE, NO_PAIRWISE],
    quick: "scripted",
  },
  {
    name: "local_filter",
    what: "each replica filters by what it has heard from a machine itself (D1c, T3; five machines)",
    patches: [
      one("  #merge(theirs: CrashVector): void {", "  #merge(theirs: CrashVector, from: number): void {"),
      one(
        "      if (slot !== this.slot && knowsLater(theirs, this.#cv, slot)) {",
        "      if (slot === from && knowsLater(theirs, this.#cv, slot)) {",
      ),
      one("    this.#merge(message.cv)\n", "    this.#merge(message.cv, message.from)\n"),
      NO_PAIRWISE,
    ],
    quick: "scripted",
  },
  {
    name: "truncates_first",
    what: "state transfer drops the suffix before its replacement is in hand (D4)",
    patches: [
      one(
        '      this.#status = "state_transfer"\n    }\n    const { view, op',
        '      this.#status = "state_transfer"\n      this.log.truncateAfter(this.#commit)\n    }\n' +
          "    const { view, op",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "transfer_meets_view_change",
    what: "a view change leaves a state transfer's target in place (D5)",
    patches: [
      one(
        "    this.#refuseWaiting()\n    this.#clearTarget()\n    this.#receiver.stop()\n    this.counters.view_changes",
        "    this.#refuseWaiting()\n    this.#receiver.stop()\n    this.counters.view_changes",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "eager_view",
    what: "the log's view is adopted when it is asked for, not when it is installed (D6)",
    patches: [
      one(
        '      this.#send(to, { type: "get_view", view, ...this.#envelope() })',
        '      this.#logView = this.#status === "view_change" && view === this.#view ? view : this.#logView\n' +
          '      this.#send(to, { type: "get_view", view, ...this.#envelope() })',
      ),
    ],
    quick: "scripted",
  },
  {
    name: "stale_view",
    what: "a view's log is taken from an earlier view (D7)",
    patches: [
      one("    if (message.view < this.#view || !isSuffix(message) || (this", "    if (!isSuffix(message) || (this"),
      one("    if (message.view > this.#view && !isCatchingUp) {", "    if (!isCatchingUp) {"),
    ],
    quick: "scripted",
  },
  {
    name: "same_view_again",
    what: "a member takes the log of its own view once more (D7)",
    patches: [
      one(
        '    if (message.view === this.#view && this.#status !== "view_change" && !isCatchingUp) {\n' +
          "      return\n    }\n",
        "",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "sessions_collide",
    what: "sessions are numbered alike by every client, so request numbers collide (D12a)",
    patches: [
      one(
        "  register(op: number, body: Uint8Array, start: number): number {",
        "  register(_: number, body: Uint8Array, start: number): number {\n    const op = 1",
        SESSIONS,
      ),
    ],
    quick: "scripted",
  },
  {
    name: "in_flight_again",
    what: "a request that is in flight is prepared again (D12b, rule 25)",
    patches: [one("    if (this.#isInFlight(request)) {\n      return false\n    }\n", "")],
    quick: "scripted",
  },
  {
    name: "choice_by_op",
    what: "the new view's log is the longest, whatever its view (D11)",
    patches: [one(CHOICE, "if (join.op > best.op) {")],
    quick: "scripted",
  },
  {
    name: "choice_by_op_no_assertion",
    what: "the same without the assertion that it holds what was committed",
    patches: [one(CHOICE, "if (join.op > best.op) {"), NO_CHOSEN_ASSERT],
    quick: "scripted",
  },
  {
    name: "choice_by_view",
    what: "the new view's log is any of the newest view, whatever its length (D11)",
    patches: [one(CHOICE, "if (join.log_view > best.log_view) {"), NO_CHOSEN_ASSERT],
    quick: "scripted",
  },
  {
    name: "blank_is_normal",
    what: "a blank process takes its old place without recovering (rules 2, 18, 19)",
    patches: [
      one("      own === makeEntry(1, this.#bootNonce)\n    )", "      incarnationOf(own) > 0\n    )"),
      one(
        '    return !this.#isListening() && this.#token !== "" && this.slot',
        "    return !this.#isListening() && this.slot",
      ),
      one("      message.token === this.#token &&\n      incarnationOf(own) > 0", "      incarnationOf(own) > 0"),
      one(
        "    this.#enterView0(message.cv)",
        "    this.#enterView0(withEntry(message.cv, this.slot, makeEntry(1, this.#bootNonce)))",
      ),
    ],
    quick: "hold_back",
  },
  {
    name: "votes_while_syncing",
    what: "a replica in state transfer acknowledges prepares (rule 16)",
    patches: [
      one(
        '    if (this.#status !== "normal") {\n      return false\n    }\n    this.#primaryHeardAt',
        "    this.#primaryHeardAt",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "answers_while_syncing",
    what: "recoveries are answered by whoever is asked, members or not (rules 16, 19)",
    patches: [
      one(
        '    if (this.#status !== "normal" || !this.#isVoter) {\n      return\n    }\n    this.#noteCatchUp',
        "    this.#noteCatchUp",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "stale_nonce",
    what: "answers to an earlier attempt at recovery count (rule 20)",
    patches: [
      one(
        " || message.nonce !== this.#attemptNonce) {\n      return\n    }\n    this.#responses.add",
        ") {\n      return\n    }\n    this.#responses.add",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "leaves_by_timer",
    what: "one replica's wish is enough to leave a view (rule 13)",
    patches: [one("if (this.#exitVotes.count >= this.#faults + 1) {", "if (this.#exitVotes.count >= 1) {")],
    quick: "scripted",
  },
  {
    name: "minority_commits",
    what: "a commit needs one machine fewer than a majority (rule 10)",
    patches: [
      one(
        "      if (value > best && reached >= this.#faults + 1) {",
        "      if (value > best && reached >= this.#faults) {",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "reads_early",
    what: "a new primary serves reads before its log's start is committed (rule 12)",
    patches: [
      one(
        "    return this.isPrimary && this.#commit >= this.#viewStartOp && !this.#isStandbyMissing",
        "    return this.isPrimary && !this.#isStandbyMissing",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "reads_round_under_way",
    what: "a read joins a round that began before it (rule 12)",
    patches: [one("round: this.#round + 1 }, message.body)", "round: this.#round }, message.body)")],
    quick: "scripted",
  },
  {
    name: "recovers_by_f",
    what: "f answers are enough to recover (rule 19)",
    patches: [
      one("    if (this.#responses.count < this.#faults + 1) {", "    if (this.#responses.count < this.#faults) {"),
    ],
    quick: "scripted",
  },
  {
    name: "recovers_without_newest",
    what: "the log may come from the primary of a view that is not the newest (rule 19)",
    patches: [
      one(
        "if (primary === undefined || primary.view !== view || !isSuffix(primary)",
        "if (primary === undefined || !isSuffix(primary)",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "incarnation_unclaimed",
    what: "an incarnation is taken without f + 1 having heard that it will be (rule 4)",
    patches: [
      one(
        "    if (this.#claim === 0 || highest > this.#claim) {\n      this.#claim = highest + 1\n" +
          "      this.#sendProbe()\n      return\n    }\n",
        "    this.#claim = highest + 1\n",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "zombie_unfenced",
    what: "a process goes on beside a later incarnation of its slot (rule 28)",
    patches: [
      one(
        '    if (knowsLater(message.cv, this.#cv, this.slot)) {\n      this.#status = "fenced"\n' +
          "      return false\n    }\n",
        "",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "never_abdicates",
    what: "a primary whom nobody answers goes on saying that it lives (rule 17)",
    patches: [
      one(
        "    if (this.#abdicated || silentMs >= this.#process.abdicate_ms) {",
        "    if (this.#abdicated || silentMs >= 1_000_000_000) {",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "epochs_compared",
    what: "messages of another epoch are taken for messages of this one (rule 27)",
    patches: [
      one(
        "    if (message.epoch !== this.epoch) {\n      if (!isProbing) {\n" +
          "        this.#onOtherEpoch(message)\n      }\n      return isProbing\n    }\n",
        '    if (message.epoch !== this.epoch && message.type === "new_epoch") {\n' +
          "      this.#onOtherEpoch(message)\n      return false\n    }\n",
      ),
    ],
    quick: "scripted",
  },
  {
    name: "certified_by_f",
    what: "f equal roots certify a checkpoint (rule 22)",
    patches: [one("needed: this.#faults + 1, confirming })", "needed: Math.max(1, this.#faults), confirming })")],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "standby_uncounted",
    what: "a checkpoint is certified without the synchronous standby's word (rules 6, 22)",
    patches: [one("const confirming = isBound ? standby?.slot : undefined", "const confirming = undefined")],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "uncertified_handed_out",
    what: "an image is handed out before it is certified (rule 22)",
    patches: [
      one(
        "    if (isCertified && isWhole) {\n      return true\n    }\n",
        "    if (isWhole && this.#image.root !== undefined) {\n      return true\n    }\n",
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "ring_overwritten",
    what: "the log ring is overwritten above the certified checkpoint (rule 21)",
    patches: [
      one(
        "return this.#ringHasSlot() && this.log.bytesSince(this.#checkpoints.certified.op) + 2 * batch <= bytes",
        "return true",
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "page_not_judged",
    what: "a clean page that is not as its digest says convicts nobody (rule 22a)",
    patches: [one("    if (page >= 0) {\n", "    if (page >= this.#limits.log_slots * 1_000) {\n")],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "root_not_judged",
    what: "a root that is not the certified one convicts nobody (rule 22b)",
    patches: [
      one("if (!this.#isTorn && this.#checkpoints.isRefuted) {", "if (this.#isTorn && this.#checkpoints.isRefuted) {"),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "disputed_copied",
    what: "while voters differ, one side's own state is handed out and makes it a majority (rule 22b)",
    patches: [one("    if (this.#mayBeCertified()) {\n", "    if (this.#mayBeCertified() && this.#faults < 0) {\n")],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "torn_applies",
    what: "a convicted primary goes on committing (rule 22c)",
    patches: [
      one("    if (this.#isTorn) {\n      return\n    }\n    const standby", "    const standby"),
      one("    assert(!this.#isTorn || op <= this.#commit, ", "    assert(true, "),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "torn_answers_reads",
    what: "a convicted primary answers the reads that waited (rule 22c)",
    patches: [
      one(
        '      this.#abdicated = true\n      this.#refuseWaiting()\n    } else if (this.#status === "normal") {\n',
        '      this.#abdicated = true\n    } else if (this.#status === "normal") {\n',
      ),
      one("const isDoubtful = this.#isTorn || this.", "const isDoubtful = this."),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "disputed_answers_writes",
    what: "a primary whose memory another contradicts answers writes (rule 22b)",
    patches: [one("if (this.isPrimary && !this.isCheckpointDisputed) {", "if (this.isPrimary) {")],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "disputed_answers_reads",
    what: "a primary whose memory another contradicts answers reads (rule 22b)",
    patches: [
      one("const isDoubtful = this.#isTorn || this.isCheckpointDisputed", "const isDoubtful = this.#isTorn"),
      one('return this.#isMemoryDisputed ? "memory_disputed" : undefined', "return undefined"),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "torn_primary_stays",
    what: "a convicted primary does not step down (rule 22c)",
    patches: [
      one(
        "      // Falls silent until the others leave its view, and copies then.\n      this.#abdicated = true\n",
        "",
      ),
      one('    assert(!this.#isTorn || this.#status !== "normal" || this.#abdicated, ', "    assert(true, "),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "torn_hands_out",
    what: "a convicted machine hands its image out (rule 22c)",
    patches: [
      one('    if (this.#status === "recovering" || this.#isTorn) {', '    if (this.#status === "recovering") {'),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "never_quarantined",
    what: "a machine goes on however often its memory was wrong (rule 22c)",
    patches: [
      one(
        "    if (this.counters.memory_faults < this.#process.memory_faults_max) {",
        "    if (this.counters.memory_faults < 1_000_000) {",
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "replay_skipped",
    what: "what the log holds beyond a copied checkpoint is not applied again (rule 22c)",
    patches: [
      one(
        "    for (let next = op + 1; next <= this.#commit; next += 1) {\n",
        "    for (const next of [] as number[]) {\n",
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "log_too_short",
    what: "a checkpoint is installed from which the own log does not go on (rule 22c)",
    patches: [
      one(
        "    if (op < this.#commit && this.log.checksum(op) !== checksum) {",
        "    if (op < 0 && checksum === root) {",
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "pages_unverified",
    what: "a copied page is believed whatever its digest (rule 18)",
    patches: [
      one(
        "      if (isWanted && (isWhole ? this.#pages.isAs(page) : this.#pages.replace(page, body, at))) {",
        "      if (isWanted && (isWhole || this.#pages.replace(page, body, at) || at >= 0)) {",
        TRANSFER,
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "table_unverified",
    what: "a copied table of digests is believed whatever its root (rule 18)",
    patches: [
      one(
        "    if (this.#pages.root(this.#digest, rootPrefix(this.#op, this.#opChecksum)) !== this.#root) {\n",
        '    if (this.#root === "") {\n',
        TRANSFER,
      ),
    ],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "digests_uncompared",
    what: "pages whose digest the next image changed are not wanted (rule 18)",
    patches: [one("    this.#compareDigests(start, body)\n", "", TRANSFER)],
    quick: "scripted",
    isOfCheckpoints: true,
  },
  {
    name: "grown_unlike",
    what: "a machine without room for the limits that begin may be named (rule 27)",
    patches: [one(" || growsTo === GROWS_TO_NONE || growsTo !== to)", ")")],
    quick: "growth",
    isOfGrowth: true,
  },
  {
    name: "grown_by_majority",
    what: "the old machines are let go when f + 1 have grown: who has not is lost (VRR, section 7)",
    patches: [
      one("grown_to === GROWS_TO_NONE ? this.#faults + 1 : this.voters", "grown_to < 0 ? 0 : this.#faults + 1"),
    ],
    quick: "growth",
    isOfGrowth: true,
  },
  {
    name: "grown_unasked",
    what: "whether all have room is not asked again when the change has waited: another process may be there (rule 27)",
    patches: [
      one(
        "    const notGrown = this.#notGrown(message)\n    if (notGrown !== undefined) {",
        "    const notGrown = 0\n    if (notGrown > 0) {",
      ),
    ],
    quick: "growth",
    isOfGrowth: true,
  },
]

/** Patches that change nothing that anyone could see, and why; not part of the gate. */
export const EQUIVALENTS: readonly Mutant[] = [
  {
    name: "acks_survive_reboot",
    // A primary that keeps the acknowledgements of a machine's dead process could count them for a later op only if
    // that op
    // were at most what was acknowledged; those ops it has committed already or commits now, with that machine's
    // word. The
    // machine's next process recovers with this very primary's answer (rule 19 wants the newest view's primary), so
    // it holds
    // everything that this primary's log held when it answered, all of what was acknowledged included.
    what: "acknowledgements of a machine's dead process are kept by the primary (rule 7)",
    patches: [one("    this.#acked[slot] = 0\n    this.#ackedAt[slot]", "    this.#ackedAt[slot]")],
    quick: "scripted",
  },
  {
    name: "torn_is_asked_to_read",
    // Reads wait at a primary only. Whoever is convicted as one refuses those that wait, has abdicated, and refuses
    // those that come; in every other status it is no primary. So there is no read that this look could hold back.
    what: "reads are served without asking whether the arena is believed (rule 22c)",
    patches: [one("const isDoubtful = this.#isTorn || this.", "const isDoubtful = this.")],
    quick: "scripted",
  },
]
