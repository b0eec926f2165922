/** A worker with well-behaved runs, for tests of the effect of a harmful handler on them. */
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Task } from '../../src/protocol/task.js'
import { readTasks } from '../../src/store/reads/tasks.js'
import { atDepth } from './depth.js'
import { copyTasks } from './processes.js'
import { openScene, type Scene } from './scene.js'
import type { TestScope } from './services.js'

const NEIGHBOURS = atDepth(8, 20)

/** Opens a scene with a supervised worker; the worker and its successors have the additional variables in `env`. */
export async function openNeighbourhood(t: TestScope, env: Record<string, string> = {}) {
  const scene = await openScene(t, { TASKS_DIR: await copyTasks(t, 'faulty') })
  await Promise.all([scene.start('web'), scene.start('relay')])
  return { scene, worker: await scene.keep('worker', env, env) }
}

/** Starts well-behaved runs, and resolves once all are in progress. */
export async function startNeighbours(scene: Scene, stepMs = 100): Promise<string[]> {
  const ids = await Promise.all(
    Array.from({ length: NEIGHBOURS }, () => scene.create({ title: 'a neighbour', payload: { steps: 30, stepMs } })),
  )
  await scene.running(ids)
  return ids
}

/** Reads the tasks once all have ended, in the order of the ids. */
export async function readEnds(scene: Scene, ids: readonly string[]): Promise<Task[]> {
  await scene.ended(ids, 240_000)
  const found = new Map((await readTasks(DEFAULT_PRINCIPAL, scene.db, [...ids])).map((task) => [task.id, task]))
  return ids.flatMap((id) => found.get(id) ?? [])
}
