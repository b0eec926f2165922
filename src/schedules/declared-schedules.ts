/** The schedules that the code of this process defines. */
import { CODE_PRINCIPAL } from '../access/principal.js'
import type { Database } from '../db/database.js'
import type { Registry } from '../definitions/registry.js'
import type { ScheduleDefinition } from '../definitions/schedule.js'
import { describeError } from '../definitions/thrown.js'
import { createChecker } from '../definitions/schema-errors.js'
import { PutSchedule, ScheduleName } from '../protocol/schedule.js'
import { StartupError } from '../startup-error.js'
import { refreshTemplates, writeCodeSchedules } from '../store/schedules/code.js'
import type { NewSchedule } from '../store/schedules/write.js'
import { makeTemplate, readSchedule, ScheduleError } from './read-schedule.js'
import { nextSlot } from './slots.js'

const { reason, ...SPEC } = PutSchedule.properties
void reason
const checker = createChecker({
  ...PutSchedule,
  properties: { ...SPEC, name: ScheduleName },
  required: ['name', 'task'],
})

/** @throws StartupError that names the schedule and the field */
export function readDeclaredSchedules(registry: Registry): NewSchedule[] {
  const names = new Set<string>()
  return registry.schedules.map((definition) => {
    const { name } = definition
    if (names.has(name)) throw new StartupError(`the schedule "${name}" is defined twice`)
    names.add(name)
    return readDeclared(definition, registry)
  })
}

function readDeclared(definition: ScheduleDefinition, registry: Registry): NewSchedule {
  const { name, ...given } = definition
  try {
    // As JSON, because that is how it is stored.
    const [wrong] = checker.check(JSON.parse(JSON.stringify(definition)))
    if (wrong) throw new ScheduleError([wrong])
    return readSchedule(name, given, CODE_PRINCIPAL.tenant, registry)
  } catch (error) {
    // Values that are not JSON are mistakes, too.
    const { message } = describeError(error)
    throw new StartupError(`the schedule "${name}": ${message}`, { cause: error })
  }
}

/** Sets them, and brings the tasks of all schedules up to date with the types of this process. */
export async function setDeclaredSchedules(db: Database, registry: Registry): Promise<void> {
  const known = registry.all().map(({ definition }) => definition.type)
  await writeCodeSchedules(CODE_PRINCIPAL, db, readDeclaredSchedules(registry), known, nextSlot)
  await refreshTemplates(db, known, (tenant, name, spec) => {
    try {
      return makeTemplate(name, spec, tenant, registry)
    } catch (error) {
      if (error instanceof ScheduleError) return undefined
      throw error
    }
  })
}
