/**
 * The one rule by which a watcher turns messages into the task it shows: see `fold` in `public/task-stream.js`, which
 * is the source, because the browser loads that file as it is.
 */
export { fold } from '../../public/task-stream.js'
