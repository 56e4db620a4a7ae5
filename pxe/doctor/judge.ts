/**
 * What the answers and this machine's own settings mean for machines that boot here. Pure: facts in, findings out. Each
 * finding has a name that scripts may rely on, and says what to do. Plane: control.
 */
import { type Answer, bootFileOf } from "./answer.ts"
import type { HostFacts, PortHolder } from "./host.ts"
import { FORWARD_DELAY_SECONDS_MAX, SLOW_MS } from "./limits.ts"
import { PORT_SERVER } from "../dhcp/options.ts"

/** An error keeps machines from booting, or makes it chance; a warning costs time or concerns some machines only. */
export type Finding = {
  readonly level: "error" | "warning" | "note"
  readonly kind: FindingKind
  readonly text: string
  readonly advice: string
}

export type FindingKind =
  | "no_answer"
  | "no_address_server"
  | "several_address_servers"
  | "several_boot_servers"
  | "other_server_boots"
  | "other_server_names_file"
  | "pxe_class_without_file"
  | "vendor_options_malformed"
  | "file_without_server"
  | "class_for_everybody"
  | "wrong_source_port"
  | "slow_answer"
  | "cannot_listen"
  | "port_in_use"
  | "boot_server_runs"
  | "no_carrier"
  | "no_router_advertisement"
  | "spanning_tree_delay"
  | "firewall_drops"
  | "firewall_unknown"

/** Servers are named by their option 54: a relay or a second address does not make two of one. */
export function judgeAnswers(answers: readonly Answer[], own: string): Finding[] {
  const findings: Finding[] = []
  const say = (level: Finding["level"], kind: FindingKind, text: string, advice: string): void => {
    findings.push({ level, kind, text, advice })
  }
  if (answers.length === 0) {
    const advice = "is the cable in, the VLAN right? With no DHCP server on this LAN use: mandala serve --dhcp full"
    say("error", "no_answer", "nobody answers DHCP on this interface", advice)
    return findings
  }
  const addressing = serversOf(answers.filter(({ offered }) => offered !== ""))
  if (addressing.length === 0) {
    say("error", "no_address_server", "nobody gives addresses here", "use: mandala serve --dhcp full")
  }
  if (addressing.length > 1) {
    const text = `${addressing.join(" and ")} give addresses: a machine takes whichever is first`
    say("error", "several_address_servers", text, "keep one of them")
  }
  const booting = serversOf(answers.filter((answer) => isBootAnswer(answer)))
  if (booting.length > 1) {
    const text = `${booting.join(" and ")} offer boot programs: a machine boots whichever its firmware ranks first`
    say("error", "several_boot_servers", text, "keep one of them: take options 60, 66 and 67 out of the other")
  }
  for (const server of serversOf(answers.filter(({ server }) => server !== own))) {
    judgeServer(
      server,
      answers.filter((answer) => answer.server === server),
      say,
    )
  }
  return findings
}

type Say = (level: Finding["level"], kind: FindingKind, text: string, advice: string) => void

/** What one other server does that is known to break a firmware. */
function judgeServer(server: string, answers: readonly Answer[], say: Say): void {
  const toFirmware = answers.filter(({ question }) => question !== "plain")
  const withAddress = toFirmware.filter(({ offered }) => offered !== "")
  const isPXE = ({ vendor_class: text }: Answer): boolean => text.startsWith("PXEClient")
  if (withAddress.some((answer) => isPXE(answer) && bootFileOf(answer) !== "")) {
    const text = `${server} gives addresses and says PXEClient with a boot program: UEFI ranks it above any proxy`
    say("error", "other_server_boots", text, "take options 60, 66 and 67 out of its configuration")
  } else if (withAddress.some((answer) => bootFileOf(answer) !== "")) {
    const file = withAddress.map(bootFileOf).find((name) => name !== "") ?? ""
    const text = `${server} names the boot program ${file} with its addresses: some firmware takes that, proxy or not`
    say(
      "warning",
      "other_server_names_file",
      text,
      "take options 66 and 67 (next-server, filename) out of its configuration",
    )
  }
  if (withAddress.some((answer) => isPXE(answer) && bootFileOf(answer) === "" && answer.vendor === "")) {
    const text = `${server} gives addresses and says PXEClient, without a boot program: UEFI asks its port 4011`
    say("error", "pxe_class_without_file", text, "take option 60 out of its configuration")
  }
  if (answers.some(({ is_vendor_sound: isSound }) => !isSound)) {
    const text = `${server} sends an option 43 that is no list of suboptions: worse than none for PXE ROMs`
    say("error", "vendor_options_malformed", text, "take option 43 out of its configuration, or end it with ff")
  }
  const headless = toFirmware.find((answer) => bootFileOf(answer) !== "" && !hasBootServer(answer))
  if (headless !== undefined && !bootFileOf(headless).includes("://")) {
    const text = `${server} names the boot program ${bootFileOf(headless)} and no server that has it`
    say("warning", "file_without_server", text, "set next-server (siaddr), or take the name out")
  }
  if (answers.some((answer) => answer.question === "plain" && isPXE(answer))) {
    const text = `${server} says PXEClient to whoever asks, also to operating systems`
    say("warning", "class_for_everybody", text, "send option 60 to PXE clients only")
  }
  const astray = answers.find(({ port }) => port !== PORT_SERVER)
  if (astray !== undefined) {
    const text = `${server} answers from port ${astray.port}: iPXE hears port ${PORT_SERVER} only`
    say("error", "wrong_source_port", text, "look for a NAT or a container between it and this LAN")
  }
  const slowest = Math.max(...answers.map(({ ms }) => ms))
  if (slowest >= SLOW_MS) {
    const text = `${server} took ${Math.round(slowest)} ms to answer: firmware asks again after a second`
    say("warning", "slow_answer", text, "turn off its ping before an offer")
  }
}

function isBootAnswer(answer: Answer): boolean {
  return answer.question !== "plain" && bootFileOf(answer) !== ""
}

function hasBootServer(answer: Answer): boolean {
  return answer.next_server !== "" || answer.boot_server_name !== ""
}

function serversOf(answers: readonly Answer[]): string[] {
  return [...new Set(answers.map(({ server }) => server))].sort()
}

/** What this machine itself would keep a boot server from. */
export function judgeHost(facts: HostFacts): Finding[] {
  const findings: Finding[] = []
  const { link, firewall } = facts
  if (!link.has_carrier) {
    const text = `${link.name} has no carrier: nothing is on its other end, or that is switched off`
    findings.push({ level: "warning", kind: "no_carrier", text, advice: "plug it in, or power a machine on" })
  }
  for (const holder of facts.ports) {
    findings.push(portFinding(holder, facts.is_boot_server_here))
  }
  if (link.router_advertisements === 0) {
    findings.push({
      level: "warning",
      kind: "no_router_advertisement",
      text: `no IPv6 router advertisement was heard on ${link.name}: iPXE waits some 15 s for one, at each boot`,
      advice: "let a router send them, or: dnsmasq --port=0 --enable-ra --dhcp-range=::,constructor:IF,ra-only",
    })
  }
  for (const bridge of link.bridges) {
    if (bridge.stp && bridge.forward_delay_seconds > FORWARD_DELAY_SECONDS_MAX) {
      const seconds = 2 * bridge.forward_delay_seconds
      findings.push({
        level: "warning",
        kind: "spanning_tree_delay",
        text: `the bridge ${bridge.name} forwards nothing for ${seconds} s after a link came up: too long for firmware`,
        advice: `ip link set ${bridge.name} type bridge stp_state 0 (or forward_delay 200); on switches: portfast`,
      })
    }
  }
  if (firewall.drops.length > 0) {
    findings.push({
      level: "error",
      kind: "firewall_drops",
      text: `the firewall of this machine drops what comes to ${firewall.drops.join(", ")}`,
      advice: "let UDP 67, 69 and 4011 and TCP 7480 in on this interface",
    })
  }
  if (!firewall.is_known) {
    const text = "the rules of this machine's firewall could not be read"
    findings.push({
      level: "note",
      kind: "firewall_unknown",
      text,
      advice: "run this as root, with nft or iptables there",
    })
  }
  return findings
}

function portFinding({ protocol, port, program }: PortHolder, isBootServerHere: boolean): Finding {
  if (isBootServerHere) {
    const text = `${protocol} ${port} is in use by the boot server that runs here`
    return { level: "note", kind: "boot_server_runs", text, advice: "nothing to do" }
  }
  const who = program === "" ? "another program" : program
  return {
    level: "error",
    kind: "port_in_use",
    text: `${protocol} ${port} is in use by ${who}: a boot server can't start`,
    advice: port === PORT_SERVER ? "stop it, or use: mandala serve --dhcp off beside it" : "stop it",
  }
}
