/**
 * The one rule by which a watcher turns messages into the task it shows. The source is `fold` in
 * `public/client/fold.js`, because the browser loads that file directly.
 */
export { fold } from '../../public/client/fold.js'
