import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { findInexactNumber, isKept } from '../../public/exact-numbers.js'
import { atDepth } from '../helpers/depth.js'

t.test('numbers that JavaScript would change are found, with their location', async (t) => {
  const cases: [text: string, pointer: string, number: string][] = [
    ['{"id": 1970670598291982290}', '/id', '1970670598291982290'],
    ['{"a": [0, {"b/c~d": 1e400}]}', '/a/1/b~1c~0d', '1e400'],
    ['9007199254740993', '', '9007199254740993'],
    ['[1, 2, -9007199254740993]', '/2', '-9007199254740993'],
    ['[3.14159265358979323846]', '/0', '3.14159265358979323846'],
    ['{"a":{"x":1},"b":[[],[1e-400]]}', '/b/1/0', '1e-400'],
    ['{"a\\"{[":"}","\\u0062":0.1000000000000000000001}', '/b', '0.1000000000000000000001'],
    [`[${'1'.repeat(500)}]`, '/0', '1'.repeat(500)],
    [`[1e-${'9'.repeat(100_000)}]`, '/0', `1e-${'9'.repeat(100_000)}`],
  ]
  for (const [text, pointer, number] of cases) t.match(findInexactNumber(text), { pointer, number })
})

t.test(
  'numbers with the same meaning are accepted in any notation, and digits in strings are not numbers',
  async (t) => {
    for (const number of [
      '0',
      '-0',
      '0.1',
      '1.0',
      '1e3',
      '1E+3',
      '100000000000000000000',
      '1e21',
      '9007199254740992',
      '0.30000000000000004',
      '5e-324',
      '1.7976931348623157e308',
      '0.000',
      '0e10',
    ]) {
      t.equal(isKept(number), true, number)
    }
    t.equal(findInexactNumber('{"id":"1970670598291982290","9007199254740993":["1e400"]}'), undefined)
  },
)

t.test('every value that JavaScript writes is accepted, and every integer with other digits is found', async () => {
  const numRuns = atDepth(1_000, 50_000)
  fc.assert(
    fc.property(fc.jsonValue(), (value) => findInexactNumber(JSON.stringify(value)) === undefined),
    { numRuns },
  )
  fc.assert(
    fc.property(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.array(fc.string()), (integer, path) => {
      const text = path.reduceRight((inner, key) => `{${JSON.stringify(key)}:${inner}}`, String(integer))
      assert.equal(findInexactNumber(text) !== undefined, String(Number(integer)) !== String(integer))
    }),
    { numRuns },
  )
})
