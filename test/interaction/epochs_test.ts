/**
 * Reconfiguration (VRR, section 7): the last op of an epoch names the members of the next, and the old members help
 * until f' + 1 of the new ones vote. Plane: control.
 */
import { scenario } from "./scenario.ts"

scenario({
  name: "vrr_7_grow",
  title: "VRR 7, one voter becomes three",
  prose: `0 is the only voter; 1 and 2 follow it without a vote, so they are warm (7.2). The operator's change is the
    last op of
    epoch 0, committed by the old members alone; those who hold it enter epoch 1, in which it takes two of three.`,
  voters: 1,
  machines: 3,
  play: (script) => {
    const a = script.client("a")
    a.set("x", "1", 0)
    script.settle()
    script.expectAnswer(a, "ok")
    script.say("The change is preceded by a barrier, which shows that 1 and 2 lack nothing.")
    script.reconfigure({ at: 0, voters: [0, 1, 2] })
    script.settle()
    script.expectTold("ok")
    script.expect(0, "normal e1 v0 op4 c4 primary")
    script.expect(1, "normal e1 v0 op4")
    script.expect(2, "normal e1 v0 op4")
    script.say("Now a write needs one of the two.")
    a.set("x", "2", 0)
    script.expectAnswer(a, undefined)
    script.deliver("prepare 0→2")
    script.deliver("prepare_ok 2→0")
    script.deliver("reply 0→a")
    script.expectAnswer(a, "ok")
    script.dropRest()
  },
})

scenario({
  name: "vrr_7_replace",
  title: "VRR 7, a dead machine is replaced by another",
  prose: `2 is dead and will not come back; 3 has followed without a vote. The new group is 0, 1 and 3. What 2 said in
    epoch 0
    counts nowhere in epoch 1: views and crash vectors begin anew, and messages of another epoch are not heard.`,
  voters: 3,
  machines: 4,
  play: (script) => {
    const a = script.client("a")
    script.say("2 wishes to leave view 0, and dies. Its wish is slow.")
    script.timeout(2, "exit_view")
    script.hold("exit_view 2→1")
    script.dropRest()
    script.crash(2)
    script.reconfigure({ at: 0, voters: [0, 1, 3] })
    script.settle()
    script.expectTold("ok")
    script.expect(0, "normal e1 v0")
    script.expect(1, "normal e1 v0")
    script.expect(3, "normal e1 v0")
    a.set("x", "1", 0)
    script.settle([0, 3])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.say("The wish of 2 in epoch 0 arrives, together with one of 1 in epoch 1.")
    script.timeout(1, "exit_view")
    script.dropRest()
    script.deliver("exit_view 2→1")
    script.expect(1, "normal e1 v0")
    script.dropRest()
  },
})

scenario({
  name: "vrr_7_not_warm",
  title: "VRR 7.2, who is not warm is not let in",
  prose: `A member of the next epoch that lacks the log would leave the new group without a majority that knows it. 3
    is off, so the
    change is refused with its slot, and nothing is committed of it.`,
  voters: 3,
  machines: 4,
  play: (script) => {
    const a = script.client("a")
    script.crash(3)
    script.briefly("0 hears nothing of 3 for a while", () => script.wait(0, 1_000))
    script.reconfigure({ at: 0, voters: [0, 1, 3] })
    script.settle()
    script.expectTold("not_warm")
    a.set("x", "1", 0)
    script.settle()
    script.expectAnswer(a, "ok")
  },
})

scenario({
  name: "vrr_7_member_misses_the_change",
  title: "VRR 7.1, a member that missed the last op of its epoch",
  prose: `1 did not hear of the reconfiguration. The first message of epoch 1 that it gets tells it so (new_epoch for
    the
    paper's NEWEPOCH); it fetches what was committed before, and only then enters. Old members give it what they have.`,
  voters: 3,
  machines: 4,
  play: (script) => {
    const a = script.client("a")
    script.reconfigure({ at: 0, voters: [0, 1, 3] })
    script.say("1 hears of the barrier and of nothing after it.")
    script.deliver("prepare(op2) 0→*")
    script.deliver("prepare_ok|standby_ok *→0")
    script.settle([0, 2, 3])
    script.expect(0, "normal e1 v0")
    script.expect(1, "normal v0 op2")
    script.dropRest()
    a.set("x", "1", 0)
    script.settle([0, 3])
    script.expectAnswer(a, "ok")
    script.say("A prepare of epoch 1 reaches it.")
    script.deliver("prepare 0→1")
    script.settle()
    script.timeout(0, "commit")
    script.settle()
    script.expect(1, "normal e1 v0 op4 c4")
  },
})

scenario({
  name: "synchronous_standby",
  title: "Two machines: one voter and a synchronous standby (rule 6)",
  prose: `Two machines cannot tell a dead peer from a cut cable, so one of them votes, and nothing is answered that the
    other has not confirmed, reads included. If the standby is silent the voter stops and says why.`,
  voters: 1,
  machines: 2,
  play: (script) => {
    const a = script.client("a")
    script.reconfigure({ at: 0, voters: [0], standbys: [1], synchronous: true })
    script.settle()
    script.expectTold("ok")
    script.say("A write is committed when the standby has confirmed it, and not before.")
    a.set("x", "1", 0)
    script.expectNone("reply 0→a")
    script.settle()
    script.expectAnswer(a, "ok")
    script.say("A read too waits for a round that the standby confirms.")
    a.get("x", 0)
    script.timeout(0, "commit")
    script.expectNone("read_reply 0→a")
    script.settle()
    script.expectAnswer(a, "1")
    script.say("The standby is silent. What waits is refused, and so is all that comes.")
    a.set("x", "2", 0)
    script.dropRest()
    script.briefly("0 hears nothing of 1 for a while", () => script.wait(0, 2_000))
    a.retry(0)
    script.settle([0])
    script.expectAnswer(a, "standby_missing")
    script.say("It is heard again, and gets what it missed.")
    script.timeout(1, "standby_ok")
    script.settle()
    script.timeout(0, "commit")
    script.settle()
    a.retry(0)
    script.settle()
    script.expectAnswer(a, "ok")
  },
})

scenario({
  name: "standby_promoted",
  title: "Two machines: the standby is promoted (rule 6)",
  prose: `The voter is dead, and the operator has made sure of it. The standby confirmed all that was answered, so it
    has all of it. It becomes the only voter of a new generation; the old voter, should it come back, is not of it.`,
  voters: 1,
  machines: 2,
  play: (script) => {
    const a = script.client("a")
    script.say("No machine but the synchronous standby may be promoted.")
    script.promote(1)
    script.expectTold("not_synchronous")
    script.reconfigure({ at: 0, voters: [0], standbys: [1], synchronous: true })
    script.settle()
    a.set("x", "1", 0)
    script.settle()
    script.expectAnswer(a, "ok")
    script.crash(0)
    script.promote(1)
    script.expectTold("ok")
    a.get("x", 1)
    script.settle()
    script.expectAnswer(a, "1")
    a.set("x", "2", 1)
    script.settle()
    script.expectAnswer(a, "ok")
    script.endsHere()
  },
})
