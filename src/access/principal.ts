/**
 * The principal: on whose behalf code acts. One hook makes it for each request (`web/principal.ts`), and a running task
 * has one for its tenant.
 *
 * Everything that belongs to a tenant is read and written on behalf of a principal. It is the first argument of every
 * such function of the store, and of every such method of the hub and the lists. Only this file names the tenant that is
 * meant if none is given.
 */

/**
 * What a principal may do: a `viewer` reads, an `operator` also changes tasks, an `admin` may do everything. `service` is
 * the server itself, acting for a tenant: a running task, or the hub. Roles are not checked yet.
 */
export type Role = 'viewer' | 'operator' | 'admin' | 'service'

export interface Principal {
  /** The owner of everything that this principal reads and creates. */
  readonly tenant: string
  /** A name for people: of a key or a user, `anonymous`, or `task:<id>`. Unique within the tenant. */
  readonly actor: string
  readonly role: Role
}

/** The owner of everything as long as there are no keys that name another. Also the default of the tables' columns. */
export const DEFAULT_TENANT = 'default'

/** The principal of requests without a key, on a server that requires none. */
export const DEFAULT_PRINCIPAL: Principal = Object.freeze({ tenant: DEFAULT_TENANT, actor: 'anonymous', role: 'admin' })

/** The code of the project, which defines schedules. */
export const CODE_PRINCIPAL: Principal = Object.freeze({ tenant: DEFAULT_TENANT, actor: 'code', role: 'service' })

/**
 * The server itself, acting for a tenant.
 * @param actor the part of the server, such as `hub` or `task:<id>`
 */
export function serviceOf(tenant: string, actor: string): Principal {
  return { tenant, actor, role: 'service' }
}

/**
 * Messages between processes name their tenant, except the default one: earlier versions, which know no other, name none.
 */
export interface TenantMark {
  tenant?: string | undefined
}

/** The field to add to a message of this tenant. */
export function markTenant(tenant: string): { tenant?: string } {
  return tenant === DEFAULT_TENANT ? {} : { tenant }
}

/** The tenant of a received message. */
export function tenantOf({ tenant = DEFAULT_TENANT }: TenantMark): string {
  return tenant
}
