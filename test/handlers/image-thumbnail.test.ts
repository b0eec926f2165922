/** Thumbnails made with sharp: of uploads, of URLs, and of files that are not images. */
import sharp from 'sharp'
import t from 'tap'
import { createImageThumbnail } from '../../src/handlers/image-thumbnail.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { serve } from './serve.js'

const open = createImageThumbnail({ allowPrivate: true })
const UPLOAD = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
const image = await sharp({ create: { width: 600, height: 300, channels: 3, background: '#3867d6' } })
  .png()
  .toBuffer()

t.test('an upload becomes a file for each width, none wider than the original', async (t) => {
  const run = await runDefinition(
    open,
    { upload: UPLOAD, widths: [100, 2_000], format: 'jpeg' },
    { files: { [UPLOAD]: image } },
  )
  t.match(run, {
    status: 'COMPLETED',
    result: {
      source: { width: 600, height: 300, format: 'png' },
      files: [
        { name: 'thumbnail-100.jpeg', width: 100, height: 50 },
        { name: 'thumbnail-2000.jpeg', width: 600, height: 300 },
      ],
    },
  })
  const small = run.reported.artifacts.get('thumbnail-100.jpeg')
  t.equal(small?.mediaType, 'image/jpeg')
  t.match(await sharp(small?.content).metadata(), { format: 'jpeg', width: 100, height: 50 })
  t.equal(run.reported.progress.length, 2)
})

t.test('an image at a url is resized, and a missing one is an error', async (t) => {
  const url = await serve(t, (request, response) => {
    response.statusCode = request.url === '/image' ? 200 : request.url === '/busy' ? 503 : 404
    response.end(image)
  })
  t.match(await runDefinition(open, { url: `${url}/image` }), {
    status: 'COMPLETED',
    result: { files: [{ name: 'thumbnail-200.webp', width: 200, height: 100 }] },
  })
  t.match(await runDefinition(open, { url: `${url}/none` }), {
    status: 'FAILED',
    error: { message: /its server answered 404/ },
  })
  t.match(await runDefinition(open, { url: `${url}/busy` }), { status: 'RETRYING' })
  const closed = createImageThumbnail({
    allowPrivate: false,
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
  })
  t.match(await runDefinition(closed, { url: 'http://name.test/image' }), {
    status: 'FAILED',
    error: { name: 'AddressRefusedError' },
  })
})

t.test('a file that is not an image is not retried', async (t) => {
  t.match(await runDefinition(open, { upload: UPLOAD }, { files: { [UPLOAD]: 'text' } }), {
    status: 'FAILED',
    error: { message: /not a readable image/ },
  })
  await t.rejects(runDefinition(open, { upload: UPLOAD, widths: [0] }), { message: /^\/payload\/widths/ })
})
