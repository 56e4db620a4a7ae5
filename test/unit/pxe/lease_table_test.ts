/** The pool that a subnet gives. Plane: control. */
import { expect, test } from "vitest"
import { formatIPv4 } from "../../../pxe/address.ts"
import { defaultPool } from "../../../pxe/dhcp/lease_table.ts"
import { ip } from "./requests.ts"

test.each([
  ["10.77.0.1", "255.255.255.0", "10.77.0.100", "10.77.0.200"],
  ["172.16.5.9", "255.255.0.0", "172.16.0.100", "172.16.0.200"],
  ["192.168.7.1", "255.255.255.128", "192.168.7.64", "192.168.7.126"],
  ["192.168.7.1", "255.255.255.252", "192.168.7.2", "192.168.7.2"],
])("of %s/%s", (address, netmask, first, last) => {
  const pool = defaultPool(ip(address), ip(netmask))
  expect(pool && [formatIPv4(pool.first), formatIPv4(pool.last)]).toEqual([first, last])
})

test("a network for two ends only has none", () => {
  expect(defaultPool(ip("10.0.0.1"), ip("255.255.255.254"))).toBeUndefined()
  expect(defaultPool(ip("10.0.0.1"), ip("255.255.255.255"))).toBeUndefined()
})
