/**
 * Which functions of the store are bounded to a tenant: those that take a principal, which comes first. Every other function that is exported
 * stands in one of the lists below, with its reason, so that a new one is a decision and no oversight.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const STORE = fileURLToPath(new URL('../../src/store', import.meta.url))

/** They take what many callers have asked for, of several tenants, and each row says its own. */
const ROWS_SAY_IT = ['createTasks', 'createTasksOnce', 'readVersions']
/** By a claimed attempt, which is the fence: task and attempt are known to the worker that runs it alone. */
const FENCED_BY_ATTEMPT = [
  ...[
    'claimAttemptsInSlots',
    'claimAttemptsIfDue',
    'settleInTransaction',
    'settleAttemptsIfCurrent',
    'recordProgressIfCurrent',
    'recordLogsIfCurrent',
  ],
  ...[
    'findEffect',
    'recordEffect',
    'renewLeasesIfHeld',
    'giveUpLeases',
    'readPutBackWait',
    'readTypeWait',
    'recordArtifactIfCurrent',
    'removeArtifactIfCurrent',
  ],
]
/** For relays and the doctor, who serve all tenants alike. */
const INSTALLATION = [
  ...[
    'takeDueDeliveries',
    'listWaitingQueues',
    'makePendingDeliveriesDue',
    'redeliverIfNewEpoch',
    'findFaults',
    'repairFaults',
    'readPulse',
    'findLostAttempts',
  ],
  ...[
    'expireTasksIfLate',
    'deleteExpiredKeys',
    'findExpiredArtifacts',
    'forgetExpiredArtifact',
    'readArtifactOwners',
    'readSecret',
    'recordHeartbeat',
    'forgetWorker',
    'forgetLostWorkers',
    'listWorkers',
  ],
]
/** They read no row of anybody: the clock, and how large the table is. */
const NOBODYS = ['readReportPeriod', 'readExportScope']
/** The bearer of a signed link is nobody's principal; the signature was made under one. */
const SIGNED = ['readLinkedArtifacts']
const UNBOUNDED = [...ROWS_SAY_IT, ...FENCED_BY_ATTEMPT, ...INSTALLATION, ...NOBODYS, ...SIGNED].sort()

/** The functions that take a database or a transaction: the others make text or values. */
function readFunctions(): { name: string; first: string }[] {
  const files = readdirSync(STORE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return files.flatMap((file) =>
    [
      ...readFileSync(join(STORE, file), 'utf8').matchAll(
        /^export (?:async )?function (\w+)(?:<[^(]*>)?\(([^]*?)\n?\): /gm,
      ),
    ]
      .map(([, name = '', parameters = '']) => ({ name, parameters: parameters.trim() }))
      .filter(({ parameters }) => /: (Database|Transaction)\b/.test(parameters))
      .map(({ name, parameters }) => ({ name, first: /^(\w+|\{[^}]*\}): (\w+)/.exec(parameters)?.[2] ?? parameters })),
  )
}

t.test(
  'a function of the store takes a principal first, or stands in the list of those that serve all tenants',
  async (t) => {
    const functions = readFunctions()
    const bounded = functions.filter(({ first }) => first === 'Principal').map(({ name }) => name)
    t.ok(bounded.length >= 25, `${bounded.length} take a principal`)
    t.same(
      functions
        .map(({ name }) => name)
        .filter((name) => !bounded.includes(name))
        .sort(),
      UNBOUNDED,
    )
  },
)

t.test('a function that takes a principal uses its tenant', async (t) => {
  const files = readdirSync(STORE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const bodies = files.flatMap((file) =>
    readFileSync(join(STORE, file), 'utf8').split(/^(?=(?:export )?(?:async )?function |const \w+ = \()/m),
  )
  const taking = bodies.filter((body) => /^(export )?(async )?function \w+\(\s*(\w+|\{[^}]*\}): Principal/.test(body))
  t.ok(taking.length >= 25)
  t.same(
    taking.filter((body) => (body.match(/\b(tenant|principal)\b/g) ?? []).length < 2).map((body) => body.slice(0, 80)),
    [],
  )
})
