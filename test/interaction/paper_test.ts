/**
 * Viewstamped Replication Revisited (Liskov and Cowling, 2012; VRR), section by section, as this cluster does it: each
 * script says where it goes another way than the paper, and why. Plane: control.
 */
import { scenario } from "./scenario.ts"

scenario({
  name: "vrr_4_1_normal_case",
  title: "VRR 4.1, normal operation",
  prose: `The primary gives a request its op number and tells the backups (prepare); it commits when f of them hold it
    (prepare_ok), answers the client, and tells the commit number with the next prepare, or with a heartbeat
    (commit) when there is none. Figure 1 of the paper.`,
  voters: 3,
  play: (script) => {
    const a = script.newcomer("a")
    script.say("A session begins in the log, so that every replica knows it: its number is the op that registered it.")
    a.register(0)
    script.settle()
    script.say(`Request, prepare, prepare_ok from one of two backups: that is a majority with the primary, and 2 is
      not waited for.`)
    a.set("x", "1", 0)
    script.deliver("prepare 0→1")
    script.deliver("prepare_ok 1→0")
    script.deliver("reply 0→a")
    script.expectAnswer(a, "ok")
    script.deliver("prepare 0→2")
    script.deliver("prepare_ok 2→0")
    script.say("The backups execute what is committed when the next prepare tells them.")
    a.set("x", "2", 0)
    script.settle()
    script.say("Without a next request the heartbeat tells them.")
    script.timeout(0, "commit")
    script.settle()
    script.show(0, 1, 2)
  },
})

scenario({
  name: "vrr_4_1_pipeline",
  title: "VRR 4.1, several requests in flight",
  prose: `Prepares are pipelined, at most P of them (here 2), and accepted in order: a backup that hears the second
    first asks
    for what lies between. A prepare_ok is cumulative. Who comes when the pipeline is full waits at the primary.`,
  voters: 3,
  play: (script) => {
    const [a, b, c] = [script.client("a"), script.client("b"), script.client("c")]
    a.set("x", "1", 0)
    b.set("y", "1", 0)
    script.say("The third request finds the pipeline full.")
    c.set("z", "1", 0)
    script.say("1 gets the second prepare first: it keeps it not, and asks for the one before.")
    script.drop("prepare 0→2")
    script.deliver("prepare(op5) 0→1")
    script.expect(1, "normal v0 op3")
    script.say("The first arrives now, and again as the answer, which adds nothing. The second is repeated in time.")
    script.deliver("prepare(op4) 0→1")
    script.deliver("get_log 1→0")
    script.deliver("log 0→1")
    script.expect(1, "normal v0 op4")
    script.hold("prepare_ok 1→0")
    script.timeout(0, "prepare")
    script.drop("prepare 0→2")
    script.deliver("prepare 0→1")
    script.drop("prepare_ok(op4) 1→0")
    script.say("One word of 1 for both commits both, and makes room for the third.")
    script.settle([0, 1])
    script.expectAnswer(a, "ok")
    script.expectAnswer(b, "ok")
    script.expectAnswer(c, "ok")
  },
})

scenario({
  name: "vrr_4_2_view_change",
  title: "VRR 4.2, a view change",
  prose: `The primary crashes. In the paper one replica's timer starts the change (STARTVIEWCHANGE); here a view is
    left only
    when f + 1 wish to (exit_view): a single slow machine must not disturb the others, and the quorum stands in for
    the disk write of the view number. Then as in the paper: f + 1 promises with their logs (join_view for
    DOVIEWCHANGE), the best log is the new view's, and the new primary shows it (view for STARTVIEW).`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("x is committed by 0 and 2 and the client is told. Then 0 crashes: of the living only 2 has x.")
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.crash(0)
    script.say("The wish of 1 alone moves nothing.")
    script.timeout(1, "exit_view")
    script.deliver("exit_view 1→2")
    script.expect(2, "normal v0")
    script.say(`With the wish of 2 there are f + 1: 2 joins view 1 and promises that it accepts nothing of view 0
      any more.`)
    script.timeout(2, "exit_view")
    script.deliver("exit_view 2→1")
    script.say(`1, the primary of view 1, has its own promise and gets that of 2, whose log is longer. It fetches
      what it lacks first.`)
    script.deliver("join_view 2→1")
    script.deliver("get_log 1→2")
    script.expect(1, "view_change v1 (log of v0) op1")
    script.deliver("log 2→1")
    script.expect(1, "normal v1 op2 c1 primary")
    script.say("It shows the log of view 1, and x is committed in it when 2 acknowledges it.")
    script.settle([1, 2])
    script.expect(1, "normal v1 op2 c2 primary")
    script.say(`The client, told by nobody, asks 1 for the same again: it was done once and is answered from the
      table.`)
    a.retry(1)
    script.settle([1, 2])
    script.expectAnswer(a, "ok")
    script.show(1, 2)
  },
})

scenario({
  name: "vrr_4_3_recovery",
  title: "VRR 4.3, recovery",
  prose: `A machine that lost its memory must not vote before it knows what it may have promised. Before the paper's
    recovery
    with a nonce it finds its incarnation: it asks (probe), says which it means to take, and takes it when f + 1
    have heard so. It copies a checkpoint from any peer, and then needs f + 1 answers, the primary's among them.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle()
    script.crash(2)
    a.set("x", "2", 0)
    script.settle([0, 1])
    script.dropRest()
    script.say("Blank, it asks who is there, and learns that its slot had incarnation 1.")
    script.boot(2)
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.say("It says that it means to be incarnation 2, and is when two have heard it.")
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.expect(2, "recovering (checkpoint)")
    script.say(`It asks for the digests of the last checkpoint's pages. That was before the first write: no page
      differs, and the rest comes from the log.`)
    script.deliver("get_checkpoint 2→*")
    script.deliver("checkpoint_chunk *→2")
    script.expect(2, "recovering (recovery)")
    script.say(`Then the paper's recovery. The answer of 1 alone is not enough, and neither are two without the
      primary's.`)
    script.deliver("recovery 2→1")
    script.deliver("recovery_response 1→2")
    script.expect(2, "recovering (recovery)")
    script.deliver("recovery 2→0")
    script.deliver("recovery_response 0→2")
    script.settle()
    script.expect(2, "normal v0 op3")
    script.show(0, 2)
  },
})

scenario({
  name: "vrr_4_3_deposed_primary",
  title: "VRR 4.3, why one answer is not enough, be it the primary's",
  prose: `0 is primary of view 0 and does not know that 1 has begun view 1 with the promise of 2. 2 crashes. If the
    answer of 0
    alone let it come back into view 0, the two would acknowledge a write that view 1 does not have. f + 1 answers meet
    every quorum that could have begun a view, so one of them knows of it.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.timeout(1, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 1→2")
    script.deliver("join_view 2→1")
    script.expect(1, "normal v1 op1")
    script.dropRest()
    script.crash(2)
    script.boot(2)
    script.briefly("2 finds its incarnation and copies a checkpoint", () => {
      script.settle([0, 1, 2], "recovery 2→*")
      script.timeout(2, "recovery")
    })
    script.say("0 answers at once; the question to 1 is slow.")
    script.deliver("recovery 2→0")
    script.deliver("recovery_response 0→2")
    script.deliverIfAny("prepare_ok 2→0")
    script.expect(2, "recovering (recovery)")
    a.set("x", "1", 0)
    script.deliver("prepare 0→2")
    script.deliverIfAny("prepare_ok 2→0")
    script.expectNone("reply 0→a")
    script.say("1 answers: there is a view 1, and 2 takes its log.")
    script.deliver("recovery 2→1")
    script.deliver("recovery_response 1→2")
    script.deliver("get_log 2→1")
    script.deliver("log 1→2")
    script.expect(2, "normal v1")
    script.dropRest()
  },
})

scenario({
  name: "vrr_4_3_nobody_helps",
  title: "VRR 4.3, when too few can answer",
  prose: `Two of three have lost their memory, and nobody can know what was acknowledged. Nothing is elected, nothing is
    answered: the one survivor commits nothing, and the blank ones stay blank until an operator restores an export
    (rule 5).`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle()
    script.crash(1)
    script.crash(2)
    script.boot(1)
    script.boot(2)
    script.settle()
    script.expect(1, "blank (probe)")
    script.expect(2, "blank (probe)")
    a.set("x", "2", 0)
    script.settle()
    script.expectAnswer(a, undefined)
    script.say("Blank machines answer each other's probes, and that counts for nothing: f + 1 operational ones must.")
    script.timeout(1, "probe")
    script.settle()
    script.expect(1, "blank (probe)")
    script.endsHere()
  },
})

scenario({
  name: "vrr_5_1_checkpoint",
  title: "VRR 5.1, a log that does not reach back far enough",
  prose: `The log is a ring (here of 16 entries) that drops what a certified checkpoint covers. Who lacks an entry that
    has left it is told so (log_gone) and copies the checkpoint: the digests of its pages, and the pages that differ.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "0", 0)
    script.hold("prepare 0→2")
    script.replay("prepare 0→2")
    script.settle()
    script.briefly("0 and 1 commit writes that 2 does not hear of, and certify three checkpoints", () => {
      script.wait(0, 1_000)
      for (let write = 1; write <= 22; write += 1) {
        a.set("x", String(write), 0)
        script.settle([0, 1])
        script.run([0, 1], "certify what there is", () => script.isCertified(0))
      }
      script.dropRest()
    })
    script.show(0, 2)
    // A backup that acknowledged a moment ago would be waited for (rule 11).
    script.say("The heartbeat tells 2 how far the view is.")
    script.timeout(0, "commit")
    script.deliver("commit 0→2")
    script.deliver("get_log 2→0")
    script.deliver("log_gone 0→2")
    script.expect(2, "state_transfer v0 op2 c2")
    script.say("While it copies, it votes for nothing: a prepare is not acknowledged.")
    script.deliver("get_checkpoint 2→0")
    a.set("x", "23", 0)
    script.deliver("prepare 0→2")
    script.expectNone("prepare_ok 2→0")
    script.settle([0, 1])
    script.settle([0, 2])
    script.expect(2, "normal v0 op27 c27")
    script.say("The rest it takes from the log.")
    script.timeout(0, "commit")
    script.settle()
    script.show(0, 2)
  },
})

scenario({
  name: "vrr_5_2_same_view",
  title: "VRR 5.2, state transfer within a view",
  prose: `A backup missed entries of its own view. It asks for them by op, from the one after its last, and keeps all
    that
    it has: nothing is ever dropped before its replacement is in hand. Each entry must name the one before it.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("2 misses two entries.")
    a.set("x", "1", 0)
    script.settle([0, 1])
    script.dropRest()
    a.set("x", "2", 0)
    script.settle([0, 1])
    script.dropRest()
    script.say("The third prepare tells it that there are some in between.")
    a.set("x", "3", 0)
    script.deliver("prepare 0→2")
    script.deliver("get_log 2→0")
    script.deliver("log 0→2")
    script.say("The prepare itself was ahead of its time and is not kept: the next heartbeat brings it.")
    script.settle([0, 1])
    script.timeout(0, "commit")
    script.settle()
    script.expect(2, "normal v0 op4 c4")
  },
})

scenario({
  name: "vrr_5_2_across_views",
  title: "VRR 5.2, state transfer into a later view",
  prose: `0 was cut off with an entry that nobody else has, and view 1 has begun without it. In the paper it would set
    its op
    number back to its commit number at once. Here it goes into a status of its own, asks for what follows its commit
    number, and its log, view and rank stay as they are until the new log is in hand.`,
  voters: 3,
  play: (script) => {
    const [a, b] = [script.client("a"), script.client("b")]
    script.say("0 prepares y, which nobody hears. 1 and 2 begin view 1 without it, and commit x.")
    b.set("y", "lonely", 0)
    script.dropRest()
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    a.set("x", "1", 1)
    script.settle([1, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.show(0, 1, 2)
    script.say("A heartbeat of view 1 reaches 0. It asks to see that view's log, and changes nothing.")
    script.timeout(1, "commit")
    script.deliver("commit 1→0")
    script.expect(0, "normal v0 op3")
    script.deliver("get_view 0→1")
    script.deliver("view 1→0")
    script.expect(0, "state_transfer v0 op3")
    script.say("It asks from its commit number on, not from its op number: entry 3 is another one there.")
    script.deliver("get_log 0→1")
    script.deliver("log 1→0")
    script.expect(0, "normal v1 op3")
    script.show(0, 1)
    script.settle()
    script.say("y was never answered, so its client asks again.")
    b.retry(1)
    script.settle()
    script.expectAnswer(b, "ok")
  },
})

scenario({
  name: "vrr_4_1_at_most_once",
  title: "VRR 4.1, the client table: a retry is executed once",
  prose: `A client that hears nothing sends the same number and the same bytes again. The table of sessions, part of the
    replicated state, says what was answered. It changes when an op is committed and at no other time.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("n is incremented; the answer is lost. Asked again, the primary answers from the table.")
    a.incr("n", 0)
    script.deliver("prepare 0→1")
    script.deliver("prepare_ok 1→0")
    script.drop("reply 0→a")
    a.retry(0)
    script.deliver("reply 0→a")
    script.expectAnswer(a, "1")
    script.say("Asked twice while it is in flight: there is one entry, and one answer.")
    script.settle()
    a.incr("n", 0)
    a.retry(0)
    script.settle()
    script.expectAnswer(a, "2")
    script.show(0)
    script.say("The primary crashes with the answer under way. The new one knows what was answered.")
    a.incr("n", 0)
    script.deliver("prepare 0→*")
    script.deliver("prepare_ok *→0")
    script.drop("reply 0→a")
    script.crash(0)
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.replica(1).commit === 4)
    a.retry(1)
    script.settle([1, 2])
    script.expectAnswer(a, "3")
  },
})

scenario({
  name: "sessions_evicted",
  title: "VRR 4.1, the client table is bounded",
  prose: `There is room for so many sessions (here 4). One more evicts the one that has committed nothing for longest,
    the same on
    every replica; its client is told \`evicted\`, and must not take that for "it was not done".`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    const others = ["b", "c", "d"].map((name) => script.client(name))
    a.set("x", "1", 0)
    script.briefly("a, then b, c and d write", () => {
      script.settle()
      for (const other of others) {
        other.set("x", other.name, 0)
        script.settle()
      }
    })
    script.client("e")
    a.set("x", "2", 0)
    script.settle()
    script.expectAnswer(a, "evicted")
    script.say("It registers anew and goes on.")
    a.register(0)
    script.settle()
    a.set("x", "3", 0)
    script.settle()
    script.expectAnswer(a, "ok")
  },
})

scenario({
  name: "abdication",
  title: "A primary that is not heard abdicates (rule 17)",
  prose: `0 can be heard and hears nothing: its heartbeats keep the backups content while it commits nothing. The
    paper has no
    answer to that. With prepares in flight and no prepare_ok it falls silent, and the others do the rest.`,
  voters: 3,
  play: (script) => {
    const [a, b] = [script.client("a"), script.client("b")]
    a.set("x", "1", 0)
    script.deliver("prepare 0→*")
    script.drop("prepare_ok *→0")
    script.say("Its heartbeats reach the others, nothing reaches it. A read waits for a round in vain.")
    b.get("x", 0)
    script.deliver("commit 0→*")
    script.dropRest()
    script.say("It gives up, and tells those who wait to look for another primary.")
    script.timeout(0, "exit_view")
    script.expectUnderWay("exit_view 0→*")
    script.deliver("exit_view 0→*")
    script.say("Now that it is silent, the others wish so too, and view 1 begins with x in its log.")
    script.timeout(1, "exit_view")
    script.deliver("exit_view 1→2")
    script.deliver("join_view 2→1")
    script.settle([1, 2])
    script.expect(1, "normal v1 op3 c3 primary")
    a.retry(1)
    script.settle([1, 2])
    script.expectAnswer(a, "ok")
  },
})

scenario({
  name: "lagging_machine",
  title: "A machine that missed a view change is brought into the view",
  prose: `4 is cut off while view 1 begins. It wishes to leave view 0, again and again; that disturbs nobody, and the
    first wish
    that arrives is answered by any member with the log of the view that 4 lacks.`,
  voters: 5,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle()
    script.crash(0)
    script.run([1, 2, 3], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2, 3]))
    script.timeout(4, "exit_view")
    script.deliver("exit_view 4→3")
    script.expect(3, "normal v1")
    script.deliver("view 3→4")
    script.expect(4, "normal v1")
    script.dropRest()
  },
})

scenario({
  name: "zombie_primary",
  title: "Two live processes of one slot: the older is fenced (rule 28)",
  prose: `The primary 0 is taken for dead, and another process of its slot recovers as incarnation 2. The first was
    only cut
    off, and still believes that it is the primary of view 0. Every quorum is of one incarnation a slot: the zombie
    commits nothing and answers no read, and the first answer that it gets tells it to end.`,
  voters: 3,
  play: (script) => {
    const [a, b] = [script.client("a"), script.client("b")]
    a.set("x", "1", 0)
    script.settle()
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    script.twin(0)
    script.run([0, 1, 2], "0 recovers into view 1", () => script.isOneView())
    a.set("x", "2", 1)
    script.settle()
    script.expectAnswer(a, "ok")
    script.say("The zombie wakes. A client that still believes in it writes and reads.")
    b.set("x", "zombie", "0'")
    a.get("x", "0'")
    script.say("Its letters reach the others, who know better, and answer so that it learns of its end.")
    script.deliver("old prepare 0→1")
    script.deliver("old commit 0→2")
    script.expectNone("prepare_ok 1→0")
    script.deliver("probe_ok 1→0'")
    script.expect("0'", "fenced")
    script.expectAnswer(b, undefined)
    script.expectAnswer(a, undefined)
    b.set("x", "zombie again", "0'")
    script.expectNone("old prepare 0→1")
    script.dropRest()
  },
})

scenario({
  name: "zombie_backup",
  title: "Two live processes of one slot: the older's acknowledgement does not count",
  prose: `2 is slow, not dead. While its acknowledgement of x is under way, a second process of its slot recovers
    without x. If
    the old word counted, x would be committed on 0 alone.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.hold("prepare 0→2")
    script.dropRest()
    script.say("2 is shown x only after its successor has come up to the point at which 0 has heard of it.")
    script.twin(2)
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.deliver("get_checkpoint 2→*")
    script.deliver("checkpoint_chunk *→2")
    script.deliver("prepare 0→2'")
    script.expect("2'", "normal v0 op2")
    script.hold("old prepare_ok 2→0")
    script.say("The successor speaks to 0, then the word of the zombie arrives.")
    script.run([0, 1, 2], "2 recovers", () => script.replica(2).status === "normal")
    script.deliver("old prepare_ok 2→0")
    script.deliver("probe_ok 0→2'")
    script.expect("2'", "fenced")
  },
})

scenario({
  name: "reads_by_rounds",
  title: "Reads: a round that begins after the read arrived (rule 12)",
  prose: `A read is not put into the log. The primary answers it when a numbered heartbeat that it sent after the read
    arrived has
    been confirmed by a majority: at that time it was still the primary, so it knew of all that was acknowledged
    before. No lease, no clock.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle()
    script.say("A heartbeat is under way when the read arrives: its round began too early and does not count.")
    script.timeout(0, "commit")
    a.get("x", 0)
    script.deliver("commit 0→1")
    script.expectAnswer(a, undefined)
    script.say("When it is confirmed the next begins at once, since a read waits for it.")
    script.deliver("commit_ok 1→0")
    script.expectAnswer(a, undefined)
    script.deliver("commit 0→1")
    script.deliver("commit_ok 1→0")
    script.deliver("read_reply 0→a")
    script.expectAnswer(a, "1")
    script.dropRest()
  },
})

scenario({
  name: "reads_deposed_primary",
  title: "Reads: a primary that was deposed and does not know it answers none",
  prose: `0 was cut off, view 1 has begun and acknowledged x=2. A read at 0 would be answered with x=1, from the past.`,
  voters: 3,
  play: (script) => {
    const [a, b] = [script.client("a"), script.client("b")]
    a.set("x", "1", 0)
    script.settle()
    script.say("A round is under way at 0 when it is cut off: 1 confirms it, and its word is slow.")
    script.timeout(0, "commit")
    script.deliver("commit 0→1")
    script.hold("commit_ok 1→0")
    script.dropRest()
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    a.set("x", "2", 1)
    script.settle([1, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("The read arrives at 0, and after it the slow word of 1 for the round before.")
    b.get("x", 0)
    script.deliver("commit_ok 1→0")
    script.expectAnswer(b, undefined)
    script.say("Nobody confirms the next round, and 0 gives up.")
    script.drop("commit 0→*")
    script.timeout(0, "exit_view")
    script.dropRest()
  },
})

scenario({
  name: "reads_new_primary",
  title: "Reads: a new primary answers none before its installed log is committed (rule 12)",
  prose: `x was acknowledged by 0 and 2. 1 becomes primary of view 1 and has x in its log, but its commit number lies
    below it.
    Heartbeats are confirmed, acknowledgements are lost: a read must wait, or it is answered from the past.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.crash(0)
    script.timeout(1, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 2→1")
    script.deliver("exit_view 1→2")
    script.deliver("join_view 2→1")
    script.deliver("get_log 1→2")
    script.deliver("log 2→1")
    script.expect(1, "normal v1 op2 c1 primary")
    a.get("x", 1)
    script.say("2 enters the view and confirms rounds; that it holds x does not arrive.")
    script.deliver("view 1→2")
    script.drop("prepare_ok 2→1")
    for (let round = 0; round < 2; round += 1) {
      script.deliver("commit 1→2")
      script.drop("prepare_ok 2→1")
      script.deliver("commit_ok 2→1")
      script.expectAnswer(a, undefined)
      script.timeout(1, "commit")
    }
    script.say("Now it does.")
    script.settle([1, 2])
    script.expectAnswer(a, "1")
  },
})

scenario({
  name: "formation",
  title: "Formation: all members blank under one token (rule 3)",
  prose: `A cluster is founded when every machine has told it that it is blank, under the same token; never by a
    majority. What
    is founded begins as normal in view 0, with incarnation 1 for everybody.`,
  voters: 3,
  blank: true,
  play: (script) => {
    script.say("Two of three: they agree, and nothing is founded.")
    script.boot(0, { token: true })
    script.boot(1, { token: true })
    script.settle()
    script.expect(0, "blank (probe)")
    script.expect(1, "blank (probe)")
    script.say(`The third boots. Each asks anew when it hears of another process, and founds when all hold the same
      three.`)
    script.boot(2, { token: true })
    script.settle()
    script.expect(0, "normal v0 op0 c0 primary")
    script.expect(1, "normal v0")
    script.expect(2, "normal v0")
  },
})

scenario({
  name: "formation_counted_blank",
  title: "Formation: a machine that was counted while blank enters late",
  prose: `2 answers the others and gets no answer itself. They found the cluster with it. It is the very process that
    was
    counted, so it has promised nothing that it could have forgotten, and enters when it hears of the cluster.`,
  voters: 3,
  blank: true,
  play: (script) => {
    for (const slot of [0, 1, 2]) {
      script.boot(slot, { token: true })
    }
    script.settle([0, 1, 2], "probe_ok *→2")
    script.expect(0, "normal v0 op0 c0 primary")
    script.expect(1, "normal v0")
    script.expect(2, "blank (probe)")
    script.say("Its next question is answered.")
    script.timeout(2, "probe")
    script.settle()
    script.expect(2, "normal v0")
  },
})

scenario({
  name: "formation_counted_and_rebooted",
  title: "Formation: a machine that was counted while blank, and rebooted, recovers",
  prose: `As before, but 2 crashes before it hears of the cluster. Its next process has the token too, and is not the
    one that was
    counted: for all that it knows, that one voted. So it finds its incarnation and recovers.`,
  voters: 3,
  blank: true,
  play: (script) => {
    for (const slot of [0, 1, 2]) {
      script.boot(slot, { token: true })
    }
    script.briefly("0 and 1 found the cluster; nothing reaches 2", () => script.settle([0, 1, 2], "probe_ok *→2"))
    script.expect(1, "normal v0")
    script.crash(2)
    script.boot(2, { token: true })
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.expect(2, "blank (probe)")
    script.settle()
    script.expect(2, "normal v0")
  },
})
