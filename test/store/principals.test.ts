/**
 * The functions of the store that are bounded to a tenant: they take a principal as their first parameter. Every other
 * exported function stands in one of the lists below, with the reason, so that a new one is a decision and not an
 * oversight.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const STORE = fileURLToPath(new URL('../../src/store', import.meta.url))

/** They serve requests of several tenants at once, and each row carries its own tenant. */
const ROWS_SAY_IT = ['createTasks', 'createTasksOnce', 'readVersions']
/** They are fenced by a claimed attempt: only the worker that runs it knows both the task and the attempt. */
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
/** They serve relays and the doctor, which work for all tenants. */
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
    'quarantineType',
    'listQuarantinedTypes',
    'forgetWorker',
    'forgetLostWorkers',
    'listWorkers',
    'drainWorker',
    'resumeWorker',
    'listOldPauses',
    'deleteEndedPauses',
    'deleteEndedRamps',
    'deleteUnusedRates',
    'wakeLanes',
    'writeLimit',
    'removeLimit',
    'whileNothingStarts',
    'deleteLimit',
    'writeCodeLimits',
    'startRamp',
    'endRamp',
    'breakFailingTypes',
    'repairRelease',
    'releaseDeliveries',
    'readGates',
    'readPlaces',
    'readRuns',
    'readWaitFacts',
  ],
  ...[
    'takeDueSchedules',
    'listDueSchedules',
    'readHistories',
    'writeSlots',
    'moveSchedules',
    'deleteOldSlots',
    'refreshTemplates',
  ],
]
/** They read no tenant's rows: the clock, and the size of the table. */
const NOBODYS = ['readReportPeriod', 'readExportScope']
/** The bearer of a signed link has no principal; the link was signed under one. */
const SIGNED = ['readLinkedArtifacts']
const UNBOUNDED = [...ROWS_SAY_IT, ...FENCED_BY_ATTEMPT, ...INSTALLATION, ...NOBODYS, ...SIGNED].sort()

/** Returns the functions that take a database or a transaction. The others only build text or values. */
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

t.test('a function of the store takes a principal first, or is listed as serving all tenants', async (t) => {
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
})

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
