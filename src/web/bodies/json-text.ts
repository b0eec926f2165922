/**
 * Parses JSON text from clients with bounded work.
 *
 * The cost of JSON is not its length: 4 MB are parsed in 3 ms as one string, but block the process for 400 ms as
 * objects that all have different fields. So the text is measured first, in one pass without allocations, and is not
 * parsed if it exceeds a bound. The parsed value is small enough for everything that follows (checks, fingerprints,
 * storing, answering), and not nested deeply enough to exhaust the stack of recursive code.
 */
import { parse } from 'secure-json-parse'

export interface JsonBounds {
  /** Nested objects and lists, including the outermost; at most 64. */
  maxDepth: number
  /** Values of any kind, including fields and items. */
  maxValues: number
  /** Fields of all objects together. */
  maxFields: number
  /**
   * Different field sequences of objects: `{"a":1,"b":2}` has two, and any number of objects with the same fields in
   * the same order adds none. Each costs the parser a separate object shape, some microseconds. Counted with an error
   * of a few percent.
   */
  maxShapes: number
}

/** For bodies: a thousand tasks with fifty fields each, or the rows of a table. */
export const BODY_BOUNDS: JsonBounds = { maxDepth: 64, maxValues: 200_000, maxFields: 50_000, maxShapes: 5_000 }
/** For requests over a socket: the largest names 1,000 ids, with a version for each. */
export const FRAME_BOUNDS: JsonBounds = { maxDepth: 8, maxValues: 2_500, maxFields: 1_200, maxShapes: 1_200 }

/** The measurements of a text, up to the point where measuring stopped. */
export interface JsonMeasure {
  depth: number
  values: number
  fields: number
  /** The bound that the text exceeds, in words; measuring stopped there. */
  excess?: string
}

/** The text exceeds a bound; it was not parsed. */
export class JsonBoundError extends Error {
  override readonly name = 'JsonBoundError'
}

/**
 * @throws JsonBoundError if it exceeds a bound
 * @throws SyntaxError if it is not JSON, or has a field that could pollute the prototype of every object
 */
export function readJson(text: string, bounds: JsonBounds): unknown {
  const { excess } = measureJson(text, bounds)
  if (excess !== undefined) throw new JsonBoundError(excess)
  return parse(text, { protoAction: 'error', constructorAction: 'error' })
}

const [QUOTE, COMMA, COLON, OPEN_LIST, BACKSLASH, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [
  0x22, 0x2c, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d,
]
/** The shortest possible field: `"":1,`. */
const LEAST_FIELD_LENGTH = 5

/**
 * Counts what is outside strings. For text that is not JSON the counts are meaningless, but the function still ends.
 */
export function measureJson(text: string, { maxDepth, maxValues, maxFields, maxShapes }: JsonBounds): JsonMeasure {
  // A short text cannot have too many.
  const shapes = text.length > maxShapes * LEAST_FIELD_LENGTH ? createShapeCounter() : undefined
  const measure: JsonMeasure = { depth: 0, values: 1, fields: 0 }
  let depth = 0
  let nameStart = 0
  let nameEnd = 0
  for (let index = 0; index < text.length; index += 1) {
    switch (text.charCodeAt(index)) {
      case QUOTE:
        nameStart = index + 1
        index = nameEnd = findEndOfString(text, nameStart)
        break
      case OPEN_OBJECT:
      case OPEN_LIST:
        depth += 1
        measure.values += 1
        if (depth > measure.depth) measure.depth = depth
        if (depth > maxDepth) return { ...measure, excess: `is nested more than ${maxDepth} deep` }
        shapes?.open(depth)
        break
      case CLOSE_OBJECT:
      case CLOSE_LIST:
        depth -= 1
        break
      case COMMA:
        measure.values += 1
        break
      case COLON:
        measure.fields += 1
        if (measure.fields > maxFields) return { ...measure, excess: `has more than ${maxFields} fields` }
        if (shapes && shapes.add(depth, text, nameStart, nameEnd) > maxShapes)
          return { ...measure, excess: `has objects with more than ${maxShapes} different fields` }
    }
    if (measure.values > maxValues) return { ...measure, excess: `has more than ${maxValues} values` }
  }
  return measure
}

function findEndOfString(text: string, start: number): number {
  let index = start
  for (; index < text.length; index += 1) {
    const code = text.charCodeAt(index)
    if (code === QUOTE) break
    if (code === BACKSLASH) index += 1
  }
  return index
}

/**
 * Shapes are identified by a hash with a different seed in each process, so that nobody can craft shapes that collide.
 */
const SEED = Math.floor(Math.random() * 2 ** 32)
const HASH_BITS = 18
const DEEPEST = 64
/** A longer name counts as unique, without being compared. */
const MAX_HASHED_LENGTH = 200
const seen = new Uint32Array(2 ** HASH_BITS / 32)
const openShapes = new Int32Array(DEEPEST + 1)

/** Reuses the same memory each time: a text is measured in one go. */
function createShapeCounter() {
  seen.fill(0)
  let count = 0
  return {
    /** An object starts at this depth. */
    open(depth: number) {
      openShapes[depth] = SEED
    },
    /** A field of the object that is open at this depth. Returns the number of shapes so far. */
    add(depth: number, text: string, nameStart: number, nameEnd: number): number {
      if (nameEnd - nameStart > MAX_HASHED_LENGTH) return (count += 1)
      let hash = openShapes[depth] ?? SEED
      for (let index = nameStart; index < nameEnd; index += 1)
        hash = Math.imul(hash ^ text.charCodeAt(index), 0x9e3779b1) ^ (hash >>> 15)
      hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
      hash ^= hash >>> 13
      openShapes[depth] = hash
      const bit = hash & (2 ** HASH_BITS - 1)
      const mask = 1 << (bit & 31)
      const word = seen[bit >>> 5] ?? 0
      if ((word & mask) !== 0) return count
      seen[bit >>> 5] = word | mask
      return (count += 1)
    },
  }
}
