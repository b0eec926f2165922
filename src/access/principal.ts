/**
 * Who asks: one value that a request carries from its one hook (`web/principal.ts`) to the store, and that a running task has for its tenant.
 *
 * Whatever belongs to a tenant is read and written under a principal: it is the first argument of each such function of the store, and of
 * each such method of the hub and the lists. This file is the only one that knows which tenant is meant when none is named.
 */

/**
 * What its holder may do. `viewer` reads, `operator` changes tasks too, `admin` may do everything. `service` is the server itself, where it
 * acts for a tenant: a running task, the hub. Nothing compares roles yet.
 */
export type Role = 'viewer' | 'operator' | 'admin' | 'service'

export interface Principal {
  /** The owner of all that it sees and makes. */
  readonly tenant: string
  /** Who it is, for people: the name of a key or a user, `anonymous`, or `task:<id>`. Unique within the tenant. */
  readonly actor: string
  readonly role: Role
}

/** The owner of everything, as long as there are no keys that say otherwise. The columns of the tables have it as their default. */
export const DEFAULT_TENANT = 'default'

/** A request without a key, where none is asked for. */
export const DEFAULT_PRINCIPAL: Principal = Object.freeze({ tenant: DEFAULT_TENANT, actor: 'anonymous', role: 'admin' })

/**
 * The server itself, in the name of a tenant.
 * @param actor which part of it, such as `hub` or `task:<id>`
 */
export function serviceOf(tenant: string, actor: string): Principal {
  return { tenant, actor, role: 'service' }
}

/** What travels between processes says its tenant, unless that is the default: processes of a version that knows no other never say it. */
export interface TenantMark {
  tenant?: string | undefined
}

/** What to send along for this tenant. */
export function markTenant(tenant: string): { tenant?: string } {
  return tenant === DEFAULT_TENANT ? {} : { tenant }
}

/** The tenant of what was received. */
export function tenantOf({ tenant = DEFAULT_TENANT }: TenantMark): string {
  return tenant
}
