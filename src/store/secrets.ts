/** This installation's signing secrets: created on first use, the same for every process. */
import { randomBytes } from 'node:crypto'
import type { Database, Statement } from '../db/database.js'

export type SecretName = 'webhooks' | 'links'

const READ_OR_MAKE: Statement = {
  name: 'read_or_make_secret',
  text: `
with made as (insert into taskwire.secrets (name, value) values ($1, $2) on conflict (name) do nothing returning value)
select value from made union all select value from taskwire.secrets where name = $1`,
}

/** 24 random bytes in the format of Standard Webhooks: `whsec_` and base64. */
export async function readSecret(db: Database, name: SecretName): Promise<string> {
  for (;;) {
    const [row] = await db.run<{ value: string }>(READ_OR_MAKE, [name, `whsec_${randomBytes(24).toString('base64')}`])
    // No row: another process created it at the same moment, and this snapshot does not see it yet.
    if (row !== undefined) return row.value
  }
}
