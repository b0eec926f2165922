/**
 * The pages: an address, and the module that shows it. The server answers the same addresses with `index.html`, so a
 * new page needs only a file in `pages/` and a line here. `:name` stands for one segment of the path. The first page is
 * also shown for unknown addresses.
 *
 * A module exports `name` and `open(frame, parameters)`, which returns `{ element, focus?, close? }`: see
 * docs/architecture.md.
 */
export const PAGES = [
  { path: '/', load: () => import('./pages/home.js') },
  { path: '/tasks', load: () => import('./pages/home.js') },
  { path: '/tasks/:id', load: () => import('./pages/task.js') },
  { path: '/new', load: () => import('./pages/new.js') },
  { path: '/new/:type', load: () => import('./pages/new.js') },
  { path: '/types', load: () => import('./pages/types.js') },
  { path: '/types/:type', load: () => import('./pages/type.js') },
  { path: '/workers', load: () => import('./pages/workers.js') },
  { path: '/limits', load: () => import('./pages/limits.js') },
]
