/**
 * Checkpoints (rules 21 and 22): how they are certified and handed out, and what becomes of a machine whose memory is
 * wrong. Plane: control.
 */
import { CHECKPOINTS_SOON } from "./limits.ts"
import { scenario } from "./scenario.ts"
import type { Script } from "./script.ts"

type Client = ReturnType<Script["client"]>

const SMALL = { voters: 3, limits: CHECKPOINTS_SOON } as const

/** Three writes by which a checkpoint falls due: op 5, which all of `slots` apply, and no digests are said yet. */
function applyCheckpoint(script: Script, client: Client, slots: readonly number[]): void {
  script.briefly(`${slots.join(" ")}: commit x=north, y=south, z=east and, as op5, a checkpoint`, () => {
    for (const [key, value] of [
      ["x", "north"],
      ["y", "south"],
      ["z", "east"],
    ] as const) {
      client.set(key, value, 0)
      script.settle(slots)
    }
    script.timeout(0, "commit")
    script.settle(slots, "checkpoint_ok *→*")
    script.dropRest()
  })
}

/** As before, and certified. */
function certifyCheckpoint(script: Script, client: Client, slots: readonly number[]): void {
  applyCheckpoint(script, client, slots)
  script.run(slots, "certify it", () => slots.every((slot) => script.replica(slot).certifiedOp === 5))
}

/** A bit of 2 flips in a page that has changed since the last checkpoint; then all apply op 5 and a write beyond it. */
function flipBeforeCheckpoint(script: Script, a: Client): void {
  script.briefly("0 1 2: commit x=north", () => {
    a.set("x", "north", 0)
    script.settle()
    script.timeout(0, "commit")
    script.settle()
  })
  script.flip(2, "north")
  script.briefly("0 1 2: commit y=south, z=east, a checkpoint (op5) and v=west", () => {
    for (const [key, value] of [
      ["y", "south"],
      ["z", "east"],
      ["v", "west"],
    ] as const) {
      a.set(key, value, 0)
      script.settle()
    }
    script.timeout(0, "commit")
    script.settle([0, 1, 2], "checkpoint_ok *→*")
  })
}

scenario({
  ...SMALL,
  name: "rule_22_certified",
  title: "Rule 22: a checkpoint is certified by f + 1 equal roots",
  prose: `A checkpoint is an op. Whoever applies it freezes its pages, takes their digests, and says the root that
    comes of them, again and again until it is certified. One machine's own root is not enough: another voter's must
    be the same.`,
  play: (script) => {
    const a = script.client("a")
    applyCheckpoint(script, a, [0, 1, 2])
    script.say("0 has its root, and says it.")
    script.timeout(0, "checkpoint_ok")
    script.expectCertified(0, 0)
    script.say("1 hears of it, and has none of its own yet: that comes with its clock.")
    script.deliver("checkpoint_ok 0→1")
    script.expectCertified(1, 0)
    script.timeout(1, "checkpoint_ok")
    script.expectCertified(1, 5)
    script.say("Two of three: it tells the others, who need not count themselves.")
    script.deliver("checkpoint_ok(op5) 1→0,2")
    script.expectCertified(0, 5)
    script.expectCertified(2, 5)
    script.dropRest()
    script.say("What the checkpoint covers may leave the ring, which has ten places.")
    script.briefly("five more writes, and another checkpoint", () => {
      for (let write = 1; write <= 5; write += 1) {
        a.set("x", String(write), 0)
        script.settle()
      }
    })
    script.show(0)
  },
})

scenario({
  ...SMALL,
  name: "rule_21_ring",
  title: "Rule 21: nothing is overwritten above the certified checkpoint",
  prose: `Nobody hears anybody's root. The primary prepares what fits into the ring (ten places, of which two are
    kept for what no load may hold up) and then lets its clients wait, however well its backups acknowledge.`,
  play: (script) => {
    const a = script.client("a")
    applyCheckpoint(script, a, [0, 1, 2])
    script.briefly("two more writes", () => {
      for (let write = 1; write <= 2; write += 1) {
        a.set("x", String(write), 0)
        script.settle()
        script.expectAnswer(a, "ok")
      }
    })
    a.set("x", "3", 0)
    script.expectNone("prepare 0→*")
    script.expectAnswer(a, undefined)
    script.show(0)
    script.say("As soon as the checkpoint is certified, the write that waits is prepared.")
    script.timeout(1, "checkpoint_ok")
    script.deliver("checkpoint_ok 1→0")
    script.timeout(0, "prepare")
    script.expectCertified(0, 5)
    script.settle()
    script.expectAnswer(a, "ok")
    script.show(0)
  },
})

scenario({
  ...SMALL,
  name: "rule_22b_minority_root",
  title: "Rule 22b: whose root is another than the certified one copies what differs, and applies its log again",
  prose: `A bit flips in 2, in a page that has changed since the last checkpoint: there is no digest of it yet that
    a scrub could miss. The next checkpoint of 2 has another root than those of 0 and 1. That alone says only that
    somebody is wrong; what f + 1 agree on says who.`,
  play: (script) => {
    const a = script.client("a")
    flipBeforeCheckpoint(script, a)
    script.timeout(2, "checkpoint_ok")
    script.deliver("checkpoint_ok 2→0")
    script.timeout(0, "checkpoint_ok")
    script.expectCertified(0, 0)
    script.say("0 and 1 agree, and 2 is told so.")
    script.timeout(1, "checkpoint_ok")
    script.deliver("checkpoint_ok 1→0")
    script.expectCertified(0, 5)
    script.deliver("checkpoint_ok 0→2")
    script.expect(2, "state_transfer v0 op6 c6 torn certified op5")
    script.say("It acknowledges nothing now, and hands nothing out.")
    script.deliver("checkpoint_ok *→*")
    a.set("v", "far", 0)
    script.deliver("prepare 0→2")
    script.expectNone("prepare_ok 2→0")
    script.deliver("prepare 0→1")
    script.deliver("prepare_ok 1→0")
    script.say("It copies all pages that are not as op5 left them, and applies op6 again: its log was not concerned.")
    script.settle()
    script.expect(2, "normal v0 op6 c6 certified op5")
    script.say("Then it votes.")
    a.set("v", "near", 0)
    script.settle([0, 2])
    script.timeout(0, "commit")
    script.settle([0, 2])
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
  },
})

scenario({
  ...SMALL,
  name: "rule_22a_primary",
  title: "Rule 22a: a primary that finds its own memory wrong steps down",
  prose: `A bit flips in 0, in a page that nobody has written since the checkpoint: the scrub compares it with its
    digest. 0 needs nobody's word for that. It applies and answers nothing from then on, falls silent, and takes part
    in the view change, since its log and its promises are no part of what flipped.`,
  play: (script) => {
    const a = script.client("a")
    const b = script.client("b")
    certifyCheckpoint(script, a, [0, 1, 2])
    a.set("x", "up", 0)
    b.get("x", 0)
    script.deliver("prepare 0→1,2")
    script.deliver("commit 0→1,2")
    script.flip(0, 2)
    script.timeout(0, "read_reply")
    script.expect(0, "normal v0 op7 c6 primary torn")
    script.deliver("read_reply 0→b")
    script.expectAnswer(b, "not_primary")
    script.say("It does not count the acknowledgements, and reads are refused.")
    script.deliver("prepare_ok|commit_ok 1,2→0")
    script.expect(0, "normal v0 op7 c6 primary torn")
    b.get("x", 0)
    script.deliver("read_reply 0→b")
    script.expectAnswer(b, "not_primary")
    script.run([0, 1, 2], "leave view 0", () => script.replica(1).isPrimary && script.isOneView())
    script.expect(0, "normal v1 op7")
    script.say("What 0 had prepared is in view 1.")
    a.retry(1)
    script.settle()
    script.expectAnswer(a, "ok")
    b.get("x", 1)
    script.settle()
    script.expectAnswer(b, "up")
  },
})

scenario({
  ...SMALL,
  name: "rule_22b_no_majority",
  title: "Rule 22b: one machine is dead, the other two differ",
  prose: `More than f failures: a machine has died, and a bit has flipped in another. Nobody can say who of the two
    is right, so nothing is certified and nothing is answered, neither writes nor reads, and clients are told why.`,
  play: (script) => {
    const a = script.client("a")
    script.briefly("0 1 2: commit x=north", () => {
      a.set("x", "north", 0)
      script.settle()
      script.timeout(0, "commit")
      script.settle()
    })
    script.crash(2)
    script.flip(1, "north")
    script.briefly("0 1: commit y=south, z=east, a checkpoint (op5) and v=west", () => {
      for (const [key, value] of [
        ["y", "south"],
        ["z", "east"],
        ["v", "west"],
      ] as const) {
        a.set(key, value, 0)
        script.settle([0, 1])
      }
      script.timeout(0, "commit")
      script.settle([0, 1], "checkpoint_ok *→*")
      script.dropRest()
    })
    a.set("x", "more", 0)
    script.hold("prepare 0→1")
    script.timeout(0, "checkpoint_ok")
    script.timeout(1, "checkpoint_ok")
    script.settle([0, 1])
    script.expectDisputed(0)
    script.expectDisputed(1)
    script.expectCertified(0, 0)
    script.expectCertified(1, 0)
    script.say(
      "What is under way is committed, and nobody is told; nor what was done before, nor anything from now on.",
    )
    script.deliver("prepare 0→1")
    script.settle([0, 1])
    script.expectAnswer(a, undefined)
    a.retry(0)
    script.settle([0, 1])
    script.expectAnswer(a, "busy")
    script.dropRest()
    script.run([0, 1], "0 waits for a third", () => script.replica(0).isMemoryDisputed)
    a.retry(0)
    script.settle([0, 1])
    script.expectAnswer(a, "memory_disputed")
    a.get("y", 0)
    script.settle([0, 1])
    script.expectAnswer(a, "memory_disputed")
    script.show(0, 1)
    script.expectCertified(0, 0)
    script.say(
      "A blank machine in the place of 2 is given nothing: copying one of the sides it would make it a majority.",
    )
    script.boot(2)
    let ticks = 0
    script.run([0, 1, 2], "time passes", () => {
      ticks += 1
      return ticks > 1_000
    })
    script.expect(2, "recovering (checkpoint)")
    script.expectCertified(0, 0)
    script.expectCertified(1, 0)
    script.endsHere()
  },
})

scenario({
  ...SMALL,
  name: "rule_22_uncertified",
  title: "Rule 22: what is not certified is not handed out",
  prose: `2 comes back and needs a state. The checkpoint of 0 and 1 is not certified yet, so that they say that they
    have nothing to give; as soon as it is, they have.`,
  play: (script) => {
    const a = script.client("a")
    applyCheckpoint(script, a, [0, 1, 2])
    script.briefly("0 and 1 know their roots, and have not told each other", () => {
      script.wait(0, 100)
      script.wait(1, 100)
    })
    script.crash(2)
    script.boot(2)
    script.settle()
    script.expectNone("get_checkpoint 2→*")
    script.expect(2, "recovering (checkpoint)")
    script.say("A moment later 0 hears of 1.")
    script.timeout(1, "checkpoint_ok")
    script.deliver("checkpoint_ok 1→0")
    script.deliver("checkpoint_ok 0→1")
    script.dropRest()
    script.timeout(2, "get_checkpoint")
    script.settle()
    script.expect(2, "normal v0 op5 c5")
  },
})

scenario({
  ...SMALL,
  name: "rule_22_local_image",
  title: "Where nothing can be certified, one machine vouches for its state",
  prose: `2 is dead. 1 finds a flipped bit before it has said its root, so that nobody can certify the checkpoint: 0
    has a root, 1 must copy first. 0 gives nothing for a while; then it freezes what it has, and hands that out.`,
  play: (script) => {
    const a = script.client("a")
    script.crash(2)
    applyCheckpoint(script, a, [0, 1])
    script.flip(1, 2)
    script.timeout(1, "get_checkpoint")
    script.expect(1, "state_transfer v0 op5 c5 torn")
    script.settle([0, 1])
    script.expectCertified(0, 0)
    script.expect(1, "state_transfer v0 op5 c5 torn")
    script.run([0, 1], "1 asks again and again, and is given a local image", () => !script.replica(1).isTorn)
    script.expect(1, "normal v0 op5 c5")
    script.run([0, 1], "agree", () => script.replica(0).certifiedOp === 5)
    a.set("x", "up", 0)
    script.settle([0, 1])
    script.expectAnswer(a, "ok")
  },
})

scenario({
  ...SMALL,
  name: "rule_22c_quarantine",
  title: "Rule 22c: whose memory is wrong too often says nothing any more",
  prose: `Each time that 2 finds a bit of its memory flipped it copies what differs. The third time it is no machine
    of the cluster's any more.`,
  play: (script) => {
    const a = script.client("a")
    certifyCheckpoint(script, a, [0, 1, 2])
    for (const page of [2, 3]) {
      script.flip(2, page)
      script.timeout(2, "get_checkpoint")
      script.expect(2, "state_transfer v0 op5 c5 torn certified op5")
      script.settle()
      script.expect(2, "normal v0 op5 c5 certified op5")
    }
    script.flip(2, 4)
    script.wait(2, 1_000)
    script.expect(2, "quarantined")
    a.set("x", "up", 0)
    script.settle()
    script.expectAnswer(a, "ok")
    script.expect(2, "quarantined v0 op5 c5")
    script.say("Another board in its place recovers like any other.")
    script.reboot(2, [0, 1])
  },
})

scenario({
  ...SMALL,
  name: "rule_22_spoilt",
  title: "What a donor says is checked against the root, and each page against its digest",
  prose: `Digests whose root is not the one that they go by are forgotten. A page that is not what its digest says
    stays wanted: its donor's memory may have changed since it was frozen. So the receiver asks another.`,
  play: (script) => {
    const a = script.client("a")
    certifyCheckpoint(script, a, [0, 1, 2])
    script.flip(2, 2)
    script.timeout(2, "get_checkpoint")
    const donor = script.count("get_checkpoint 2→0") > 0 ? 0 : 1
    const other = 1 - donor
    script.deliver(`get_checkpoint 2→${donor}`)
    script.spoil(`checkpoint_chunk ${donor}→2`)
    script.deliver(`checkpoint_chunk ${donor}→2`)
    script.expectNone("get_checkpoint 2→*")
    script.timeout(2, "get_checkpoint")
    script.deliver(`get_checkpoint 2→${donor}`)
    script.deliver(`checkpoint_chunk ${donor}→2`)
    script.say("The digests are right. Now a bit flips at the donor, in the very page that 2 lacks.")
    script.flip(donor, 2)
    script.replay(`get_checkpoint 2→${donor}`)
    script.deliver(`checkpoint_chunk ${donor}→2`)
    script.expect(2, "state_transfer v0 op5 c5 torn certified op5")
    script.hold(`get_checkpoint 2→${donor}`)
    script.run([2, other], "2 asks until it asks the other", () => !script.replica(2).isTorn)
    script.say("The donor finds by itself what is wrong with it.")
    script.timeout(donor, "get_checkpoint")
    script.expect(donor, "state_transfer v0 op5 c5 torn certified op5")
    script.say("From then on it does not answer who asks for its state.")
    script.deliver(`get_checkpoint 2→${donor}`)
    script.expectNone(`checkpoint_chunk|checkpoint_gone ${donor}→2`)
  },
})

scenario({
  ...SMALL,
  name: "rule_18_donor_dies",
  title: "Rule 18: when a donor dies, another goes on where it was",
  prose: `Two pages of 2 have flipped, in two windows. Its donor dies when it has given one of them. The next
    donor's digests say what is left: the other page.`,
  play: (script) => {
    const a = script.client("a")
    certifyCheckpoint(script, a, [0, 1, 2])
    script.flip(2, 2)
    script.flip(2, 4)
    script.timeout(2, "get_checkpoint")
    const donor = script.count("get_checkpoint 2→0") > 0 ? 0 : 1
    for (let piece = 0; piece < 2; piece += 1) {
      script.deliver(`get_checkpoint 2→${donor}`)
      script.deliver(`checkpoint_chunk ${donor}→2`)
    }
    script.expectUnderWay("get_checkpoint 2→*")
    script.crash(donor)
    script.dropRest()
    script.briefly("2 asks it in vain, and then whomever chance says", () => {
      for (let attempt = 0; attempt < 8 && script.count(`get_checkpoint 2→${1 - donor}`) === 0; attempt += 1) {
        script.dropRest()
        script.wait(2, 300)
        script.timeout(2, "get_checkpoint")
      }
    })
    script.settle([1 - donor, 2])
    script.expect(2, "normal v0 op5 c5 certified op5")
  },
})

scenario({
  ...SMALL,
  name: "rule_18_image_moves_on",
  title: "Rule 18: the donor's image moves on while it is copied",
  prose: `2 copies op5, and asks for one page of window 1. Before that is answered, 0 makes a checkpoint of op10, in
    which the other page of the window is another too. The answer that comes late is of op10 and has the one page
    only: the window is not done with it.`,
  play: (script) => {
    const a = script.client("a")
    certifyCheckpoint(script, a, [0, 1, 2])
    script.flip(2, 2)
    script.timeout(2, "get_checkpoint")
    const donor = script.count("get_checkpoint 2→0") > 0 ? 0 : 1
    script.deliver(`get_checkpoint 2→${donor}`)
    script.deliver(`checkpoint_chunk ${donor}→2`)
    script.hold(`get_checkpoint 2→${donor}`)
    script.briefly("0 and 1 commit four writes of new keys and certify another checkpoint", () => {
      for (const key of ["k", "l", "m", "n", "o", "p"]) {
        a.set(key, "new", 0)
        script.settle([0, 1])
      }
      script.run([0, 1], "certify it", () => script.replica(donor).certifiedOp > 5)
      script.dropRest()
    })
    script.deliver(`get_checkpoint 2→${donor}`)
    script.say("It is the first that 2 hears of the new image: it asks for the new digests.")
    script.replay(`checkpoint_chunk(window1) ${donor}→2`)
    script.hold(`checkpoint_chunk(window1) ${donor}→2`)
    script.timeout(2, "get_checkpoint")
    script.settle([donor, 2], "get_checkpoint(window0) 2→*")
    script.say("The network repeats the answer, before 2 has come to compare that window with the new digests.")
    script.deliver(`checkpoint_chunk(window1) ${donor}→2`)
    script.run([0, 1, 2], "2 copies the rest", () => !script.replica(2).isTorn)
    script.expect(2, "normal v0 op10 c10")
  },
})

scenario({
  ...SMALL,
  name: "rule_22c_primary_elect",
  title: "A machine that is torn becomes the next view's primary",
  prose: `1 copies, and votes for no change of views meanwhile (rule 16). But 0 and 2 leave view 0, and the next
    primary is 1: it promises, takes the best log, and is no primary before it has a state.`,
  play: (script) => {
    const a = script.client("a")
    const b = script.client("b")
    certifyCheckpoint(script, a, [0, 1, 2])
    a.set("x", "up", 0)
    script.settle([0, 2])
    script.expectAnswer(a, "ok")
    script.dropRest()
    script.flip(1, 2)
    script.timeout(1, "get_checkpoint")
    script.expect(1, "state_transfer v0 op6 c6 torn certified op5")
    script.dropRest()
    script.say("0 and 2 hear nothing of each other for a while.")
    script.timeout(2, "exit_view")
    b.get("x", 0)
    script.drop("commit 0→*")
    script.timeout(0, "exit_view")
    script.drop("exit_view *→1")
    script.deliver("exit_view 0→2")
    script.expect(2, "view_change v1")
    script.say("1 has the state of nothing and the log to op6. It promises nevertheless.")
    script.deliver("join_view 2→1")
    script.expect(1, "view_change v1 (log of v0) op6 c6 torn certified op5")
    script.expectUnderWay("get_checkpoint 1→*")
    a.set("x", "down", 1)
    script.deliver("reply 1→a")
    script.expectAnswer(a, "not_primary")
    script.say("It copies what differs, applies op6 again, and then takes op7, which was acknowledged without it.")
    script.settle([1, 2])
    script.expect(1, "normal v1 op7 c7 primary certified op5")
  },
})

scenario({
  ...SMALL,
  voters: 1,
  machines: 2,
  name: "rule_22_standby",
  title:
    "Rule 22 with two machines: the synchronous standby's root must be the same, and it is who gives the state back",
  prose: `The only voter is a majority by itself, and would certify whatever its memory holds. With a synchronous
    standby both must say the same root. When the voter finds a flipped bit there is no other primary: it stops,
    copies from its standby, and goes on.`,
  play: (script) => {
    const a = script.client("a")
    script.briefly("1 becomes the synchronous standby of 0; x=north, and a checkpoint (op5)", () => {
      script.reconfigure({ at: 0, voters: [0], standbys: [1], synchronous: true })
      script.settle()
      // As long as somebody copies there is no next checkpoint.
      script.wait(0, 250)
      script.wait(1, 250)
      a.set("x", "north", 0)
      script.settle()
      script.timeout(0, "commit")
      script.settle([0, 1], "checkpoint_ok *→*")
      script.dropRest()
    })
    script.timeout(0, "checkpoint_ok")
    script.expectCertified(0, 0)
    script.dropRest()
    script.timeout(1, "checkpoint_ok")
    script.expectCertified(1, 0)
    script.deliver("checkpoint_ok 1→0")
    script.expectCertified(0, 5)
    script.settle()
    script.expectCertified(1, 5)
    script.flip(0, 2)
    script.timeout(0, "get_checkpoint")
    a.set("x", "up", 0)
    script.deliver("reply 0→a")
    script.expectAnswer(a, "not_primary")
    script.run([0, 1], "0 copies", () => script.replica(0).isPrimary)
    a.retry(0)
    script.run([0, 1], "go on", () => a.answer !== undefined)
    script.expectAnswer(a, "ok")
  },
})

scenario({
  ...SMALL,
  name: "rule_22c_torn_donor",
  title: "A convicted machine is asked for its state",
  prose: `2 was convicted, 1 has lost all that it had, and 0 is cut off. 1 can ask nobody but 2, which has nothing
    that could be believed, and keeps it for itself however long it takes.`,
  play: (script) => {
    const a = script.client("a")
    flipBeforeCheckpoint(script, a)
    script.briefly("0 and 1 certify op5, and 2 is told", () => {
      script.timeout(2, "checkpoint_ok")
      script.timeout(1, "checkpoint_ok")
      script.deliver("checkpoint_ok 1→0")
      script.deliver("checkpoint_ok 0→2")
      script.dropRest()
    })
    script.expect(2, "state_transfer v0 op6 c6 torn certified op5")
    script.crash(1)
    script.boot(1)
    script.settle([0, 1, 2], "get_checkpoint *→*")
    script.expect(1, "recovering (checkpoint)")
    let ticks = 0
    script.run([1, 2], "0 is cut off; 1 asks 2 again and again", () => {
      ticks += 1
      return ticks > 1_000
    })
    script.expect(1, "recovering (checkpoint)")
    script.expect(2, "state_transfer v0 op6 c6 torn certified op5")
  },
})

scenario({
  ...SMALL,
  name: "rule_22c_log_too_short",
  title: "A donor's checkpoint is older than all that the receiver's log holds",
  prose: `1 was cut off when op5 was certified, and that is the newest that it has. 2 has gone on with 0 and finds a
    flipped bit. From what 1 gives it the log of 2 does not go on: it needs another, later checkpoint.`,
  play: (script) => {
    const a = script.client("a")
    certifyCheckpoint(script, a, [0, 1, 2])
    script.briefly("0 and 2 go on, until their logs begin after op5", () => {
      for (let write = 1; script.replica(2).log.first <= 6; write += 1) {
        a.set("x", String(write), 0)
        script.run([0, 2], "answer", () => a.answer === "ok")
      }
    })
    script.dropRest()
    script.show(1, 2)
    script.flip(2, 2)
    script.briefly("2 finds it, and asks 1 by chance", () => {
      for (let attempt = 0; attempt < 8 && script.count("get_checkpoint 2→1") === 0; attempt += 1) {
        script.dropRest()
        script.timeout(2, "get_checkpoint")
      }
    })
    script.settle([1, 2])
    script.expect(2, "state_transfer v0 op16 c15 torn")
    script.say("It asks again until it asks 0.")
    script.run([0, 2], "2 copies what 0 has", () => script.replica(2).status === "normal")
    script.expect(2, "normal v0 op16 c15")
  },
})
