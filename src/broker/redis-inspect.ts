/** Facts and faults of a Redis for an operator, and what tells its data apart from that of another Redis. */
import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { withDeadline } from '../timing/deadline.js'

const DEADLINE_MS = 2_000

/**
 * Two parts: a random value written once, which disappears when the data does, and the run id of the server, which
 * changes with each start and differs between servers. The run id reveals a restored backup and a failover.
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
  const [info, [seconds, micros]] = await withDeadline(
    Promise.all([client.info(), client.time()]),
    DEADLINE_MS,
    'Redis does not answer',
  )
  return {
    version: fieldOf(info, 'redis_version'),
    clockMs: Number(seconds) * 1_000 + Number(micros) / 1_000,
    evictionPolicy: fieldOf(info, 'maxmemory_policy'),
    isAppendOnly: fieldOf(info, 'aof_enabled') === '1',
  }
}

export function findRedisFaults({ evictionPolicy, isAppendOnly }: RedisFacts): string[] {
  return [
    ...(evictionPolicy === 'noeviction'
      ? []
      : [
          `it may evict jobs when its memory is full (maxmemory-policy ${evictionPolicy}): set maxmemory-policy noeviction`,
        ]),
    ...(isAppendOnly ? [] : ['a restart loses the queued jobs, and redelivering them takes time: set appendonly yes']),
  ]
}

/**
 * Applies the settings that `findRedisFaults` asks for. They last until the server restarts, because its configuration
 * file is not Taskwire's to change.
 */
export async function repairRedis(client: Redis): Promise<string[]> {
  const { evictionPolicy, isAppendOnly } = await readRedisFacts(client)
  const done: string[] = []
  const set = async (name: string, value: string) => {
    await withDeadline(client.config('SET', name, value), DEADLINE_MS, 'Redis does not answer')
    done.push(`set ${name} ${value} in Redis until it restarts; add it to its configuration file to keep it`)
  }
  if (evictionPolicy !== 'noeviction') await set('maxmemory-policy', 'noeviction')
  if (!isAppendOnly) await set('appendonly', 'yes')
  return done
}

function fieldOf(info: string, name: string): string {
  return new RegExp(`^${name}:(.+?)\\r?$`, 'm').exec(info)?.[1] ?? ''
}
