/**
 * `/asyncapi.json`: what the streams say, from the schemas of `protocol/stream.ts`.
 * @see https://www.asyncapi.com/docs/reference/specification/v3.1.0
 */
import { Type, type TSchema } from 'typebox'
import { StreamQuery } from '../../protocol/http.js'
import { ListChangeMessage, ListMessage } from '../../protocol/list.js'
import {
  CLOSES,
  HeartbeatMessage,
  IdleHeartbeat,
  LogMessage,
  ProgressMessage,
  ResumedMessage,
  SnapshotMessage,
  TransitionMessage,
  type StreamMessage,
} from '../../protocol/stream.js'
import {
  PingRequest,
  PongAnswer,
  RefusedAnswer,
  SubscribedAnswer,
  SubscribeRequest,
  SubscribeToList,
  UnsubscribedAnswer,
  UnsubscribeRequest,
} from '../../protocol/subscription.js'
import { readPackageVersion } from '../version.js'

interface MessageInfo {
  title: string
  summary: string
  payload: TSchema
}

const STREAM_MESSAGES: Record<StreamMessage['type'], MessageInfo> = {
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
    title: 'A change of status, or an edit',
    summary: 'Each committed one, once and in order: `version` goes up by one. With `edited` the status stays, and `changes` has the new values.',
    payload: TransitionMessage,
  },
  progress: {
    title: 'How far the run is',
    summary: 'A hint at the same version: values in between may be skipped, the last one arrives.',
    payload: ProgressMessage,
  },
  log: {
    title: 'A line of the handler',
    summary: 'Only with `logs=1`: the latest stored lines, then those that follow; of very many the latest.',
    payload: LogMessage,
  },
  heartbeat: {
    title: 'The connection is alive',
    summary:
      'When nothing else was said for a while, 15 s at most: repeats the task, status and version of the last message; of many tasks ' +
      'none as long as nothing was told. After 30 s without any message take the connection for dead, and reconnect with `since`.',
    payload: Type.Union([HeartbeatMessage, IdleHeartbeat]),
  },
}

const LIST_MESSAGES: Record<string, MessageInfo> = {
  list: {
    title: 'A whole list',
    summary: 'First, and again after an outage or when the client was too slow: its rows replace what the client holds of the list.',
    payload: ListMessage,
  },
  change: {
    title: 'What has changed in a list',
    summary: 'Rows that have come or changed, rows that have gone: to be applied together, at most four times a second.',
    payload: ListChangeMessage,
  },
}

const REQUESTS: Record<string, MessageInfo> = {
  subscribe: { title: 'Follow tasks', summary: 'By ids, or all that fit.', payload: SubscribeRequest },
  subscribeToList: { title: 'Follow a list', summary: 'A filter and a window of the newest that fit. Its `type` is `subscribe`, too.', payload: SubscribeToList },
  unsubscribe: { title: 'Stop a subscription', summary: 'Named by the id it was made with.', payload: UnsubscribeRequest },
  ping: { title: 'Is anybody there', summary: 'Answered with pong.', payload: PingRequest },
}

const ANSWERS: Record<string, MessageInfo> = {
  subscribed: { title: 'The subscription stands', summary: 'Its messages follow.', payload: SubscribedAnswer },
  refused: { title: 'Nothing was done', summary: 'And why; the fields are named.', payload: RefusedAnswer },
  unsubscribed: { title: 'The subscription is gone', summary: 'Nothing more comes for its sake.', payload: UnsubscribedAnswer },
  pong: { title: 'Somebody is there', summary: 'The answer to ping.', payload: PongAnswer },
}

const refer = (root: string, infos: Record<string, MessageInfo>) =>
  Object.fromEntries(Object.keys(infos).map((name) => [name, { $ref: `${root}/${name}` }]))

function describeOperation(action: 'send' | 'receive', channel: string, title: string, infos: Record<string, MessageInfo>) {
  const messages = Object.values(refer(`#/channels/${channel}/messages`, infos))
  // Nobody has to log in yet.
  return { action, channel: { $ref: `#/channels/${channel}` }, title, summary: `${title}.`, security: [], messages }
}

export function describeStreams() {
  const told = { ...STREAM_MESSAGES, ...LIST_MESSAGES, ...ANSWERS }
  const components = Object.entries({ ...told, ...REQUESTS }).map(([name, { title, summary, payload }]) => [
    name,
    { name, title, summary, contentType: 'application/json', payload },
  ])
  return {
    asyncapi: '3.1.0',
    info: {
      title: 'Taskwire',
      version: readPackageVersion(),
      license: { name: 'MIT', url: 'https://opensource.org/license/mit' },
      description:
        'Streams of tasks. Every message of a task has `type`, `taskId`, `status` and `version`. To keep a picture of a task: a ' +
        'snapshot replaces it; a version at or below yours is dropped; the next version is applied; a greater one is a gap, ' +
        'so reconnect with `since`. The same messages come as server-sent events from `GET /api/tasks/{id}/events`.',
      'x-close-codes': Object.values(CLOSES),
    },
    defaultContentType: 'application/json',
    channels: {
      taskStream: {
        address: '/ws/tasks/{id}',
        title: 'The stream of one task',
        description: 'Ends with the task. A client sends nothing. What can be refused is refused before the upgrade, as problem+json.',
        parameters: { id: { description: 'the id of the task, a UUID', examples: ['019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'] } },
        messages: refer('#/components/messages', STREAM_MESSAGES),
        bindings: { ws: { method: 'GET', query: StreamQuery, bindingVersion: '0.1.0' } },
      },
      subscriptions: {
        address: '/ws/tasks',
        title: 'The streams of many tasks',
        description: 'The client subscribes to selections of tasks, and to lists; each request is answered by its `id`.',
        messages: refer('#/components/messages', { ...told, ...REQUESTS }),
        bindings: { ws: { method: 'GET', bindingVersion: '0.1.0' } },
      },
    },
    operations: {
      tellOfTask: describeOperation('send', 'taskStream', 'What the server tells of a task', STREAM_MESSAGES),
      takeRequests: describeOperation('receive', 'subscriptions', 'What a client asks for', REQUESTS),
      tellOfTasks: describeOperation('send', 'subscriptions', 'Answers, and what the server tells of the tasks', told),
    },
    components: { messages: Object.fromEntries(components) as Record<string, MessageInfo & { name: string }> },
  }
}
