/** Types of `fold.js`. */
export { fold } from '../task-stream.js'
