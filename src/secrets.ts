/**
 * Keeps values that the configuration marks as secret out of every output. A wrong value is never repeated, and a
 * password or URL that a library puts into an error is blanked.
 */
import { isSecretVariable } from './config.js'
import type { Environment } from './environment.js'

const BLANK = '***'
/** Shorter secrets, and common words, are only blanked inside URLs: elsewhere they would blank unrelated text. */
const MIN_BARE_LENGTH = 6
const COMMON_WORDS = ['postgres', 'taskwire', 'redis', 'default', 'password', 'secret', 'webhook']

/** @returns a function that blanks the values of the environment's secret variables, and their passwords, in a text */
export function createRedactor(env: Environment): (text: string) => string {
  const values = Object.entries(env).flatMap(([name, value]) => (isSecretVariable(name) && value ? [value] : []))
  // The longest first: a URL before the password in it.
  const hidden = [
    ...new Set(values.flatMap(hiddenPartsOf).flatMap((part) => [part, JSON.stringify(part).slice(1, -1)])),
  ].sort((a, b) => b.length - a.length)
  return (text) => hidden.reduce((rest, part) => rest.replaceAll(part, BLANK), text)
}

function hiddenPartsOf(value: string): string[] {
  if (!URL.canParse(value)) return isTelling(value) ? [value] : []
  const { username, password, hostname, pathname, searchParams } = new URL(value)
  const passwords = [password, decode(password), ...searchParams.getAll('password')].filter((text) =>
    isTelling(text, [username, hostname, pathname.slice(1)]),
  )
  return [value, ...(password === '' ? [] : [`${username}:${password}@`]), ...passwords]
}

/** Whether a text, found anywhere in an output, can only be the secret. */
function isTelling(text: string, knownWords: readonly string[] = []): boolean {
  return text.trim().length >= MIN_BARE_LENGTH && !COMMON_WORDS.includes(text) && !knownWords.includes(text)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
