/** Files of tasks. */
import { openDiskStore } from '../../src/artifacts/disk-store.js'
import type { Task } from '../../src/protocol/task.js'

/** An artifact store for attempts that write no files. */
export const noArtifacts = { artifacts: openDiskStore('/nonexistent'), artifactTtlMs: 60_000 }

/** Runs a task of the type `test.file`, which writes a file as its payload says, to its end. */
export async function runFileTask(address: string, payload: object): Promise<Task> {
  const answer = await fetch(`${address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=20' },
    body: JSON.stringify({ type: 'test.file', payload }),
  })
  return (await answer.json()) as Task
}
