/** The files of a task, loaded once it has ended. */
import { isFinal } from '../task-stream.js'
import { readUntilDone } from '../server/api.js'
import { task as text } from '../text/en.js'
import { h } from './dom.js'

export function createFiles(id) {
  const element = h('section', { hidden: true }, h('h2', {}, text.files))
  let stop

  return {
    element,
    update({ status }) {
      if (stop !== undefined || !isFinal(status)) return
      stop = readUntilDone(`/api/tasks/${encodeURIComponent(id)}/artifacts`, {
        onRead({ items }) {
          if (items.length === 0) return
          element.append(h('ul', { class: 'files' }, items.map(createFile)))
          element.hidden = false
        },
      })
    },
    stop: () => stop?.(),
  }
}

function createFile({ name, bytes, sha256, links }) {
  return h(
    'li',
    {},
    h('a', { href: links.download, target: '_blank', rel: 'noopener' }, name),
    ' ',
    h('span', { class: 'hint', title: text.fileHash(sha256) }, describeSize(bytes)),
  )
}

function describeSize(bytes) {
  const step = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), text.fileSizes.length - 1)
  const size = bytes / 1_000 ** step
  return `${step === 0 ? size : size.toFixed(1)} ${text.fileSizes[step]}`
}
