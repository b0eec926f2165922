/**
 * `/asyncapi.json`: the messages of the streams, from the schemas in `protocol/stream.ts`.
 * @see https://www.asyncapi.com/docs/reference/specification/v3.1.0
 */
import { Type, type TSchema } from 'typebox'
import { ListChangeMessage, ListMessage } from '../../protocol/list.js'
import { StreamQuery } from '../../protocol/queries.js'
import {
  CLOSES,
  HeartbeatMessage,
  IdleHeartbeat,
  LogMessage,
  ProgressMessage,
  ResumedMessage,
  SnapshotMessage,
  TransitionMessage,
  WaitingMessage,
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
import { readPackageVersion } from '../../version.js'

interface MessageInfo {
  title: string
  summary: string
  payload: TSchema
}

const STREAM_MESSAGES: Record<StreamMessage['type'], MessageInfo> = {
  snapshot: {
    title: 'The whole task',
    summary: "Sent first, without `since`; and with `reset` if the server cannot continue from the client's position.",
    payload: SnapshotMessage,
  },
  resumed: {
    title: 'The position is known',
    summary: 'Sent first, with `since`: every transition after that version follows, one by one.',
    payload: ResumedMessage,
  },
  transition: {
    title: 'A status change, or an edit',
    summary:
      'Every committed change, once and in order: `version` goes up by one. With `edited` the status stays the same, and `changes` has the new values.',
    payload: TransitionMessage,
  },
  progress: {
    title: 'The progress of the run',
    summary: 'A hint at the same version: intermediate values may be skipped, the last one always arrives.',
    payload: ProgressMessage,
  },
  waiting: {
    title: 'Why the task waits',
    summary:
      'A hint at the same version, after the snapshot and when the reason changes: the last one replaces those before. `waitingFor` is null when the task has started.',
    payload: WaitingMessage,
  },
  log: {
    title: 'A log line of the handler',
    summary: 'Only with `logs=1`: the latest stored lines, then new ones; if there are very many, only the latest.',
    payload: LogMessage,
  },
  heartbeat: {
    title: 'The connection is alive',
    summary:
      'Sent when nothing else was sent for a while, 15 s at most. Repeats the task, status and version of the last message; for many tasks ' +
      'it has none before the first message. After 30 s without any message, treat the connection as dead and reconnect with `since`.',
    payload: Type.Union([HeartbeatMessage, IdleHeartbeat]),
  },
}

const LIST_MESSAGES: Record<string, MessageInfo> = {
  list: {
    title: 'A whole list',
    summary:
      "Sent first, and again after an outage or if the client was too slow. Its rows replace the client's copy of the list.",
    payload: ListMessage,
  },
  change: {
    title: 'Changes in a list',
    summary:
      'Rows that were added or changed, and rows that were removed. Apply them together; at most four messages a second.',
    payload: ListChangeMessage,
  },
}

const REQUESTS: Record<string, MessageInfo> = {
  subscribe: { title: 'Follow tasks', summary: 'By ids, or all that match a filter.', payload: SubscribeRequest },
  subscribeToList: {
    title: 'Follow a list',
    summary: 'A filter and a window of the newest matching tasks. Its `type` is `subscribe` too.',
    payload: SubscribeToList,
  },
  unsubscribe: {
    title: 'End a subscription',
    summary: 'Identified by the id of its subscribe request.',
    payload: UnsubscribeRequest,
  },
  ping: { title: 'Check that the server answers', summary: 'Answered with pong.', payload: PingRequest },
}

const ANSWERS: Record<string, MessageInfo> = {
  subscribed: { title: 'The subscription is active', summary: 'Its messages follow.', payload: SubscribedAnswer },
  refused: { title: 'The request was refused', summary: 'Says why, and names the fields.', payload: RefusedAnswer },
  unsubscribed: {
    title: 'The subscription has ended',
    summary: 'It sends no further messages.',
    payload: UnsubscribedAnswer,
  },
  pong: { title: 'The server answers', summary: 'The answer to ping.', payload: PongAnswer },
}

const refer = (root: string, infos: Record<string, MessageInfo>) =>
  Object.fromEntries(Object.keys(infos).map((name) => [name, { $ref: `${root}/${name}` }]))

function describeOperation(
  action: 'send' | 'receive',
  channel: string,
  title: string,
  infos: Record<string, MessageInfo>,
) {
  const messages = Object.values(refer(`#/channels/${channel}/messages`, infos))
  // There is no authentication yet.
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
        'Streams of tasks. Every message of a task has `type`, `taskId`, `status` and `version`. To maintain a copy of a task: a ' +
        'snapshot replaces it; a version at or below yours is dropped; the next version is applied; a higher one is a gap, ' +
        'so reconnect with `since`. The same messages are available as server-sent events from `GET /api/tasks/{id}/events`.',
      'x-close-codes': Object.values(CLOSES),
    },
    defaultContentType: 'application/json',
    channels: {
      taskStream: {
        address: '/ws/tasks/{id}',
        title: 'The stream of one task',
        description:
          'Ends with the task. The client sends nothing. Requests are refused before the upgrade, as problem+json.',
        parameters: {
          id: { description: 'the id of the task, a UUID', examples: ['019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'] },
        },
        messages: refer('#/components/messages', STREAM_MESSAGES),
        bindings: { ws: { method: 'GET', query: StreamQuery, bindingVersion: '0.1.0' } },
      },
      subscriptions: {
        address: '/ws/tasks',
        title: 'The streams of many tasks',
        description:
          'The client subscribes to selections of tasks and to lists. Each answer carries the `id` of its request.',
        messages: refer('#/components/messages', { ...told, ...REQUESTS }),
        bindings: { ws: { method: 'GET', bindingVersion: '0.1.0' } },
      },
    },
    operations: {
      tellOfTask: describeOperation('send', 'taskStream', 'Messages about a task', STREAM_MESSAGES),
      takeRequests: describeOperation('receive', 'subscriptions', 'Requests of a client', REQUESTS),
      tellOfTasks: describeOperation('send', 'subscriptions', 'Answers, and messages about the tasks', told),
    },
    components: { messages: Object.fromEntries(components) as Record<string, MessageInfo & { name: string }> },
  }
}
