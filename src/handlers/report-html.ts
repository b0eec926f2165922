/** The report as a standalone page: no scripts, charts as inline SVG, all data inserted as text. */
import type { Static } from 'typebox'
import type { ReportResult } from './report-result.js'

type Report = Static<typeof ReportResult>

const BAR_HEIGHT = 22
const LABEL_WIDTH = 170
const CHART_WIDTH = 640
const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; color: #1c2230; background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
  h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
  table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #dfe3ea }
  td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } svg { max-width: 100% } .soft { color: #5d6678 }
  rect { fill: #3867d6 } rect.bad { fill: #c0392b } text { font: 13px system-ui, sans-serif; fill: #1c2230 }`

export function renderReport(report: Report): string {
  const { period, generatedAt, total, byStatus, byType, failures } = report
  const statuses = Object.entries(byStatus).filter(([, count]) => count > 0)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tasks ${escape(period.from)} to ${escape(period.to)}</title><style>${STYLE}</style></head>
<body>
<h1>${total} ${total === 1 ? 'task' : 'tasks'}</h1>
<p class="soft">Created from ${escape(period.from)} to ${escape(period.to)}. Generated ${escape(generatedAt)}.</p>
<h2>Where they stand</h2>
${renderBars(
  statuses.map(([label, count]) => ({ label, value: count, isBad: label === 'FAILED' })),
  'tasks by status',
)}
<h2>Types</h2>
${renderBars(
  byType.map(({ type, total: count }) => ({ label: type, value: count, isBad: false })),
  'tasks by type',
)}
<table><thead><tr><th>type</th><th class="n">tasks</th><th class="n">completed</th><th class="n">failed</th><th class="n">run p50</th><th class="n">run p95</th><th class="n">wait p50</th><th class="n">wait p95</th></tr></thead><tbody>
${byType.map(renderType).join('\n')}
</tbody></table>
<h2>Failures</h2>
${failures.length === 0 ? '<p>None.</p>' : `<table><thead><tr><th>message</th><th>type</th><th class="n">tasks</th><th>latest</th></tr></thead><tbody>${failures.map(renderFailure).join('\n')}</tbody></table>`}
</body></html>
`
}

function renderType({ type, total, completed, failed, durationMs, waitMs }: Report['byType'][number]): string {
  const times = [durationMs?.p50, durationMs?.p95, waitMs?.p50, waitMs?.p95].map((ms) =>
    ms === undefined ? '' : `${ms} ms`,
  )
  return `<tr><td>${escape(type)}</td>${[total, completed, failed, ...times].map((value) => `<td class="n">${value}</td>`).join('')}</tr>`
}

function renderFailure({ message, type, count, lastAt }: Report['failures'][number]): string {
  return `<tr><td>${escape(message)}</td><td>${escape(type)}</td><td class="n">${count}</td><td>${escape(lastAt ?? '')}</td></tr>`
}

/** Horizontal bars; the longest takes the full width. */
function renderBars(bars: readonly { label: string; value: number; isBad: boolean }[], label: string): string {
  if (bars.length === 0) return '<p>None.</p>'
  const most = Math.max(...bars.map(({ value }) => value))
  const room = CHART_WIDTH - LABEL_WIDTH - 70
  const rows = bars.map(({ label: name, value, isBad }, index) => {
    const y = index * BAR_HEIGHT
    const width = Math.max((value / most) * room, 1).toFixed(1)
    return `<text x="0" y="${y + 15}">${escape(name)}</text><rect${isBad ? ' class="bad"' : ''} x="${LABEL_WIDTH}" y="${y + 3}" width="${width}" height="${BAR_HEIGHT - 8}"/><text x="${LABEL_WIDTH + Number(width) + 6}" y="${y + 15}">${value}</text>`
  })
  const height = bars.length * BAR_HEIGHT
  return `<svg role="img" aria-label="${escape(label)}" width="${CHART_WIDTH}" height="${height}" viewBox="0 0 ${CHART_WIDTH} ${height}">${rows.join('')}</svg>`
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
