/** The memory for unread responses, with clients that may take as long as they like. */
import t from 'tap'
import { startApp } from '../helpers/app.js'
import { openRaw, requestText, waitUntil } from '../helpers/raw-client.js'

const MAX_UNREAD_BYTES = 1_000_000
const app = await startApp(t, [], {}, { sweepMs: 20, maxUnreadMemoryBytes: MAX_UNREAD_BYTES })

t.test('above the memory limit for unread answers, those that have waited longest are closed', async (t) => {
  const ids = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const body = JSON.stringify({
        type: 'email.send',
        payload: { to: ['a@example.com'], subject: 'fat', text: 'x'.repeat(199_000) },
      })
      const answer = await fetch(`${app.address}/api/tasks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      return ((await answer.json()) as { id: string }).id
    }),
  )
  const text = ids.map((id) => requestText(`GET /api/tasks/${id}`)).join('')
  const first = await openRaw(t, app.address)
  first.socket.pause()
  first.send(text)
  await waitUntil(() => app.counts().unreadBytes > 0)
  const { connections } = app.counts()
  const others = await Promise.all(Array.from({ length: 7 }, () => openRaw(t, app.address)))
  await waitUntil(() => app.counts().connections === connections + others.length)
  for (const { socket, send } of others) {
    socket.pause()
    send(text)
  }
  await waitUntil(() => app.counts().connections < connections + others.length)
  first.socket.resume()
  await first.closed
  t.ok(app.counts().connections >= connections + 2, 'no more are closed than needed')
})
