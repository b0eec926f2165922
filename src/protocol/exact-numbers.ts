/**
 * The one rule for numbers in JSON. The source is `public/exact-numbers.js`, because the browser loads that file
 * directly.
 */
export { findInexactNumber } from '../../public/exact-numbers.js'
