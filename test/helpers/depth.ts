/**
 * How much of a long test runs: `npm test` takes a count that finds common errors within minutes, `npm run test:deep`
 * the full count. Both run every file that imports this module. A file that is only worth its time in depth is named
 * `*.deep.ts`.
 */
export const isDeep = process.env['TEST_DEPTH'] === 'deep'

export function atDepth(usual: number, deep: number): number {
  return isDeep ? deep : usual
}
