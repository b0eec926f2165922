/** `/docs/problems`: what each error `code` means and what to do about it. The `type` of every problem points here. */
import type { FastifyPluginAsync } from 'fastify'
import { linkAddresses, linkTo } from '../../protocol/base-path.js'
import { PROBLEMS } from '../../protocol/errors.js'
import { escapeHtml } from '../escape-html.js'

/** Register it where the headers of the page are set. */
export const problemsRoute: FastifyPluginAsync = async (app) => {
  const page = renderProblems()
  app.get('/docs/problems', { schema: { hide: true } }, async (_, reply) => {
    reply.type('text/html; charset=utf-8')
    return page
  })
}

function renderProblems(): string {
  const entries = Object.entries(PROBLEMS).sort(([, a], [, b]) => a.status - b.status)
  const sections = entries.map(
    ([code, { status, title, fix }]) => `
    <section id="${code}">
      <h2><a href="#${code}"><code>${code}</code></a></h2>
      <p><strong>${status}</strong> ${escapeHtml(title)}.</p>
      <p>${escapeHtml(linkAddresses(fix))}</p>
    </section>`,
  )
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Errors of the API · Taskwire</title>
    <link rel="icon" href="${linkTo('/favicon.svg')}">
    <link rel="stylesheet" href="${linkTo('/styles/tokens.css')}">
    <link rel="stylesheet" href="${linkTo('/styles/base.css')}">
    <link rel="stylesheet" href="${linkTo('/styles/reading.css')}">
  </head>
  <body>
    <main class="reading">
      <h1>Errors of the API</h1>
      <p>An error is answered as <code>application/problem+json</code> (RFC 9457). Its <code>code</code> is stable, for programs;
        <code>detail</code> and <code>errors</code> say what was wrong with this request; <code>requestId</code> is in the log of the server.</p>
      ${sections.join('')}
    </main>
  </body>
</html>
`
}
