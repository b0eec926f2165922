/**
 * How much of a long test runs: `npm test` takes a count that finds what is usual within minutes, `npm run test:deep` all of it.
 * A file that imports this is run by both. A file that is only worth its time in depth is named `*.deep.ts`.
 */
export const isDeep = process.env['TEST_DEPTH'] === 'deep'

export function atDepth(usual: number, deep: number): number {
  return isDeep ? deep : usual
}
