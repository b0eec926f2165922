/**
 * Array parameters as text that both drivers pass on unchanged. Cast them in the statement: `$1::text::uuid[]`.
 * @see https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function toArrayLiteral(values: readonly (string | number | null)[]): string {
  return `{${values.map(toElement).join(',')}}`
}

function toElement(value: string | number | null): string {
  if (value === null) return 'null'
  if (typeof value === 'number') return String(value)
  return `"${/["\\]/.test(value) ? value.replaceAll(/["\\]/g, '\\$&') : value}"`
}
