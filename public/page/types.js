/** What kinds of task there are: a page for each, made from its definition by way of `/api/types`. */
import { baseUrl, readUntilDone } from './api.js'
import { createSection, createSnippet } from './code.js'
import { h } from './dom.js'
import { describeFields } from './schema.js'
import { createTypeSnippets } from './snippets.js'
import { describeFailure } from './trouble.js'
import { describeSeconds } from './words.js'

/** Fills `root` with the page of the type, or with the list of all when none is named. */
export function startTypes(root, name) {
  root.replaceChildren(h('p', { class: 'notice' }, 'Reading the task types…'))
  const stop = readUntilDone('/api/types', {
    onRead: ({ items }) => root.replaceChildren(...(name === undefined ? describeAll(items) : describeOne(items, name))),
    onFailure: (error) => root.replaceChildren(h('p', { class: 'notice', role: 'alert' }, `${describeFailure(error)} This page keeps trying.`)),
  })
  return { stop }
}

export function typePath(type) {
  return `#/types/${encodeURIComponent(type)}`
}

function describeAll(types) {
  const items = types.map(({ type, title, description }) =>
    h('li', {}, h('h2', {}, h('a', { href: typePath(type) }, title)), h('p', { class: 'id' }, h('code', {}, type)), h('p', {}, description)),
  )
  return [h('h1', { tabindex: -1 }, 'Types of task'), h('ul', { class: 'types' }, items)]
}

function describeOne(types, name) {
  const info = types.find(({ type }) => type === name)
  const all = h('a', { class: 'up', href: '#/types' }, '← All types')
  if (info === undefined) return [all, h('h1', { tabindex: -1 }, 'There is no such type'), h('p', {}, 'No type of task is called ', h('code', {}, name), '.')]
  const { type, title, description, payload, result, progress, isInternal } = info
  return [
    all,
    h('h1', { tabindex: -1 }, title),
    h('p', { class: 'id' }, h('code', {}, type)),
    h('p', {}, description),
    !isInternal && h('p', { class: 'actions' }, h('a', { class: 'button', href: `#/new/${encodeURIComponent(type)}` }, 'Create one')),
    h('dl', { class: 'facts' }, describeOptions(info).map(([option, value]) => h('div', {}, h('dt', {}, option), h('dd', {}, value)))),
    createSection('Payload', createFieldTable(payload, markInput)),
    createSection('Result', createFieldTable(result, markOutput)),
    progress && createSection('Data of its progress', createFieldTable(progress, markOutput)),
    !isInternal && createSection('From your own code', createTypeSnippets(info, baseUrl).map(createSnippet)),
  ].filter(Boolean)
}

function describeOptions({ queue, attempts, isolation, timeLimits: { softMs, hardMs, heartbeatMs }, isDefault, isInternal }) {
  const limits = [
    softMs !== undefined && `asked to stop after ${describeSeconds(softMs)}`,
    hardMs !== undefined && `ended after ${describeSeconds(hardMs)}`,
    heartbeatMs !== undefined && `ended after ${describeSeconds(heartbeatMs)} without a sign of life`,
  ].filter(Boolean)
  return [
    ['Queue', queue],
    ['Attempts', attempts === 1 ? '1: it is not tried again' : `${attempts} at most`],
    ['Limits', limits.length > 0 ? limits.join(', ') : 'none'],
    ['Runs in', isolation === 'process' ? 'a process of its own' : 'the process of its worker'],
    isDefault && ['Default', 'the type of a task that names none'],
    isInternal && ['Created by', 'the server only'],
  ].filter(Boolean)
}

/** A client wants to know what it must send, and what it gets always. */
const markInput = ({ isRequired, fallback }) => (isRequired ? 'required' : fallback !== undefined && `default ${JSON.stringify(fallback)}`)
const markOutput = ({ isRequired }) => !isRequired && 'not always'

function createFieldTable(schema, describeMark) {
  const rows = describeFields(schema)
  if (rows.length === 0) return h('p', {}, 'It has no fields.')
  return h(
    'table',
    { class: 'fields' },
    h('thead', {}, h('tr', {}, ['Field', 'Type', 'Meaning'].map((text) => h('th', { scope: 'col' }, text)))),
    h('tbody', {}, rows.map((row) => createFieldRow(row, describeMark(row)))),
  )
}

function createFieldRow({ name, type, text }, mark) {
  const kind = h('td', {}, h('code', {}, type), mark ? [' ', h('span', { class: 'required' }, mark)] : null)
  return h('tr', {}, h('th', { scope: 'row' }, h('code', {}, name || 'value')), kind, h('td', {}, text))
}
