/** One task type: what it does, its payload and result, and how its tasks run. Generated from its definition. */
import { linkTo } from '../addresses.js'
import { createTypeSnippets } from '../format/snippets.js'
import { describeSeconds } from '../format/times.js'
import { createSection, createSnippet } from '../parts/code.js'
import { h } from '../parts/dom.js'
import { createFieldTable, markInput, markOutput } from '../parts/field-table.js'
import { openTypesSheet } from '../parts/types-sheet.js'
import { baseUrl } from '../server/api.js'
import { types as text } from '../text/en.js'

export const name = 'type'

export function open(frame, { type }) {
  frame.setTitle(type)
  return openTypesSheet((types) => {
    const info = types.find((each) => each.type === type)
    return [
      h('a', { class: 'up', href: linkTo('/types') }, text.all),
      ...(info === undefined ? describeAbsence(type) : describeType(info)),
    ]
  })
}

function describeAbsence(type) {
  return [h('h1', { tabindex: -1 }, text.unknown), h('p', {}, text.unknownName, h('code', {}, type), '.')]
}

function describeType(info) {
  const { type, title, description, payload, result, progress, isInternal } = info
  return [
    h('h1', { tabindex: -1 }, title),
    h('p', { class: 'id' }, h('code', {}, type)),
    h('p', {}, description),
    !isInternal &&
      h('p', { class: 'actions' }, h('a', { class: 'button', href: linkTo('/new/', type) }, text.createOne)),
    h(
      'dl',
      { class: 'facts' },
      describeOptions(info).map(([option, value]) => h('div', {}, h('dt', {}, option), h('dd', {}, value))),
    ),
    createSection(text.payload, createFieldTable(payload, markInput)),
    createSection(text.result, createFieldTable(result, markOutput)),
    progress && createSection(text.progressData, createFieldTable(progress, markOutput)),
    !isInternal && createSection(text.code, createTypeSnippets(info, baseUrl).map(createSnippet)),
  ].filter(Boolean)
}

function describeOptions({
  queue,
  attempts,
  isolation,
  timeLimits: { softMs, hardMs, heartbeatMs },
  isDefault,
  isInternal,
}) {
  const limits = [
    softMs !== undefined && text.softLimit(describeSeconds(softMs)),
    hardMs !== undefined && text.hardLimit(describeSeconds(hardMs)),
    heartbeatMs !== undefined && text.heartbeatLimit(describeSeconds(heartbeatMs)),
  ].filter(Boolean)
  return [
    [text.queue, queue],
    [text.attempts, text.attemptCount(attempts)],
    [text.limits, limits.length > 0 ? limits.join(', ') : text.noLimits],
    [text.runsIn, isolation === 'process' ? text.ownProcess : text.workerProcess],
    isDefault && [text.isDefault, text.defaultMeans],
    isInternal && [text.createdBy, text.serverOnly],
  ].filter(Boolean)
}
