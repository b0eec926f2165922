/** Types of `fold.js`. */
export { fold, isFinal } from '../task-stream.js'
