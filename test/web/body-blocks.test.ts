import fc from 'fast-check'
import t from 'tap'
import { BLOCK_BYTES, BlockPool, GatheredBody } from '../../src/web/bodies/body-blocks.js'

/** Sizes of packets: mostly small, and some close to the size of a block. */
const sizes = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 100 }),
    fc.integer({ min: BLOCK_BYTES - 2, max: BLOCK_BYTES + 2 }),
    fc.constant(3 * BLOCK_BYTES),
  ),
  { maxLength: 40 },
)

t.test('a body equals its chunks, however it was split, while others use the same blocks', async (t) => {
  const pool = new BlockPool()
  fc.assert(
    fc.property(fc.array(sizes, { minLength: 2, maxLength: 4 }), (bodies) => {
      const chunksOf = (body: number) =>
        bodies[body]?.map((size, index) => Buffer.alloc(size, `${body}${index},`)) ?? []
      const gathered = bodies.map(() => new GatheredBody(pool))
      const heldBytes = bodies.map(() => 0)
      // Interleaved, as packets of several connections arrive.
      for (let turn = 0; turn < 40; turn += 1) {
        for (const [body, one] of gathered.entries())
          heldBytes[body] = (heldBytes[body] ?? 0) + one.append(chunksOf(body)[turn] ?? Buffer.alloc(0))
      }
      const areSame = gathered.every((one, body) => one.join().equals(Buffer.concat(chunksOf(body))))
      const areCounted = heldBytes.every((bytes, body) => bytes >= Buffer.concat(chunksOf(body)).length)
      for (const one of gathered) one.clear()
      return areSame && areCounted
    }),
    { numRuns: 50 },
  )
  t.ok(pool.freeCount > 0, 'their blocks are free again')
})

t.test('successive bodies reuse the same memory, and unused memory is released', async (t) => {
  const pool = new BlockPool()
  const blocks = new Set<Buffer>()
  for (let round = 0; round < 10; round += 1) {
    const body = new GatheredBody(pool)
    t.equal(body.append(Buffer.alloc(8 * BLOCK_BYTES)), 8 * BLOCK_BYTES, 'it reports the memory that it holds')
    body.clear()
    t.equal(pool.freeCount, 8)
    for (let taken = 0; taken < 8; taken += 1) blocks.add(pool.take())
    for (const block of [...blocks].slice(0, 8)) pool.give(block)
  }
  t.equal(blocks.size, 8)
  for (let times = 0; times < 4; times += 1) pool.trim()
  t.equal(pool.freeCount, 0)
})

t.test('a small body in many pieces takes little memory', async (t) => {
  const body = new GatheredBody(new BlockPool())
  let heldBytes = 0
  for (let byte = 0; byte < 1_500; byte += 1) heldBytes += body.append(Buffer.from('x'))
  t.equal(heldBytes, 2_048)
  t.equal(body.join().length, 1_500)
})
