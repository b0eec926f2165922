/**
 * `/asyncapi.json`: what the streams say, from the schemas of `protocol/stream.ts`.
 * @see https://www.asyncapi.com/docs/reference/specification/v3.0.0
 */
import type { TSchema } from 'typebox'
import { StreamQuery } from '../protocol/http.js'
import {
  CLOSES,
  ProgressMessage,
  ResumedMessage,
  SnapshotMessage,
  TransitionMessage,
  type StreamMessage,
} from '../protocol/stream.js'
import { readPackageVersion } from './version.js'

interface MessageInfo {
  title: string
  summary: string
  payload: TSchema
}

const MESSAGES: Record<StreamMessage['type'], MessageInfo> = {
  snapshot: {
    title: 'The whole task',
    summary: 'First, without `since`; and with `reset` when the server cannot go on from the position of the client.',
    payload: SnapshotMessage,
  },
  resumed: {
    title: 'The position is known',
    summary: 'First, with `since`: every transition after that version follows, one by one.',
    payload: ResumedMessage,
  },
  transition: {
    title: 'A change of status',
    summary: 'Each committed one, once and in order: `version` goes up by one.',
    payload: TransitionMessage,
  },
  progress: {
    title: 'How far the run is',
    summary: 'A hint at the same version: values in between may be skipped, the last one arrives.',
    payload: ProgressMessage,
  },
}

export function describeStreams() {
  const names = Object.keys(MESSAGES)
  const refs = (root: string) => names.map((name) => [name, { $ref: `${root}/${name}` }] as const)
  const messages = Object.entries(MESSAGES).map(([name, { title, summary, payload }]) => [
    name,
    { name, title, summary, contentType: 'application/json', payload },
  ])
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Taskwire',
      version: readPackageVersion(),
      description:
        'Streams of tasks. Every message has `type`, `taskId`, `status` and `version`. To keep a picture of a task: a ' +
        'snapshot replaces it; a version at or below yours is dropped; the next version is applied; a greater one is a gap, ' +
        'so reconnect with `since`. The same messages come as server-sent events from `GET /api/tasks/{id}/events`.',
    },
    defaultContentType: 'application/json',
    channels: {
      taskStream: {
        address: '/ws/tasks/{id}',
        title: 'The stream of one task',
        description: 'Ends with the task. A client sends nothing. What can be refused is refused before the upgrade, as problem+json.',
        parameters: { id: { description: 'the id of the task, a UUID' } },
        messages: Object.fromEntries(refs('#/components/messages')),
        bindings: { ws: { method: 'GET', query: StreamQuery, bindingVersion: '0.1.0' } },
      },
    },
    operations: {
      tellOfTask: {
        action: 'send',
        channel: { $ref: '#/channels/taskStream' },
        title: 'What the server tells of a task',
        messages: refs('#/channels/taskStream/messages').map(([, ref]) => ref),
        'x-close-codes': Object.values(CLOSES),
      },
    },
    components: { messages: Object.fromEntries(messages) as Record<string, MessageInfo & { name: string }> },
  }
}
