/** Stopping a web process whose clients do not finish what they started. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { startApp } from '../helpers/app.js'

t.test('silent and half-finished connections do not delay the stop', async (t) => {
  const { address, stopWeb } = await startApp(t)
  const port = Number(new URL(address).port)
  const silent = connect(port, '127.0.0.1')
  const half = connect(port, '127.0.0.1')
  await Promise.all([once(silent, 'connect'), once(half, 'connect')])
  half.write(
    'POST /api/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"title"',
  )
  const closed = Promise.all(
    [silent, half].map((socket) =>
      once(
        socket.on('error', () => {}),
        'close',
      ),
    ),
  )
  await new Promise((resolve) => setTimeout(resolve, 100))
  await stopWeb()
  await closed
  t.same([silent.closed, half.closed], [true, true], 'the server stopped and closed both connections')
})
