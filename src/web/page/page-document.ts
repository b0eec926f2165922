/**
 * `index.html`, for each address that is a page (`public/pages.js`). Three things are put into it.
 *
 * Its links begin with `./` and are made to lead from the address to the folder of the page, `../` for each folder between. So they hold
 * under any path that a proxy puts in front, also where this server does not know of it, and no `<base>` is needed, which the policy
 * forbids.
 *
 * In place of `<!-- modules -->` come links to all modules of the program, so that a browser asks for them at once, not each after the
 * module that imports it.
 *
 * And the names of the filters, so that the page takes from its address what `GET /api/tasks` filters by.
 */
import { readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { FILTER_NAMES } from '../../protocol/filter.js'
import { holdFile } from './serve-folder.js'

const PROGRAM = 'app.js'
const MODULES_MARK = '<!-- modules -->'
const FILTERS_MARK = '<meta name="taskwire-filters" content="'
/** Static and dynamic imports of files beside. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g

/**
 * @param folder of the page
 * @returns the document as seen from a path; the same object for the same depth while the file has not changed
 */
export function openPageDocument(folder: string): (path: string) => Promise<Buffer> {
  const readFile = holdFile(`${folder}/index.html`)
  const modules = listModules(folder).map((name) => `<link rel="modulepreload" href="./${name}">`)
  const made = new Map<number, { source: Buffer; content: Buffer }>()
  return async (path) => {
    const source = await readFile()
    const depth = depthOf(path)
    const known = made.get(depth)
    if (known?.source === source) return known.content
    const html = source.toString().replace(MODULES_MARK, modules.join('\n    ')).replace(FILTERS_MARK, `$&${FILTER_NAMES.join(' ')}`).replaceAll('="./', `="${'../'.repeat(depth) || './'}`)
    const content = Buffer.from(html)
    made.set(depth, { source, content })
    return content
  }
}

/** How many folders lie between: 0 for `/`, 1 for `/tasks/x`, 2 for `/tasks/x/`. */
function depthOf(path: string): number {
  const [withoutQuery = ''] = path.split('?')
  return withoutQuery.split('/').length - 2
}

/** All that the program imports, itself included, as paths in the folder. */
function listModules(folder: string): string[] {
  const found = new Set([PROGRAM])
  for (const name of found) {
    const text = readFileSync(`${folder}/${name}`, 'utf8')
    for (const [, path = ''] of text.matchAll(IMPORT)) found.add(posix.join(posix.dirname(name), path))
  }
  return [...found]
}
