/** `/openapi.json`: assembled from the routes, the protocol and the task types, in a form that other tools can read. */
import type { FastifySchema } from 'fastify'
import type { Registry } from '../../definitions/registry.js'
import { linkTexts, linkTo } from '../../protocol/base-path.js'
import { readPackageVersion } from '../../version.js'
import { describeSchemas } from './components.js'
import { completeOperation, describeProblems } from './operations.js'

/** The options with which a route was registered. */
export interface DescribedRoute {
  method: string
  url: string
  schema: FastifySchema
}

type Paths = Record<string, Record<string, object>>

/** The start of every document. */
export function describeHead() {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Taskwire',
      version: readPackageVersion(),
      license: { name: 'MIT', identifier: 'MIT' },
      description:
        'Create tasks, read them, watch them live. Errors are application/problem+json (RFC 9457) with a stable `code`; /docs/problems explains each. ' +
        'The live stream of a task is the WebSocket at `links.stream`, described in /asyncapi.json.\n\n' +
        'There is no authentication yet: `security` is empty. The network decides who can reach the server, and ALLOWED_ORIGINS which pages may use it. ' +
        'A signed link (`/files/…`) gives anyone who has it access to one file.',
    },
    servers: [{ url: linkTo('') || '/', description: 'this server' }],
    security: [],
    tags: [
      { name: 'tasks', description: 'Create, read and list tasks' },
      { name: 'artifacts', description: 'Download and upload files' },
      { name: 'types', description: 'List the task types' },
      { name: 'schedules', description: 'Tasks that are created at certain times' },
      { name: 'operations', description: 'For operators of the server' },
    ],
  }
}

/** Completes the document that @fastify/swagger has made from the routes. */
export function completeDocument<Document extends object>(
  document: Document,
  routes: readonly DescribedRoute[],
  registry: Registry,
): Document {
  const { paths } = document as { paths: Paths }
  const done = Object.entries(paths).map(([path, operations]) => [path, completePath(path, operations, routes)])
  const components = { schemas: describeSchemas(registry), responses: linkTexts(describeProblems()) }
  return {
    ...linkTexts({ ...document, paths: Object.fromEntries(done) as Paths }),
    components: keepUsed(done, components),
  }
}

function completePath(
  path: string,
  operations: Record<string, object>,
  routes: readonly DescribedRoute[],
): Record<string, object> {
  const done = Object.entries(operations).map(([name, operation]) => {
    const method = name.toUpperCase()
    const route = routes.find(({ method: other, url }) => other === method && toTemplate(url) === path)
    return [name, route === undefined ? operation : completeOperation(operation, method, route.url, route.schema)]
  })
  return Object.fromEntries(done) as Record<string, object>
}

function toTemplate(url: string): string {
  return url.replaceAll(/:(\w+)/g, '{$1}')
}

/** Only the schemas that the paths refer to, directly or indirectly. */
function keepUsed(
  paths: unknown,
  components: Record<string, Record<string, object>>,
): Record<string, Record<string, object>> {
  const used = new Set<string>()
  const waiting: unknown[] = [paths]
  while (waiting.length > 0) {
    for (const ref of findRefs(waiting.pop())) {
      if (used.has(ref)) continue
      used.add(ref)
      const [, , group = '', name = ''] = ref.split('/')
      waiting.push(components[group]?.[name])
    }
  }
  const groups = Object.entries(components).map(([group, all]) => [
    group,
    Object.fromEntries(Object.entries(all).filter(([name]) => used.has(`#/components/${group}/${name}`))),
  ])
  return Object.fromEntries(groups) as Record<string, Record<string, object>>
}

function findRefs(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) =>
    name === '$ref' && typeof member === 'string' ? [member] : findRefs(member),
  )
}
