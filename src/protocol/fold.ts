/**
 * The one rule by which a watcher turns messages into the task it shows: see `fold` in `public/client/fold.js`, which
 * is the source, because the browser loads that file as it is.
 */
export { fold } from '../../public/client/fold.js'
