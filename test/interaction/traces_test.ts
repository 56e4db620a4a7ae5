/**
 * The schedules that lose an acknowledged write in Viewstamped Replication without crash vectors, played against the
 * production replica. In each, letters from before a crash arrive after it, in time to make up a quorum; the write of
 * which a client was told must stay. Primary of view v is slot v modulo N. Plane: control.
 */
import { scenario } from "./scenario.ts"

scenario({
  name: "t1_one_crash",
  title: "T1: three machines, one crash; the old machine speaks after its reboot is known",
  prose: `Leaving a view by a quorum of exit_view, together with the recovery of the paper (4.3), loses an acknowledged
    write after one crash: the promise to view 1 sits in memory and is forgotten with it, but the letter that
    carries it is not. The defence: every message carries a crash vector, and what an earlier incarnation said is
    discarded. Here it stops the step at which 1 hears the old 2.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("1 and 2 hear nothing of the primary and wish to leave view 0. 2 hears of 1's wish and joins view 1.")
    script.timeout(1, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 1→2")
    script.expect(2, "view_change v1 (log of v0)")
    script.say("What 2 said to 1 is slow: its wish, and its promise to view 1 with a log that lacks what comes now.")
    script.hold("exit_view|join_view 2→1")
    script.dropRest()
    script.say("2 crashes and recovers into view 0, whose members 0 and 1 still are. It has forgotten its promise.")
    script.reboot(2, [0, 1])
    script.expect(1, "normal v0")
    script.expect(2, "normal v0")
    script.say("The primary commits x with the new 2 and tells the client. 1 hears nothing of it.")
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say(`The old 2 speaks. Its wish and 1's own would be a quorum to leave view 0, its promise and 1's own a
      quorum to begin view 1, without x.`)
    script.timeout(1, "exit_view")
    script.dropRest()
    script.deliver("old exit_view 2→1")
    script.deliver("old join_view 2→1")
    script.expect(1, "normal v0")
  },
})

scenario({
  name: "t1_held_wish",
  title: "T1: the same, but 1 holds the wish of the old 2 since before the crash",
  prose: `A filter at the door is not enough: a wish that was counted before the crash must be taken back when the
    reboot is known (rule 7: merge, then prune what is held). The defence stops the step at which 1 counts its votes.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("2 wishes to leave view 0. 1, which is content, keeps 2's wish.")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 2→1")
    script.dropRest()
    script.say("2 crashes and recovers into view 0. With that 1 must forget the wish that it keeps.")
    script.reboot(2, [0, 1])
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("1's own wish comes: one vote of the two that it takes.")
    script.timeout(1, "exit_view")
    script.expect(1, "normal v0")
    script.dropRest()
  },
})

scenario({
  name: "t2_two_crashes",
  title: "T2: three machines, two crashes one after the other",
  prose: `The paper's own view change, where one machine's timer moves it, loses a write in 16 steps and two crashes:
    the wish of the old 1 makes 2 join view 1, and the promise of the old 2 makes 1 begin it. The defence stops
    both: 2 knows that 1 has rebooted, since it helped, and 1 knows it of 2.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("1 wishes to leave view 0, and its wish is slow. 1 crashes and recovers into view 0 from 0 and 2.")
    script.timeout(1, "exit_view")
    script.hold("exit_view 1→2")
    script.dropRest()
    script.reboot(1, [0, 2])
    script.expect(1, "normal v0")
    script.say("2 wishes too and gets the wish of the old 1. It would join view 1 on it; it doesn't.")
    script.timeout(2, "exit_view")
    script.deliver("old exit_view 1→2")
    script.expect(2, "normal v0")
    script.expectNone("join_view 2→1")
    script.holdIfAny("join_view 2→1")
    script.hold("exit_view 2→1")
    script.dropRest()
    script.say("2 crashes and recovers into view 0 from 0 and 1. x is committed by 0 and the new 2.")
    script.reboot(2, [0, 1])
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("1 wishes to leave, and what is under way of the old 2 arrives.")
    script.timeout(1, "exit_view")
    script.dropRest()
    script.deliver("old exit_view 2→1")
    script.deliverIfAny("old join_view 2→1")
    script.expect(1, "normal v0")
  },
})

scenario({
  name: "t3_five_machines",
  title: "T3: five machines; the new primary hears of a reboot from a third machine only",
  prose: `A filter that each machine keeps for itself is enough for three and not for five: 1 never hears that 2
    rebooted, and counts the promise of the old 2. The defence: vectors are merged from every message, so that the
    promise of 3, which helped 2, takes the promise of the old 2 away. It stops the very last step, at which 1 has three
    promises and would begin view 1.`,
  voters: 5,
  play: (script) => {
    const a = script.client("a")
    script.say(`3 and 1 wish to leave view 0; their wishes are slow. 3 crashes and recovers from 0, 1 and 4: 2 is
      not told.`)
    script.timeout(3, "exit_view")
    script.timeout(1, "exit_view")
    script.hold("exit_view 3→2")
    script.hold("exit_view 1→2,3")
    script.dropRest()
    script.reboot(3, [0, 1, 4])
    script.expect(3, "normal v0")
    script.say(`2 wishes too, and joins view 1 on the wishes of 1, the old 3 and itself. Its promise is a log
      without x.`)
    script.timeout(2, "exit_view")
    script.hold("exit_view 2→1")
    script.deliver("exit_view 1→2")
    script.deliver("old exit_view 3→2")
    script.expect(2, "view_change v1 (log of v0)")
    script.hold("join_view 2→1")
    script.dropRest()
    script.say("The new 3 wishes to leave view 0.")
    script.timeout(3, "exit_view")
    script.hold("exit_view 3→1")
    script.dropRest()
    script.say("2 crashes and recovers into view 0 from 0, 3 and 4: 1 is not told. x is committed by 0, 2 and 4.")
    script.reboot(2, [0, 3, 4])
    script.expect(2, "normal v0")
    a.set("x", "1", 0)
    script.settle([0, 2, 4])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say(`1 joins view 1 on the wishes of itself, the old 2 and 3, which is no harm. It keeps the promise of the
      old 2, of
      whose crash it has not heard.`)
    script.deliver("old exit_view 2→1")
    script.deliver("exit_view 3→1")
    script.expect(1, "view_change v1 (log of v0)")
    script.deliver("old join_view 2→1")
    script.expect(1, "view_change v1 (log of v0)")
    script.dropRest()
    script.say(`3 joins view 1 on the wishes of 1, the new 2 and itself. Its promise is the third that 1 needs, and
      lacks x too.`)
    script.timeout(2, "exit_view")
    script.hold("exit_view 2→3")
    script.dropRest()
    script.timeout(3, "exit_view")
    script.deliver("exit_view 1→3")
    script.deliver("exit_view 2→3")
    script.expect(3, "view_change v1 (log of v0)")
    script.deliver("join_view 3→1")
    script.expect(1, "view_change v1 (log of v0)")
    script.dropRest()
  },
})

scenario({
  name: "t4_barriers",
  title: "T4: three machines; commits in view 0 separate two crashes",
  prose: `One might hope that a commit after each recovery makes old letters harmless. It does not: nothing that is
    committed in
    view 0 tells 1 that a promise to view 1 is from before a crash. Only the incarnation does. The defence stops
    both: 2 discards the wish of the old 1, and 1 discards the wish and the promise of the old 2.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("1 wishes to leave view 0 and crashes. 0 and 2 commit a barrier, and 1 comes back into view 0.")
    script.timeout(1, "exit_view")
    script.hold("exit_view 1→2")
    script.dropRest()
    script.crash(1)
    a.set("b", "1", 0)
    script.settle([0, 2])
    script.dropRest()
    script.reboot(1, [0, 2])
    script.say("The old wish of 1 gives 2 no quorum; a wish of the new 1 does, and 2 joins view 1 rightly.")
    script.timeout(2, "exit_view")
    script.deliver("old exit_view 1→2")
    script.expect(2, "normal v0")
    script.timeout(1, "exit_view")
    script.deliver("exit_view 1→2")
    script.expect(2, "view_change v1 (log of v0)")
    script.hold("exit_view|join_view 2→1")
    script.dropRest()
    script.say("2 crashes, 0 and 1 commit another barrier, and 2 comes back into view 0. Then 0 and 2 commit x.")
    script.crash(2)
    a.set("b", "2", 0)
    script.settle([0, 1])
    // 0 lent its one copy of the arena to 1 and has it back by then.
    script.wait(0, 1_000)
    script.dropRest()
    script.reboot(2, [0, 1])
    script.expect(2, "normal v0")
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("1 wishes to leave, and the old 2 speaks.")
    script.timeout(1, "exit_view")
    script.dropRest()
    script.deliver("old exit_view 2→1")
    script.deliver("old join_view 2→1")
    script.expect(1, "normal v0")
  },
})

scenario({
  name: "promise_outlives_a_wish",
  title: "A machine does not come back while another has promised to leave its view",
  prose: `What 1 forgets, 2 still knows: a member that has joined view 1 answers no recovery (rule 19: only normal peers
    answer), so 1 can't become a member of view 0 again, and its primary is alone.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("2 joins view 1 on the wishes of 1 and itself. 1 crashes.")
    script.timeout(1, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 1→2")
    script.dropRest()
    script.crash(1)
    script.say("1 finds its incarnation and a checkpoint, but only one of the two answers that it needs.")
    script.boot(1)
    script.settle([0, 1, 2])
    script.timeout(1, "recovery")
    script.deliver("recovery 1→2")
    script.expectNone("recovery_response 2→1")
    script.deliver("recovery 1→0")
    script.deliver("recovery_response 0→1")
    script.expect(1, "recovering (recovery)")
    script.say("So the primary of view 0 is alone and may acknowledge nothing.")
    a.set("x", "1", 0)
    script.settle([0, 2])
    script.expectAnswer(a, undefined)
    script.dropRest()
  },
})

scenario({
  name: "acknowledgement_from_before_a_crash",
  title: "An acknowledgement from before a crash commits nothing",
  prose: `A prepare_ok is a promise too: to hold the entry. 2 acknowledges x, crashes and forgets it, while its word is
    under way. If it counted, x would be acknowledged on the memory of 0 alone.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.drop("prepare 0→1")
    script.deliver("prepare 0→2")
    script.hold("prepare_ok 2→0")
    script.crash(2)
    script.say(`The new 2 finds its incarnation, copies a checkpoint, and asks to recover. 0 learns of the crash by
      that.`)
    script.boot(2)
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.deliver("probe 2→*")
    script.deliver("probe_ok *→2")
    script.deliver("get_checkpoint 2→*")
    script.deliver("checkpoint_chunk *→2")
    script.drop("recovery 2→1")
    script.deliver("recovery 2→0")
    script.drop("recovery_response 0→2")
    script.say("The word of the old 2 arrives.")
    script.deliver("old prepare_ok 2→0")
    script.expectAnswer(a, undefined)
    script.expect(0, "normal v0 op2 c1")
    script.dropRest()
    script.say(`x is acknowledged when the new 2 has it: its recovery ends with the log of the primary, and it says
      so.`)
    script.timeout(2, "recovery")
    script.settle()
    script.expectAnswer(a, "ok")
  },
})

scenario({
  name: "log_from_before_a_crash",
  title: "A log from before a crash is given up when a later view has committed another entry",
  prose: `4 is shown the log of view 1 by a primary that then crashes: its last entry was never committed. While the
    letter is
    under way, view 2 commits another entry at the same op. 4 begins to install the old log, is given the entry that
    was committed instead, and gives the old log up.`,
  voters: 5,
  play: (script) => {
    const a = script.client("a")
    script.say("View 1 begins without 4.")
    const isLed = (slot: number) => (): boolean => script.replica(slot).isPrimary && script.isOneView([0, 1, 2, 3])
    script.run([1, 2, 3], "leave view 0", () => script.replica(1).isPrimary)
    script.run([0, 1, 2, 3], "are members of view 1", isLed(1))
    script.dropRest()
    script.say("Its primary prepares an entry that reaches nobody, and shows its log to 4.")
    a.set("x", "never", 1)
    script.dropRest()
    script.timeout(4, "exit_view")
    script.deliver("exit_view 4→1")
    script.hold("view 1→4")
    script.dropRest()
    script.say("1 crashes. View 2 commits another op2, and 1 comes back with a checkpoint that ends there.")
    script.crash(1)
    script.run([0, 2, 3], "leave view 1", () => script.replica(2).isPrimary && script.isOneView([0, 2, 3]))
    script.dropRest()
    const b = script.client("b", 2, [0, 2, 3])
    script.show(0, 2, 3)
    script.reboot(1, [0, 2, 3])
    script.show(1)
    script.say("The old log reaches 4, which asks the old log's owner for its entries.")
    script.deliver("old view 1→4")
    script.expect(4, "state_transfer v0")
    script.deliver("get_log 4→1")
    script.deliver("log 1→4")
    script.run([1, 4], "4 takes what view 2 has committed", () => script.replica(4).commit === 2)
    b.set("x", "1", 2)
    script.settle([0, 2, 3])
    script.expectAnswer(b, "ok")
    script.dropRest()
  },
})
