/** The limits that types declare, under their names. */
import { RAMP_PREFIX, type Per, type WhenOver } from '../protocol/release.js'
import type { Definition, TypeLimit } from './definition.js'

/** A limit of one or more types. Null: not of this kind. */
export interface DeclaredLimit {
  name: string
  types: readonly string[]
  per: Per
  concurrency: number | null
  rate: number | null
  periodMs: number | null
  burst: number | null
  whenOver: WhenOver
}

/** The first error in the limits of one type, as text that follows `limits/`; undefined if there is none. */
export function describeWrongLimits({ type, limits = [] }: Definition): string | undefined {
  const names = new Set<string>()
  for (const [index, limit] of limits.entries()) {
    const name = nameOf(type, limit)
    const wrong =
      describeWrongLimit(limit, name) ??
      (names.has(name) ? `is a second limit called "${name}". Give it another name` : undefined)
    if (wrong !== undefined) return `${index} ${wrong}`
    names.add(name)
  }
  return undefined
}

function describeWrongLimit({ concurrency, rate, whenOver }: TypeLimit, name: string): string | undefined {
  if ((concurrency === undefined) === (rate === undefined)) return 'must have either concurrency or rate'
  if (whenOver !== undefined && rate === undefined) return 'has whenOver, which is only for a rate. Leave it out'
  if (name.length > 100) return 'needs a name: that made from the type is longer than 100 characters'
  return name.startsWith(RAMP_PREFIX)
    ? `must not have a name that begins with ${RAMP_PREFIX}: pauses use those`
    : undefined
}

/**
 * Types that name the same limit share it.
 * @throws Error when they declare it differently
 */
export function collectLimits(definitions: readonly Definition[]): DeclaredLimit[] {
  const found = new Map<string, DeclaredLimit>()
  for (const { type, limits = [] } of definitions) {
    for (const limit of limits) {
      const declared = declare(type, limit)
      const other = found.get(declared.name)
      if (other !== undefined && !isAlike(other, declared))
        throw new Error(
          `task type "${type}" declares the limit "${declared.name}" differently from "${other.types.join('", "')}": make the two alike, or give one of them another name`,
        )
      found.set(declared.name, { ...declared, types: [...(other?.types ?? []), type] })
    }
  }
  return [...found.values()]
}

function isAlike(a: DeclaredLimit, b: DeclaredLimit): boolean {
  return JSON.stringify({ ...a, types: [] }) === JSON.stringify({ ...b, types: [] })
}

function declare(type: string, limit: TypeLimit): DeclaredLimit {
  const { per = 'all', concurrency = null, rate, whenOver = 'delay' } = limit
  return {
    name: nameOf(type, limit),
    types: [type],
    per,
    concurrency,
    rate: rate?.limit ?? null,
    periodMs: rate?.periodMs ?? null,
    burst: rate === undefined ? null : (rate.burst ?? 1),
    whenOver,
  }
}

function nameOf(type: string, { name, per = 'all', rate }: TypeLimit): string {
  return name ?? `${type}.${rate === undefined ? 'concurrency' : 'rate'}${per === 'all' ? '' : `.${per}`}`
}
