/** What an operator should know of a Redis, and what keeps its memory apart from that of another. */
import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { withDeadline } from '../timing/deadline.js'

const DEADLINE_MS = 2_000

/**
 * A random value that is written once, so that it is gone when everything is; and the run id of the server, which changes
 * with each start and differs from server to server, so that an old copy and a failover show as well.
 */
export async function readRedisEpoch(client: Redis, key: string): Promise<string> {
  const [value, info] = await withDeadline(
    Promise.all([client.set(key, randomUUID(), 'NX').then(() => client.get(key)), client.info('server')]),
    DEADLINE_MS,
    'Redis does not answer',
  )
  return `${value} ${fieldOf(info, 'run_id')}`
}

export interface RedisFacts {
  version: string
  clockMs: number
  evictionPolicy: string
  isAppendOnly: boolean
}

export async function readRedisFacts(client: Redis): Promise<RedisFacts> {
  const [info, [seconds, micros]] = await withDeadline(Promise.all([client.info(), client.time()]), DEADLINE_MS, 'Redis does not answer')
  return {
    version: fieldOf(info, 'redis_version'),
    clockMs: Number(seconds) * 1_000 + Number(micros) / 1_000,
    evictionPolicy: fieldOf(info, 'maxmemory_policy'),
    isAppendOnly: fieldOf(info, 'aof_enabled') === '1',
  }
}

export function findRedisFaults({ evictionPolicy, isAppendOnly }: RedisFacts): string[] {
  return [
    ...(evictionPolicy === 'noeviction' ? [] : [`it may evict jobs when its memory is full (maxmemory-policy ${evictionPolicy}): set noeviction`]),
    ...(isAppendOnly ? [] : ['what is queued is lost at a restart and delivered again, which takes time: set appendonly yes']),
  ]
}

/** Sets what `findRedisFaults` asks for, until the server restarts: its configuration file is not ours. */
export async function mendRedis(client: Redis): Promise<string[]> {
  const { evictionPolicy, isAppendOnly } = await readRedisFacts(client)
  const done: string[] = []
  const set = async (name: string, value: string) => {
    await withDeadline(client.config('SET', name, value), DEADLINE_MS, 'Redis does not answer')
    done.push(`set ${name} ${value} in Redis, until it restarts: put it into its configuration file, too`)
  }
  if (evictionPolicy !== 'noeviction') await set('maxmemory-policy', 'noeviction')
  if (!isAppendOnly) await set('appendonly', 'yes')
  return done
}

function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.+?)\\r?$`, 'm').exec(info)?.[1] ?? ''
}
