import type { TypeInfo } from '../../src/protocol/http.js'
import type { Task } from '../../src/protocol/task.js'

export interface Snippet {
  title: string
  /** Where it is pasted. */
  hint: string
  code: string
}

/** The snippets of a task. `origin` is where the server is reached, e.g. `http://localhost:3000`. */
export function createSnippets(task: Task, origin: string): Snippet[]

/** The snippets of a type of task, with a payload as an example. */
export function createTypeSnippets(type: Pick<TypeInfo, 'type' | 'payload'>, origin: string): Snippet[]
