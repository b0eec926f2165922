/** The schedules as lines of text, for `taskwire schedules`. */
import { CODE_PRINCIPAL } from '../access/principal.js'
import type { Database } from '../db/database.js'
import { listSchedules } from '../store/schedules/read.js'
import type { StoredSchedule } from '../store/schedules/rows.js'
import { describeRule } from './preview.js'

const PAGE = 200

/** One line per schedule, in the order of names; or one that says that there is none. */
export async function listScheduleLines(db: Database): Promise<string[]> {
  const lines: string[] = []
  for (let after = ''; ;) {
    const page = await listSchedules(CODE_PRINCIPAL, db, { after, limit: PAGE })
    lines.push(...page.map(describe))
    after = page.at(-1)?.name ?? ''
    if (page.length < PAGE) return lines.length === 0 ? ['There are no schedules.'] : lines
  }
}

function describe(schedule: StoredSchedule): string {
  const { name, nextSlot, paused, failures, code } = schedule
  const state = [
    paused === null
      ? `next ${nextSlot ?? 'never'}`
      : `paused by ${paused.by}${paused.reason ? `: ${paused.reason}` : ''}`,
    failures > 0 && `failed ${failures} times in a row`,
    code !== null && 'changed since the code defined it',
  ]
  return `${name.padEnd(24)} ${describeRule(schedule)}; ${state.filter(Boolean).join('; ')}`
}
