import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { findUnstorable, toStorableText } from '../../src/protocol/text.js'
import { toStorable } from '../../src/tasks/attempt/storable.js'
import { atDepth } from '../helpers/depth.js'

const LIMITS = { maxBytes: 10_000, maxDepth: 20 }

class Point {
  constructor(
    readonly x: number,
    readonly y: number,
  ) {}
}

class Money {
  constructor(readonly cents: bigint) {}
  toJSON() {
    return `${this.cents} cents`
  }
}

t.test('a value is stored as JSON writes it', async (t) => {
  const cases: [given: unknown, stored: unknown][] = [
    [undefined, null],
    [{ at: new Date(0), gone: undefined, call() {} }, { at: '1970-01-01T00:00:00.000Z' }],
    [new Point(1, 2), { x: 1, y: 2 }],
    [{ price: new Money(5n) }, { price: '5 cents' }],
    [
      [undefined, 1],
      [null, 1],
    ],
    [
      { empty: {}, list: [] },
      { empty: {}, list: [] },
    ],
    [Object.create(null), {}],
    [
      [new String('a'), new Number(1), new Boolean(false)],
      ['a', 1, false],
    ],
    [
      { at: [new Date(1)], zero: -0 },
      { at: ['1970-01-01T00:00:00.001Z'], zero: 0 },
    ],
    [
      // eslint-disable-next-line no-sparse-arrays
      [1, , 3],
      [1, null, 3],
    ],
    [Object.assign([1], { total: 1 }), [1]],
    [{ inner: { toJSON: () => null } }, { inner: null }],
    [Buffer.from('a'), { type: 'Buffer', data: [97] }],
  ]
  for (const [given, stored] of cases) t.same(toStorable(given, LIMITS), { value: stored })
})

t.test('a value that would lose data, or cannot be stored, is refused with its location', async (t) => {
  const cycle: Record<string, unknown> = {}
  cycle['again'] = cycle
  let deep: unknown = 1
  for (let depth = 0; depth < 50_000; depth += 1) deep = [deep]
  const cases: [given: unknown, pointer: string, detail: RegExp][] = [
    [{ id: 1n }, '/id', /BigInt/],
    [1n, '', /BigInt/],
    [[{ a: NaN }], '/0/a', /NaN/],
    [{ a: -Infinity }, '/a', /-Infinity/],
    [{ 'a/b': new Map([[1, 2]]) }, '/a~1b', /Map/],
    [{ a: new Set([1]) }, '/a', /Set/],
    [{ a: new Error('lost') }, '/a', /Error/],
    [{ a: Promise.resolve(1) }, '/a', /Promise/],
    [{ a: /x/ }, '/a', /RegExp/],
    [() => 1, '', /function/],
    [Symbol('a'), '', /symbol/],
    [{ d: new Date(NaN) }, '/d', /invalid Date/],
    [[1, [new Date('never')]], '/1/0', /invalid Date/],
    [new Date(NaN), '', /invalid Date/],
    [{ a: new (class Day extends Date {})(NaN) }, '/a', /invalid Date/],
    [{ a: [() => 1] }, '/a/0', /function/],
    [{ a: Symbol('a') }, '/a', /symbol/],
    [[Object(Symbol('a'))], '/0', /Symbol/],
    [{ a: Object(1n) }, '/a', /BigInt/],
    [{ a: new Number(NaN) }, '/a', /NaN/],
    [{ a: new Uint8Array([1, 2]) }, '/a', /Uint8Array/],
    [{ a: new Float64Array() }, '/a', /Float64Array/],
    [{ a: new ArrayBuffer(2) }, '/a', /ArrayBuffer/],
    [{ a: { toJSON() {} } }, '/a', /toJSON that returns undefined/],
    [[{ toJSON() {} }], '/0', /toJSON that returns undefined/],
    [{ toJSON() {} }, '', /toJSON that returns undefined/],
    [{ a: { toJSON: () => ({ b: NaN }) } }, '/a/b', /NaN/],
    [{ a: { toJSON: () => new Map([[1, 2]]) } }, '/a', /Map/],
    [{ a: Object.assign(new Error('lost'), { code: 'E' }) }, '/a', /Error/],
    [{ a: Object.assign(new Map([[1, new Date(NaN)]]), { b: 1 }) }, '/a', /Map/],
    [{ a: new URLSearchParams('b=1') }, '/a', /URLSearchParams/],
    [{ a: [1].values() }, '/a', /Iterator|object/i],
    [Array.from({ length: 100_000 }, () => 1), '', /more than 10000 bytes/],
    [new Array(40_000_000), '', /more than 10000 bytes/],
    [new Array(4_000_000_000), '', /too large/],
    [cycle, '', /circular/],
    [deep, '', /nested too deeply/],
    [{ a: 'x\0y' }, '/a', /U\+0000/],
    [{ toJSON: () => 'x\0y' }, '', /U\+0000/],
    [{ a: { toJSON: () => '👍'.slice(0, 1) } }, '/a', /surrogate/],
    [{ '\ud83d': 1 }, '/\ud83d', /surrogate/],
    ['x'.repeat(10_001), '', /10003 bytes/],
    [
      {
        toJSON() {
          throw new Error('not me')
        },
      },
      '',
      /not me/,
    ],
    [
      {
        get a() {
          throw new Error('not you')
        },
      },
      '',
      /not you/,
    ],
  ]
  for (const [given, pointer, detail] of cases) t.match(toStorable(given, LIMITS), { violation: { pointer, detail } })
})

t.test('the location of a loss is right when an object occurs in several locations', async (t) => {
  const shared = { fine: 1 }
  const outer = { '': shared, 'a/b': [shared, { shared, deep: { '': { bad: NaN } } }] }
  t.match(toStorable(outer, LIMITS), { violation: { pointer: '/a~1b/1/deep//bad', detail: /NaN/ } })
})

t.test('any accepted value equals the one that is read back', async () => {
  const any = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withSparseArray: true,
    withNullPrototype: true,
    withBoxedValues: true,
  })
  fc.assert(
    fc.property(any, (given) => {
      const { value, violation } = toStorable(given, LIMITS)
      if (violation !== undefined) return
      assert.deepEqual(JSON.parse(JSON.stringify(value)), value)
      assert.equal(findUnstorable(value, LIMITS.maxDepth), undefined)
    }),
    { numRuns: atDepth(500, 20_000) },
  )
})

t.test('a text is cut without cutting a character in two, whatever was given', async (t) => {
  t.equal(toStorableText('ab👍', 3), 'ab')
  t.equal(toStorableText('ab👍', 4), 'ab👍')
  t.equal(toStorableText('a\0\ud83d', 10), 'a\ufffd')
  t.equal(toStorableText(7, 10), '7')
  t.equal(toStorableText(undefined, 10), '')
  t.equal(
    toStorableText(
      {
        toString() {
          throw new Error('no')
        },
      },
      10,
    ),
    '',
  )
  t.equal(toStorableText(Object.create(null), 10), '')
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(20), (text, length) => {
      const cut = toStorableText(text, length)
      return cut.isWellFormed() && cut.length <= length && !cut.includes('\0')
    }),
    { numRuns: atDepth(500, 20_000) },
  )
})
