/** States for tests of exports: a real state machine, filled as a gateway would fill it. Plane: control. */
import { type ImageIdentity, makeExport, type StateExport } from "../../../appliance/archive/state_export.ts"
import { encodePassword, PASSWORD_SECRET } from "../../../appliance/gateway/resp_access.ts"
import { sha256Digest } from "../../../appliance/orchestration/system_ports.ts"
import { CommandCode } from "../../../appliance/state_machine/command.ts"
import { encodeMachineRecord } from "../../../appliance/state_machine/machine_record.ts"
import { TableNumber } from "../../../appliance/state_machine/record_tables.ts"
import { copyImage } from "../../../appliance/archive/image_copy.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { err, ok } from "../../../appliance/types/result.ts"
import type { ClusterLimits } from "../../../appliance/types/limits.ts"
import { ClusterOfOne, TEST_LIMITS } from "../gateway/cluster_of_one.ts"
import { TestClient } from "../gateway/test_client.ts"

const IDENTITY = {
  cluster_id: "c1".repeat(16),
  generation: 1,
  epoch: 0,
  software: "0.0.0-test",
  created: "2026-11-23T12:00:00Z",
}

/** A cluster of one with `keys` keys, a machine, a secret and an event. */
export function filledCluster(keys: number, limits: ClusterLimits = TEST_LIMITS): ClusterOfOne {
  const cluster = new ClusterOfOne({ limits })
  const client = new TestClient(cluster.gateway)
  for (let index = 0; index < keys; index += 1) {
    client.command("SET", `key-${index}`, `value ${index} `.repeat(1 + (index % 7)))
    if (index % 64 === 63) {
      cluster.settle()
    }
  }
  client.command("SET", Buffer.from([0xff, 0x00]), Buffer.from([0x80, 0x0a]))
  client.command("SET", "soon", 'with "quotes", and commas', "PX", "60000")
  cluster.settle()
  const put = (code: CommandCode, key: Buffer, value: Buffer, flags = 0): void => {
    assert(
      cluster.gateway.call({ code, key, value, argument: 0, flags }, { onResult: () => undefined }),
      "samples: a call has room",
    )
    cluster.settle()
  }
  const machine = encodeMachineRecord({
    machine: "m0",
    address: "10.0.0.10",
    replica_port: 7400,
    slot: 0,
    roles: 1,
    stage: 2,
    firmware: 1,
    ram_bytes: 1024,
    incarnation: 1,
    boot_count: 1,
    boot_id: "ab".repeat(16),
    joined_ms: 5,
  })
  put(CommandCode.machine_put, Buffer.from("m0"), Buffer.from(machine))
  const secret = encodePassword("correct horse battery")
  put(CommandCode.record_put, Buffer.from(PASSWORD_SECRET), Buffer.from(secret), TableNumber.secrets)
  return cluster
}

/** Its certified state after all of that. */
export async function exportOf(cluster: ClusterOfOne, withSecrets = false): Promise<StateExport> {
  const { commit } = cluster.replica
  for (let tick = 0; tick < 10_000 && cluster.replica.certifiedOp < commit; tick += 1) {
    cluster.tick()
  }
  const copied = await copyImage({
    limits: cluster.limits,
    digest: sha256Digest,
    source: (wanted) => {
      const piece = cluster.replica.imagePiece(wanted)
      return Promise.resolve(piece.ok ? ok(piece.value) : err({ kind: "later", text: piece.error }))
    },
    afterOp: commit,
    parallel: 1,
    now: () => performance.now(),
    progress: () => undefined,
  })
  assert(copied.ok, "samples: a cluster of one is copied")
  const { arena, op, op_checksum, root } = copied.value
  const identity: ImageIdentity = { ...IDENTITY, op, op_checksum, root }
  return makeExport({ identity, arena, limits: cluster.limits, withSecrets, digest: sha256Digest })
}
