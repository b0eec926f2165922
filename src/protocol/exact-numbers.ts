/** The one rule for numbers in JSON: see `public/exact-numbers.js`, which is the source, because the browser loads that file as it is. */
export { findInexactNumber } from '../../public/exact-numbers.js'
