/**
 * Valid file names: any Unicode that every system can show and store as one name. The location of the bytes is never
 * derived from a name (see `src/artifacts`), so a name is only ever text: for lists, pages, headers and the disks of
 * people who download the file.
 */
import type { FieldError } from './errors.js'

/** As file systems count: bytes of UTF-8. */
export const MAX_FILE_NAME_BYTES = 255

interface Rule {
  isBroken(name: string): boolean
  detail: string
  fix: string
}

/** The first broken rule is reported. */
const RULES: readonly Rule[] = [
  { isBroken: (name) => name === '', detail: 'is empty', fix: 'Name the file, e.g. report.pdf.' },
  {
    isBroken: (name) => !name.isWellFormed(),
    detail: 'contains half of a surrogate pair',
    fix: 'Send well-formed Unicode.',
  },
  {
    isBroken: (name) => new TextEncoder().encode(name).length > MAX_FILE_NAME_BYTES,
    detail: `has more than ${MAX_FILE_NAME_BYTES} bytes in UTF-8`,
    fix: 'Shorten it.',
  },
  // Also line and paragraph separators, and code points that Unicode will never assign.
  {
    isBroken: (name) => /[\p{Cc}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\uFEFF]/u.test(name),
    detail: 'contains a control character',
    fix: 'Remove line breaks, tabs and other control characters.',
  },
  { isBroken: (name) => /[/\\]/.test(name), detail: 'contains a slash', fix: 'Send the name alone, without folders.' },
  {
    isBroken: (name) => /^\.{1,2}$/.test(name),
    detail: 'is the name of a folder',
    fix: 'Name the file, e.g. report.pdf.',
  },
  // They make "gpj.exe" appear as "exe.jpg".
  {
    isBroken: (name) => /[\u202A-\u202E\u2066-\u2069]/.test(name),
    detail: 'contains a character that reverses the direction of text',
    fix: 'Remove U+202A to U+202E and U+2066 to U+2069.',
  },
  {
    isBroken: (name) => /[<>:"|?*]/.test(name),
    detail: 'contains a character that Windows reserves',
    fix: 'Remove < > : " | ? and *.',
  },
  {
    isBroken: (name) => /^\s|[\s.]$/u.test(name),
    detail: 'begins or ends with a space, or ends with a dot',
    fix: 'Trim it.',
  },
  {
    isBroken: (name) => /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)/iu.test(name),
    detail: 'is the name of a device on Windows',
    fix: 'Put something before it, e.g. _aux.txt.',
  },
]

/** Why this text cannot be the name of a file; undefined if it can. */
export function findFileNameError(name: string): Omit<FieldError, 'pointer'> | undefined {
  const broken = RULES.find((rule) => rule.isBroken(name))
  return broken && { detail: broken.detail, fix: broken.fix }
}
