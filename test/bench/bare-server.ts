/**
 * The reference for `create` and `read`: Fastify with the same schemas and responses of the same size, without a
 * database.
 */
import Fastify from 'fastify'
import { CreateTask } from '../../src/protocol/http.js'
import { TaskParams } from '../../src/protocol/queries.js'
import type { Task } from '../../src/protocol/task.js'
import { sampleTask } from '../helpers/sample-task.js'

const app = Fastify()
app.setSerializerCompiler(() => (data) => JSON.stringify(data))

function makeTask(title: string): Task {
  const payload = { steps: 5, stepMs: 300 }
  return sampleTask('019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', { title, payload, createdAt: new Date().toISOString() })
}

app.post<{ Body: CreateTask }>('/api/tasks', { schema: { body: CreateTask } }, async (request, reply) => {
  const task = makeTask(request.body.title ?? '')
  reply.code(202).header('location', task.links.self)
  return task
})

app.get('/api/tasks/:id', { schema: { params: TaskParams } }, async (_, reply) => {
  reply.header('etag', '"1-0123456789abcdef"').header('cache-control', 'no-cache')
  return makeTask('example task')
})

process.send?.({ type: 'ready', address: await app.listen({ host: '127.0.0.1', port: 0 }) })
process.once('SIGTERM', () => process.exit(0))
process.once('disconnect', () => process.exit(0))
