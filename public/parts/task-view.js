/**
 * The view of one task. Messages change its texts in place, so that clicks, selections and the focus survive any number
 * of them.
 */
import { createSnippets } from '../format/snippets.js'
import { describeConnection, describeStanding } from '../format/standing.js'
import { findWaiting } from '../format/waiting.js'
import { baseUrl, serverNow } from '../server/api.js'
import { knownNow, pageConnection } from '../server/connection.js'
import { isFinal } from '../task-stream.js'
import {
  connection as connectionText,
  standing as standingText,
  task as text,
  waiting as waitingText,
} from '../text/en.js'
import { createChangingSnippet, createJson, createSection } from './code.js'
import { h, setAttribute, setText } from './dom.js'
import { createFacts } from './facts.js'
import { createFiles } from './files.js'
import { createOutcome } from './outcome.js'
import { createHead } from './task-head.js'
import { createWaiting } from './waiting.js'

export class TaskView {
  elements
  #task
  #timeline
  #head
  #waiting = createWaiting()
  #outcome = createOutcome()
  #facts = createFacts()
  #files
  #payload
  #snippets
  #stream = h('p', { class: 'connection inline' })

  constructor(task, timeline) {
    this.#task = task
    this.#timeline = timeline
    this.#head = createHead(task, this.#waiting)
    this.#files = createFiles(task.id)
    this.#payload = createJson(text.payload, task.payload)
    this.#snippets = createSnippets(task, baseUrl).map(createChangingSnippet)
    this.elements = [
      ...this.#head.elements,
      this.#outcome.element,
      this.#files.element,
      h(
        'div',
        { class: 'split' },
        createSection(text.history, [timeline.element, this.#stream]),
        createSection(text.details, [this.#facts.element]),
      ),
      this.#payload.element,
      createSection(
        text.code,
        this.#snippets.map(({ element }) => element),
      ),
    ]
  }

  update(task) {
    this.#task = task
    for (const part of [this.#head, this.#outcome, this.#facts, this.#files]) part.update(task)
    this.#payload.update(task.payload)
    createSnippets(task, baseUrl).forEach((snippet, index) => this.#snippets[index].update(snippet))
    this.tick()
  }

  /** The parts that change with time alone. */
  tick() {
    const { standing, isKnown } = describePresent(this.#task, this.#timeline)
    setText(this.#head.standing, standing)
    setAttribute(this.#head.standing, 'data-known', isKnown ? null : 'false')
    this.#waiting.update(findWaiting(this.#task), knownNow())
    const shown = isFinal(this.#task.status) ? { state: 'finished', text: connectionText.finished } : pageConnection()
    setAttribute(this.#stream, 'data-state', shown.state)
    setText(this.#stream, describeConnection(shown, serverNow()))
  }

  stop() {
    this.#files.stop()
  }
}

/** The answer at a glance; while the server is away, as of the last data received. */
function describePresent(task, timeline) {
  const standing = describeStanding(task, timeline.sinceAt() ?? task.startedAt ?? task.createdAt, knownNow())
  const { lostAt } = pageConnection()
  const isKnown = lostAt === undefined || isFinal(task.status)
  const asOf = findWaiting(task) === undefined ? standingText.whenLastHeardOf : waitingText.asOfLastUpdate
  return { standing: isKnown ? standing : asOf(standing), isKnown }
}
