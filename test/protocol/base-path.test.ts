/** Addresses in texts lead to where the server is reached. */
import t from 'tap'
import { linkAddresses, setBasePath } from '../../src/protocol/base-path.js'
import { PROBLEMS } from '../../src/protocol/errors.js'

t.test('every address in the fix of an error begins with the base path', async (t) => {
  setBasePath('/taskwire')
  t.teardown(() => setBasePath(''))
  const fixes = Object.values(PROBLEMS).map(({ fix }) => fix)
  const isAddressed = (fix: string) => /(?<![^\s(])\//.test(fix)
  t.ok(fixes.filter(isAddressed).length > 5)
  for (const fix of fixes) t.notMatch(linkAddresses(fix), /(?<![^\s(])\/(?!taskwire\/)/, fix)
})
