import type { Database } from '../../db/database.js'
import type { Registry } from '../../definitions/registry.js'
import { writeCodeLimits } from '../../store/release/code-limits.js'

/** Sets the limits that the types of this process declare. */
export async function setDeclaredLimits(
  db: Database,
  registry: Pick<Registry, 'all' | 'declaredLimits'>,
): Promise<void> {
  const types = registry.all().map(({ definition }) => definition.type)
  await writeCodeLimits(db, registry.declaredLimits, types)
}
