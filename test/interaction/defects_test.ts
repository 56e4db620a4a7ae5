/**
 * Known defects of Viewstamped Replication as printed, and of programs that follow it, one script each: the schedule
 * that does harm where the defect is, and does none here. Plane: control.
 */
import { scenario } from "./scenario.ts"

scenario({
  name: "d4_transfer_truncates",
  title: "D4: state transfer that drops entries before it has their replacement",
  prose: `In the paper (5.2) a replica that must catch up with a later view sets its op number to its commit number,
    and then asks.
    What it drops may be acknowledged: x is held by 0, 1 and 2, and 2 does not know that it is committed. If 2 dropped
    it, view 2 could begin on the logs of 2, 3 and 4, and x were lost without a single crash.`,
  voters: 5,
  play: (script) => {
    const [a, b] = [script.client("a"), script.client("b")]
    a.set("x", "1", 0)
    script.settle([0, 1, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say(`View 1 begins on the logs of 1, 3 and 4, and is known to 1 only. 0 has joined it and is told nothing
      more.`)
    for (const slot of [1, 3, 4]) {
      script.timeout(slot, "exit_view")
    }
    script.deliver("exit_view 3,4→1")
    script.deliver("join_view 1→3,4")
    script.deliver("join_view 3→0,1")
    script.deliver("join_view 4→1")
    script.expect(1, "normal v1 op3 c2 primary")
    script.dropRest()
    script.say("1 prepares y. 2 hears of it, asks for the view's log, and would have to fetch y; the answer is lost.")
    b.set("y", "1", 1)
    script.deliver("prepare 1→2")
    script.deliver("get_view 2→1")
    script.deliver("view 1→2")
    script.expect(2, "state_transfer v0 op3 c2")
    script.dropRest()
    script.show(2)
    script.say("0, 3 and 4 give view 1 up. View 2 begins on the logs of 2, 3 and 4, and 2 still has x.")
    for (const slot of [0, 3, 4]) {
      script.timeout(slot, "exit_view")
    }
    script.briefly("(What they repeat is lost.)", () => script.drop("join_view|probe *→*"))
    script.deliver("exit_view 0,4→3")
    script.deliver("join_view 3→2,4")
    script.deliver("join_view 4→2")
    script.settle([2, 3, 4])
    script.expect(2, "normal v2 op3 c3 primary")
  },
})

scenario({
  name: "d5_transfer_meets_view_change",
  title: "D5: a state transfer that is overtaken by a view change",
  prose: `2 fetches the log of view 1 when view 2 calls it. What it promises to view 2 is the log that it has; the
    answers to its
    earlier question come late and may neither move it back nor change what it promised.`,
  voters: 5,
  play: (script) => {
    const a = script.client("a")
    script.run([1, 3, 4], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 3, 4]))
    a.set("x", "1", 1)
    script.settle([1, 3, 4])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("2 hears of view 1, and its question for x is answered late.")
    script.timeout(1, "commit")
    script.deliver("commit 1→2")
    script.deliver("get_view 2→1")
    script.replay("view 1→2")
    script.hold("view 1→2")
    script.deliver("get_log 2→1")
    script.hold("log 1→2")
    script.expect(2, "state_transfer v0 op1")
    script.dropRest()
    script.say("0 enters view 1 as well; then 0, 3 and 4 give it up, and call 2.")
    script.timeout(0, "commit")
    script.deliver("commit 0→3")
    script.run([0, 3, 4], "leave view 1", () => script.replica(3).view === 2)
    script.timeout(3, "join_view")
    script.deliver("join_view 3→2")
    script.expect(2, "view_change v2 (log of v0) op1")
    script.say("Now the answers of view 1.")
    script.deliver("view 1→2")
    script.deliver("log 1→2")
    script.expect(2, "view_change v2 (log of v0) op1")
    script.dropRest()
  },
})

scenario({
  name: "d6_eager_adoption",
  title: "D6: a view that is adopted before its log is there",
  prose: `The rank of a log is the view whose log it is. If 2 took the number of view 1 when it asks for that view's
    log, its old
    log would outrank the one of 0, which has x. Here the rank rises when the log is installed, and not before.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle([0, 1])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("1 and 2 leave view 0. 1 begins view 1 with x in its log; 0 has joined it; 2 is not shown the log.")
    script.timeout(1, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 1→2")
    script.deliver("exit_view 2→1")
    script.deliver("join_view 1→0")
    script.deliver("join_view 2→1")
    script.expect(1, "normal v1 op2 c1 primary")
    script.drop("view 1→*")
    script.say("A heartbeat of view 1 makes 2 ask for its log. The answer is lost, and its rank is what it was.")
    script.deliver("commit 1→2")
    script.dropRest()
    script.expect(2, "view_change v1 (log of v0) op1")
    script.say("0 and 2 give view 1 up. View 2 begins on their logs, and that of 0 is the longer of two of one rank.")
    script.timeout(0, "exit_view")
    script.timeout(2, "exit_view")
    script.briefly("(What they repeat is lost.)", () => script.drop("join_view|probe *→*"))
    script.deliver("exit_view 0→2")
    script.settle([0, 2])
    script.expect(2, "normal v2 op2 c2 primary")
  },
})

scenario({
  name: "d7_stale_view",
  title: "D7: the log of an earlier view, or of earlier in this one, arrives late",
  prose: `Letters change places. A log that was shown in an earlier view must not move a replica back; and one that
    was shown
    earlier in the same view must not take away what has been acknowledged since.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    script.timeout(1, "commit")
    script.deliver("commit 1→0")
    script.deliver("get_view 0→1")
    script.replay("view 1→0")
    script.hold("view 1→0")
    script.expect(0, "normal v1 op1")
    a.set("x", "1", 1)
    script.settle([0, 1])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("The log of view 1 as it was before x.")
    script.replay("view 1→0")
    script.expect(0, "normal v1 op2")
    script.say("View 2 begins on the logs of 0 and 2: only 0 has x.")
    script.run([0, 2], "leave view 1", () => script.replica(2).isPrimary && script.isOneView([0, 2]))
    script.expect(0, "normal v2 op2")
    script.say("And the log of view 1 once more.")
    script.deliver("view 1→0")
    script.expect(0, "normal v2 op2")
    script.dropRest()
  },
})

scenario({
  name: "d8_longer_log_is_replaced",
  title: "D8: a replica whose log is longer than the one that it must take",
  prose: `0 has two entries that nobody else has. The log of view 1 is shorter, and its entry 3 another one. Who asks
    from the entry
    after its last would wait forever; it must ask from its commit number on, and overwrite.`,
  voters: 3,
  play: (script) => {
    const [a, b, c] = [script.client("a"), script.client("b"), script.client("c")]
    a.set("x", "lonely", 0)
    b.set("y", "lonely", 0)
    script.dropRest()
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    c.set("x", "1", 1)
    script.settle([1, 2])
    script.expectAnswer(c, "ok")
    script.dropRest()
    script.show(0, 1)
    script.timeout(1, "commit")
    script.settle()
    script.expect(0, "normal v1 op4 c4")
    script.show(0)
  },
})

scenario({
  name: "d9_recovery_straddles",
  title: "D9: recovery whose answers straddle a view change",
  prose: `4 asks to recover; some answer in view 0, some in view 1, and the primary of view 1 had answered before it
    was that. There
    are f + 1 answers and the log of the newest primary is not among them. 4 must ask again, with a fresh nonce: answers
    to the first question, however late, say nothing about now.`,
  voters: 5,
  play: (script) => {
    const a = script.client("a")
    script.timeout(0, "commit")
    script.settle()
    script.crash(4)
    script.boot(4)
    script.briefly("4 finds its incarnation and copies a checkpoint", () => {
      script.settle([0, 1, 2, 3, 4], "recovery 4→*")
      script.timeout(4, "recovery")
    })
    script.expect(4, "recovering (recovery)")
    script.say("0, 1 and 3 get the question now; their answers are slow.")
    script.deliver("recovery 4→0,1,3")
    script.hold("recovery_response 0,1,3→4")
    script.hold("recovery 4→2")
    script.run([1, 2, 3], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2, 3]))
    a.set("x", "1", 1)
    script.settle([1, 2, 3])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say(`2 gets it in view 1. With 1 and 3 that makes three answers, and 1, the primary of view 1, is among
      them, but not its log.`)
    script.deliver("recovery 4→2")
    script.deliver("recovery_response 2→4")
    script.replay("recovery_response 1,3→4")
    script.expect(4, "recovering (recovery)")
    script.say("It asks anew. The answers to its first question come again, and would make up a quorum of view 0.")
    script.timeout(4, "recovery")
    script.deliver("recovery_response 0,1,3→4")
    script.expect(4, "recovering (recovery)")
    script.settle([1, 2, 3, 4])
    script.expect(4, "normal v1 op2")
  },
})

scenario({
  name: "d11_longer_log_of_an_older_view",
  title: "D11: the longest log is not the best",
  prose: `0 has two entries of view 0 that nobody else has; view 1 has committed x. The log of view 2 must be the one
    of the latest
    view, and only among those the longest: by length alone x would be lost.`,
  voters: 3,
  play: (script) => {
    const [a, b, c] = [script.client("a"), script.client("b"), script.client("c")]
    a.set("y", "lonely", 0)
    b.set("z", "lonely", 0)
    script.dropRest()
    script.say("1 and 2 begin view 1 and commit x. 0 has heard that view 1 is called, and nothing more.")
    script.timeout(1, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 2→1")
    script.deliver("join_view 1→0,2")
    script.drop("* 0→*")
    script.settle([1, 2])
    script.expect(1, "normal v1 op3 c3 primary")
    c.set("x", "1", 1)
    script.settle([1, 2])
    script.expectAnswer(c, "ok")
    script.dropRest()
    script.show(0, 1, 2)
    script.say("1 falls silent. 0 and 2 begin view 2.")
    script.timeout(0, "exit_view")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 0→2")
    script.settle([0, 2])
    script.expect(2, "normal v2 op4 c4 primary")
    script.show(0, 2)
  },
})

scenario({
  name: "d12a_client_crashes",
  title: "D12a: a client that crashed begins to count anew",
  prose: `If clients chose their own ids, or a client that comes back counted from 1 in its old session, its new
    request 1 would be
    taken for the old one and given the old answer. A session is a committed op, so each life of a client has another.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.incr("n", 0)
    script.settle()
    script.expectAnswer(a, "1")
    script.say("The client crashes and comes back: its first request is executed, and answered with its own result.")
    a.register(0)
    script.settle()
    a.incr("n", 0)
    script.settle()
    script.expectAnswer(a, "2")
    script.say(`It crashes while its answer is under way, which comes when it has a new session. Nobody takes it for
      another.`)
    a.incr("n", 0)
    script.deliver("prepare 0→*")
    script.deliver("prepare_ok 1→0")
    script.hold("reply 0→a")
    a.register(0)
    script.settle()
    a.incr("n", 0)
    script.deliver("reply 0→a")
    script.expectAnswer(a, undefined)
    script.settle()
    script.expectAnswer(a, "4")
  },
})

scenario({
  name: "d12b_uncommitted_number",
  title: "D12b: a request number that was seen and never committed",
  prose: `0 has seen a#1 and prepared it, and nobody else has. If the table remembered numbers that are not committed,
    the client
    would be locked out: \`stale\` or silence for a request that was never executed.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    a.incr("n", 0)
    script.dropRest()
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    script.say("The client asks the new primary for the same. It is executed there.")
    a.retry(1)
    script.settle([1, 2])
    script.expectAnswer(a, "1")
    script.dropRest()
    script.say("0 takes the log of view 1; what it had prepared is gone from its log and was never in its table.")
    script.timeout(1, "commit")
    script.settle()
    script.expect(0, "normal v1 op2 c2")
    script.run([0, 2], "leave view 1", () => script.replica(2).isPrimary && script.isOneView([0, 2]))
    script.run([0, 1, 2], "1 is brought in", () => script.isOneView())
    script.say("Views 3 and on have 0 as primary again, and a retry there is answered from the table.")
    script.run([0, 1], "leave view 2", () => script.replica(0).isPrimary && script.isOneView([0, 1]))
    a.retry(0)
    script.settle([0, 1])
    script.expectAnswer(a, "1")
  },
})

scenario({
  name: "d13_view_hints",
  title: "D13: a hint of the view is a hint",
  prose: `A client that believed every view number it hears could be led astray by one isolated machine and stall
    forever. Here
    a request names no view: whoever is primary takes it, and who is not says so and guesses.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("0 is cut off with a request that it can't commit. It still thinks that it is the primary.")
    a.set("x", "1", 0)
    script.dropRest()
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView([1, 2]))
    script.say(`0 gives up, and its hint is wrong. 2 gives the right one. Wherever the client asks first, it gets
      there.`)
    script.timeout(0, "exit_view")
    script.dropRest()
    a.retry(0)
    script.settle([0])
    script.expectAnswer(a, "not_primary")
    a.retry(2)
    script.settle([2])
    script.expectAnswer(a, "not_primary")
    a.retry(1)
    script.settle([1, 2])
    script.expectAnswer(a, "ok")
  },
})

scenario({
  name: "d14_isolated_machine",
  title: "D14: an isolated machine comes back and disturbs nobody",
  prose: `2 heard nothing for a long time. In the paper, and in Raft without a pre-vote, it would come back with a
    high view
    number and end a view that works. Here its wishes need those of others, and are void once the primary is heard.`,
  voters: 3,
  play: (script) => {
    const a = script.client("a")
    script.say("2 is cut off and wishes to leave, again and again, always the same view.")
    for (let turn = 0; turn < 3; turn += 1) {
      script.timeout(2, "exit_view")
      script.drop("exit_view 2→*")
    }
    script.expect(2, "normal v0")
    script.say("It can be heard again. Its wish reaches 1 and 0, who stay.")
    script.timeout(2, "exit_view")
    script.deliver("exit_view 2→*")
    a.set("x", "1", 0)
    script.settle()
    script.expectAnswer(a, "ok")
    script.expect(0, "normal v0")
    script.expect(2, "normal v0 op2")
    script.say("1 heard the primary after 2's wish, so that wish is void: when 1 wishes too, later, it is alone.")
    script.timeout(1, "exit_view")
    script.expect(1, "normal v0")
    script.dropRest()
  },
})
