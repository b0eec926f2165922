import t from 'tap'
import { readByteRange } from '../../src/web/byte-range.js'

const TEN: Record<string, unknown> = {
  'bytes=0-0': { start: 0, end: 0 },
  'bytes=2-5': { start: 2, end: 5 },
  'bytes=2-': { start: 2, end: 9 },
  'bytes=2-500': { start: 2, end: 9 },
  'bytes=9-99999999999999999999': { start: 9, end: 9 },
  'bytes=-3': { start: 7, end: 9 },
  'bytes=-10': { start: 0, end: 9 },
  'bytes=-5000': { start: 0, end: 9 },
  'BYTES=1-2': { start: 1, end: 2 },
  'bytes= 1-2 ': { start: 1, end: 2 },
  'bytes=10-': 'unsatisfiable',
  'bytes=99999999999999999999-': 'unsatisfiable',
  'bytes=-0': 'unsatisfiable',
}
/** Headers for which the answer is the whole file. */
const IGNORED = [
  '',
  'bytes',
  'bytes=',
  'bytes=-',
  'bytes=x-y',
  'bytes=5-2',
  'bytes=0-1,3-4',
  'bytes=1e1-',
  'bytes=+1-2',
  'bytes=--5',
  'rows=0-1',
  'bytes=0x1-',
]

t.test('a single range of bytes is read according to RFC 9110', async (t) => {
  for (const [header, expected] of Object.entries(TEN)) t.same(readByteRange(header, 10), expected, header)
  for (const header of IGNORED) t.equal(readByteRange(header, 10), undefined, header)
  t.equal(readByteRange(undefined, 10), undefined)
})

t.test('no range of an empty file can be requested', async (t) => {
  for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-1']) t.equal(readByteRange(header, 0), 'unsatisfiable', header)
})
