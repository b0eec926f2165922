/**
 * Finds the numbers of a JSON text that JavaScript cannot represent: `1970670598291982290` would become
 * `1970670598291982300`, and `1e400` infinite. The server and the page both refuse them instead of changing them.
 *
 * A number is accepted if the text that JavaScript writes for it means the same number: `0.1`, `1.0` and `1e3` are, and
 * everything written by programs with 64-bit floating point.
 * @see https://www.rfc-editor.org/rfc/rfc8259#section-6
 */

/** Only a text with many digits in a row or an exponent can contain such a number; most have neither. */
const SUSPECT = /[\d.]{16}|\d[eE]/
const MAX_LENGTH = 400
const NUMBER = /-?\d[\d.eE+-]*/y

/**
 * The first number that would be changed, and its location.
 * @param {string} text JSON that has already been parsed: for any other text the result is meaningless
 * @returns {{ pointer: string, number: string, kept: string } | undefined} the JSON Pointer, the number as written and
 *   as it would be stored
 */
export function findInexactNumber(text) {
  if (!SUSPECT.test(text)) return undefined
  /** For each open list its index; for each open object where the name of its current field begins and ends. */
  const path = []
  let name = [0, 0]
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index]
    if (character === '"') {
      const start = index
      index = findEndOfString(text, start + 1)
      name = [start, index + 1]
    } else if (character === '[') path.push(0)
    else if (character === '{') path.push(name)
    else if (character === ']' || character === '}') path.pop()
    else if (character === ':') path[path.length - 1] = name
    else if (character === ',') {
      if (typeof path.at(-1) === 'number') path[path.length - 1] += 1
    } else if (character === '-' || (character >= '0' && character <= '9')) {
      const number = readNumber(text, index)
      if (!isKept(number)) return { pointer: toPointer(text, path), number, kept: String(Number(number)) }
      index += number.length - 1
    }
  }
  return undefined
}

/** Whether JavaScript writes the same number as this text. */
export function isKept(number) {
  if (number.length < 16 && !/[eE]/.test(number)) return true
  // No realistic number is this long, and the comparison would be slow.
  if (number.length > MAX_LENGTH) return false
  const value = Number(number)
  return Number.isFinite(value) && toDigits(number) === toDigits(String(value))
}

function readNumber(text, index) {
  NUMBER.lastIndex = index
  return NUMBER.exec(text)?.[0] ?? text[index]
}

/** A decimal number as its digits and the power of ten of the last one: the same for all notations of it. */
function toDigits(number) {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(number) ?? []
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  return `${sign}${significant}e${BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length)}`
}

function findEndOfString(text, start) {
  let index = start
  while (index < text.length && text[index] !== '"') index += text[index] === '\\' ? 2 : 1
  return index
}

/** @see https://www.rfc-editor.org/rfc/rfc6901 */
function toPointer(text, path) {
  return path.map((part) => `/${typeof part === 'number' ? part : escape(JSON.parse(text.slice(...part)))}`).join('')
}

function escape(token) {
  return token.replaceAll('~', '~0').replaceAll('/', '~1')
}
