/**
 * What `/docs` says without JavaScript: its page is otherwise made by a program. The calls of the API with a line each, and where the whole
 * descriptions are.
 */
import { linkTo } from '../../protocol/base-path.js'
import { escapeHtml } from '../escape-html.js'

const PLACE = '<div id="swagger-ui"></div>'
const METHODS = ['get', 'post', 'put', 'patch', 'delete']

/** The part of an OpenAPI document that is read here. */
interface Described {
  paths?: object
}

/** @param html of the page @param document of the API, asked for once @returns the page with a text for browsers without JavaScript */
export function addWithoutProgram(html: string, document: () => Described): string {
  return html.includes(PLACE)
    ? html.replace(PLACE, () => `<noscript>${render(document())}</noscript>\n      ${PLACE}`)
    : html
}

function render({ paths = {} }: Described): string {
  const calls = Object.entries(paths).flatMap(([path, operations]) => {
    const known = Object.entries(operations as Record<string, { summary?: string }>).filter(([method]) =>
      METHODS.includes(method),
    )
    return known.map(
      ([method, { summary = '' }]) =>
        `<li><code>${method.toUpperCase()} ${escapeHtml(path)}</code> ${escapeHtml(summary)}</li>`,
    )
  })
  const link = (path: string, text: string) => `<li><a href="${linkTo(path)}">${text}</a></li>`
  return `<main style="max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font-family: sans-serif; line-height: 1.6">
        <h1>The API of Taskwire</h1>
        <p>With JavaScript this page shows every call with its fields, and tries it out. The same without JavaScript:</p>
        <ul>
          ${[
            link('/openapi.json', 'All requests and answers, as OpenAPI 3'),
            link('/asyncapi.json', 'All messages of the streams, as AsyncAPI'),
            link('/docs/problems', 'What each error means, and what to do'),
            link('/', 'The page of the tasks'),
          ].join('\n          ')}
        </ul>
        <p>The written documentation is in <code>README.md</code> and the folder <code>docs/</code> of the package.</p>
        <h2>The calls</h2>
        <ul>
          ${calls.join('\n          ')}
        </ul>
      </main>`
}
