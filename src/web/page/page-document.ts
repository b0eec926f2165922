/**
 * `index.html`, for each address that is a page (`public/pages.js`). Three things are changed in it.
 *
 * Its links begin with `./` and are rewritten to point from the address to the folder of the page, with `../` for each
 * folder in between. So they work under any path that a proxy puts in front, even if this server does not know it, and
 * without a `<base>`, which the policy forbids.
 *
 * `<!-- modules -->` is replaced by links to all modules of the program, so that a browser requests them at once,
 * instead of each one after the module that imports it.
 *
 * Its files are loaded from addresses that name their content, and its style sheets as one (see `page-assets.ts`): a
 * second visit requests only the document.
 *
 * And the names of the filters, so that the page accepts in its address what `GET /api/tasks` filters by.
 */
import { posix } from 'node:path'
import { parse } from 'es-module-lexer/js'
import { FILTER_NAMES } from '../../protocol/filter.js'
import { linkToAssets, type PageAssets } from './page-assets.js'

const PROGRAM = 'app.js'
const MODULES_MARK = '<!-- modules -->'
const FILTERS_MARK = '<meta name="taskwire-filters" content="'

/**
 * @returns the document for an address and the route that has matched it; the same object for the same depth while no
 * file of the page has changed
 */
export function openPageDocument(
  readAssets: () => Promise<PageAssets>,
): (path: string, route: string) => Promise<Buffer> {
  const made = new Map<number, { source: PageAssets; content: Buffer }>()
  return async (path, route) => {
    const source = await readAssets()
    const depth = depthOf(path, route)
    const known = made.get(depth)
    if (known?.source === source) return known.content
    const modules = listModules(source.files).map((name) => `<link rel="modulepreload" href="./${name}">`)
    const html = (source.files.get('index.html') ?? '').toString().replace(MODULES_MARK, modules.join('\n    '))
    const content = Buffer.from(
      linkToAssets(html, source)
        .replace(FILTERS_MARK, `$&${FILTER_NAMES.join(' ')}`)
        .replaceAll('="./', `="${'../'.repeat(depth) || './'}`),
    )
    made.set(depth, { source, content })
    return content
  }
}

/**
 * The number of folders in between: 0 for `/`, 1 for `/tasks/x`, 2 for `/tasks/x/`. Counted in the route, so that no
 * client decides how many documents there are.
 */
function depthOf(path: string, route: string): number {
  const [withoutQuery = ''] = path.split('?')
  const hasSlash = withoutQuery.endsWith('/') && !route.endsWith('/')
  return route.split('/').length - 2 + Number(hasSlash)
}

/** All modules that the program imports, including itself, as paths in the folder. */
function listModules(files: PageAssets['files']): string[] {
  const found = new Set([PROGRAM])
  for (const name of found) {
    for (const specifier of importsOf(files.get(name)?.toString() ?? ''))
      if (specifier.startsWith('.')) found.add(posix.join(posix.dirname(name), specifier))
  }
  return [...found]
}

/** Empty for a module that cannot be parsed, such as one that an upgrade is writing: the list only saves time. */
function importsOf(text: string): string[] {
  try {
    return parse(text)[0].flatMap(({ specifier }) => specifier ?? [])
  } catch {
    return []
  }
}
