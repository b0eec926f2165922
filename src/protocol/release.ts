/** Limits, pauses, weights and halted sequences, as clients set and read them. */
import { Type, type Static } from 'typebox'
import { MAX_KEY_LENGTH, MAX_WEIGHT, MIN_WEIGHT } from './limits.js'
import { Instant, Key, QueueName, Reason, TaskId, TaskType } from './names.js'
import { Nullable } from './nullable.js'
import { STORABLE_KEY } from './storable.js'

const TenantName = Type.String({
  minLength: 1,
  maxLength: MAX_KEY_LENGTH,
  pattern: STORABLE_KEY,
  examples: ['default'],
})

/** What happens to the tasks behind one of a sequence that has failed or expired. */
export const OnFailure = Type.Enum(['halt', 'skip'])
export type OnFailure = Static<typeof OnFailure>

/** Who set it, when and why. */
const SETTING = {
  setBy: Type.String(),
  setAt: Instant,
  reason: Nullable(Type.String()),
}

/** The limits after a pause have names that begin with this, and no others do. */
export const RAMP_PREFIX = 'resume-'

export const LimitName = Type.String({
  maxLength: 100,
  pattern: '^[a-z0-9][a-z0-9._-]*$',
  examples: ['smtp'],
})

/** At most `limit` starts per period, spread evenly; after a quiet time up to `burst` at once. */
export const Rate = Type.Object(
  {
    limit: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
    periodMs: Type.Integer({ minimum: 1, maximum: 31 * 86_400_000 }),
    burst: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'the starts allowed at once; 1 if omitted' }),
    ),
  },
  { additionalProperties: false },
)

const LIMIT_SCOPE = {
  types: Type.Optional(
    Type.Array(TaskType, { minItems: 1, maxItems: 100, description: 'tasks of these types only, counted together' }),
  ),
  queue: Type.Optional({ ...QueueName, description: 'tasks in this queue only' }),
  tenant: Type.Optional({ ...TenantName, description: 'tasks of this tenant only' }),
}

/** What has a count of its own: all tasks together, each tenant, or each concurrency key of a tenant. */
export const Per = Type.Enum(['all', 'tenant', 'key'])
export type Per = Static<typeof Per>
/** What happens to a task over a rate: it waits, or ends as CANCELLED. */
export const WhenOver = Type.Enum(['delay', 'skip'])
export type WhenOver = Static<typeof WhenOver>

/** A limit to set: either `concurrency` or `rate`. */
export const PutLimit = Type.Object(
  {
    ...LIMIT_SCOPE,
    per: Type.Optional(Per),
    concurrency: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100_000, description: 'the most attempts at a time, over all workers' }),
    ),
    rate: Type.Optional(Rate),
    whenOver: Type.Optional({
      ...WhenOver,
      description: 'with `rate`: whether a task over it waits (delay, the default) or is CANCELLED (skip)',
    }),
    reason: Type.Optional(Reason),
  },
  { additionalProperties: false, examples: [{ types: ['email.send'], concurrency: 5 }] },
)
export type PutLimit = Static<typeof PutLimit>

/** One count of a limit: of all tasks, of a tenant, or of a concurrency key of a tenant. */
const LimitUse = Type.Object({
  tenant: Nullable(Type.String({ description: 'null if the limit counts all tasks together' })),
  key: Nullable(Type.String({ description: 'null unless the limit counts each key' })),
  running: Nullable(
    Type.Integer({ minimum: 0, description: 'the attempts that run, or are about to; null for a rate' }),
  ),
  left: Type.Integer({ minimum: 0, description: 'how many more may start now' }),
})

export const Limit = Type.Object({
  name: LimitName,
  types: Nullable(Type.Array(TaskType)),
  queue: Nullable(QueueName),
  tenant: Nullable(Type.String()),
  per: Per,
  concurrency: Nullable(Type.Integer()),
  rate: Nullable(Type.Required(Rate)),
  whenOver: WhenOver,
  source: Type.Enum(['api', 'code', 'resume'], {
    description: 'who set it: a person, the code of a type, or the end of a pause, after which tasks start slowly',
  }),
  ...SETTING,
  use: Type.Array(LimitUse, { description: 'the counts with the least room, at most 100' }),
})
export type Limit = Static<typeof Limit>
export const LimitList = Type.Object({ items: Type.Array(Limit) })
export const LimitParams = Type.Object({ name: LimitName })

const PauseKind = Type.Enum(['queue', 'type', 'tenant', 'key'])
export type PauseKind = Static<typeof PauseKind>

/** What is paused. A key belongs to the tenant that asks. */
export const PauseParams = Type.Object({
  kind: PauseKind,
  name: Type.String({ minLength: 1, maxLength: MAX_KEY_LENGTH, pattern: STORABLE_KEY, examples: ['default'] }),
})

/** No body means no reason and no end. */
export const PutPause = Type.Object(
  {
    reason: Type.Optional(Reason),
    until: Type.Optional({ ...Instant, description: 'when it ends by itself' }),
  },
  { additionalProperties: false, examples: [{ reason: 'the mail server moves' }] },
)
export type PutPause = Static<typeof PutPause>

export const Pause = Type.Object({
  kind: PauseKind,
  name: Type.String(),
  ...SETTING,
  until: Nullable(Instant),
})
export type Pause = Static<typeof Pause>
export const PauseList = Type.Object({ items: Type.Array(Pause) })

/** The share of a tenant, or of a key within its tenant. Everything else has the weight 1. */
export const Weight = Type.Object({
  tenant: Type.String(),
  key: Nullable(Type.String()),
  weight: Type.Number({ minimum: MIN_WEIGHT, maximum: MAX_WEIGHT }),
  ...SETTING,
})
export type Weight = Static<typeof Weight>
export const WeightList = Type.Object({ items: Type.Array(Weight) })
export const WeightTenantParams = Type.Object({ tenant: TenantName })
export const WeightKeyParams = Type.Object({ key: Key })
export const PutWeight = Type.Object(
  { weight: Weight.properties.weight, reason: Type.Optional(Reason) },
  { additionalProperties: false, examples: [{ weight: 2 }] },
)
export type PutWeight = Static<typeof PutWeight>

/** A sequence that is halted: its first task has failed or expired, and the others wait. */
export const HaltedSequence = Type.Object({
  key: Key,
  haltedBy: TaskId,
  haltedAt: Instant,
  waiting: Type.Integer({ minimum: 0, description: 'how many tasks wait behind it' }),
})
export type HaltedSequence = Static<typeof HaltedSequence>
export const HaltedSequenceList = Type.Object({ items: Type.Array(HaltedSequence) })
export const SequenceParams = Type.Object({ key: Key })
